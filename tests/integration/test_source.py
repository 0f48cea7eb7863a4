"""The real skopeo makes a twin with the stream of a source's layer where there is no reason against one."""

from __future__ import annotations

import subprocess

import pytest

from recompress.layer.compat import zstd
from tests.data.make_layers import recompress
from tests.odd_layers import ODD_LAYERS, OddLayer


def has_twin(layer: OddLayer) -> bool:
    try:
        blob, described = recompress(layer.tar, layer.blob)
    except subprocess.CalledProcessError:
        return False
    # Without annotations skopeo did not come to the end of the stream, and a blob that does not begin with a
    # zstd frame is no zstd to clients.
    return (
        bool(described.get("annotations"))
        and blob.startswith(b"\x28\xb5\x2f\xfd")
        and zstd.decompress(blob) == layer.tar
    )


@pytest.mark.parametrize("name", ODD_LAYERS)
def test_skopeo_makes_a_twin_where_there_is_no_reason_against_it(name: str) -> None:
    assert has_twin(ODD_LAYERS[name]) == (ODD_LAYERS[name].reason is None)
