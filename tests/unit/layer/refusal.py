"""How a layer that lies is refused."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from recompress.errors import VerificationFailed
from tests.tampering import Layer, Packed

Tamper = Callable[[Layer], None]


def refused(packed: Packed) -> str:
    """The message, with a helper and without, without the name of the layer, which it has to begin with."""
    messages = set()
    with ThreadPoolExecutor(1) as pool:
        for helper in (None, pool):
            with pytest.raises(VerificationFailed) as caught:
                packed.prove(helper=helper)
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
