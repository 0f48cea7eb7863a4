"""What is said of the layers of a twin."""

from __future__ import annotations

import logging

import pytest

from recompress import outcome
from recompress.image import Image
from recompress.layer import LARGE_TOC_BYTES, Layout, Section, Verdict
from recompress.manifest import Descriptor, Manifest, MediaType, parse_config, parse_manifest
from recompress.reference import Digest, Reference
from recompress.report import Action, LayerReport
from tests import images

GZIP = images.gzip_image({"a": b"a"})


def source() -> Image:
    manifest = parse_manifest(GZIP.manifest, "")
    assert isinstance(manifest, Manifest)
    return Image(Reference.parse(f"quay.io/org/app@{GZIP.digest}"), manifest, parse_config(GZIP.config))


@pytest.mark.parametrize(("size", "warned"), [(LARGE_TOC_BYTES, False), (LARGE_TOC_BYTES + 1, True)])
def test_a_table_that_old_clients_fail_on_is_warned_of(
    caplog: pytest.LogCaptureFixture, size: int, warned: bool
) -> None:
    layout = Layout(Section(8, 9, size), Digest.of(b"table"), Section(25, 9, 9))
    before = source().manifest.layers[0]
    after = Descriptor(MediaType.OCI_LAYER_ZSTD, Digest.of(b"twin"), 99)
    layer = LayerReport(Digest.of(b"tar"), before, after, Action.COMPRESSED, None, None)
    with caplog.at_level(logging.WARNING):
        outcome.warn(source(), [layer], [Verdict(None, changes_root=False, layout=layout)], {})
    assert ("podman from before 2025 fails to pull it" in caplog.text) == warned
