"""What is said of the layers of a twin."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from recompress import outcome
from recompress.image import Image
from recompress.judging import Known
from recompress.layer import LARGE_TOC_BYTES, Layout, Section, Verdict
from recompress.manifest import Descriptor, Manifest, MediaType, parse_config, parse_manifest
from recompress.reference import Digest, Reference
from recompress.report import Action, LayerReport
from recompress.reuse import Offer
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


@pytest.mark.parametrize(
    ("seconds", "origin", "action"),
    [
        ({}, "quay.io/org/app:1", Action.REUSED),
        ({source().manifest.layers[0].digest.short: 1.5}, None, Action.COMPRESSED),
    ],
)
def test_a_layer_is_reused_only_where_skopeo_did_not_compress_the_same_bytes(
    seconds: dict[str, float], origin: str | None, action: Action
) -> None:
    (diff_id,) = source().config.diff_ids
    after = Descriptor(MediaType.OCI_LAYER_ZSTD, Digest.of(b"zstd"), 99)
    offer = Offer(diff_id, after, source().reference.repository, "quay.io/org/app:1")
    known = {diff_id: Known(offer, Verdict(None, changes_root=False, layout=None))}
    result = replace(source(), manifest=replace(source().manifest, layers=(after,)))
    (layer,) = outcome.layers(source(), result, [None], known, seconds)
    assert (layer.action, layer.reused_from) == (action, origin)


@pytest.mark.parametrize(("is_from_base", "is_said"), [(False, True), (True, False)])
def test_of_a_layer_of_a_base_that_skopeo_did_not_take_nothing_is_said(
    caplog: pytest.LogCaptureFixture, is_from_base: bool, is_said: bool
) -> None:
    (diff_id,) = source().config.diff_ids
    after = Descriptor(MediaType.OCI_LAYER_ZSTD, Digest.of(b"zstd"), 99)
    offer = Offer(diff_id, after, source().reference.repository, "quay.io/org/base:1", is_from_base)
    verdict = Verdict(None, changes_root=False, layout=None)
    layer = LayerReport(diff_id, source().manifest.layers[0], after, Action.COMPRESSED, None, 1.5)
    outcome.warn(source(), [layer], [verdict], {diff_id: Known(offer, verdict)})
    assert ("skopeo took 0 of 1 layer that" in caplog.text) == is_said
