"""How a layer that lies is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from recompress.errors import VerificationFailed
from tests.tampering import Layer, Packed

Tamper = Callable[[Layer], None]


def refused(packed: Packed) -> str:
    """The message, by one thread or two, without the name of the layer, which it has to begin with."""
    messages = set()
    for in_background in (False, True):
        with pytest.raises(VerificationFailed) as caught:
            packed.prove(in_background=in_background)
        messages.add(str(caught.value))
    (message,) = messages
    start = f"layer {packed.layer.digest}: "
    assert message.startswith(start)
    assert "\n" not in message
    return message.removeprefix(start)


def tampered(name: str, tamper: Tamper) -> str:
    """The message for a real layer that is sound but for one change."""
    layer = Layer.load(name)
    tamper(layer)
    return refused(layer.pack())
