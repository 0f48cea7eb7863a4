"""The structure of a twin, with a real zstd:chunked layer, and everything that can be wrong with it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recompress import verify
from recompress.errors import NotFound, VerificationFailed
from recompress.image import Image
from recompress.manifest import (
    CHUNKED_ANNOTATIONS,
    TARSPLIT_POSITION,
    TOC_CHECKSUM,
    TOC_POSITION,
    Config,
    Manifest,
    MediaType,
    parse_config,
    parse_manifest,
)
from recompress.reference import Digest, Reference
from recompress.registry.client import RepositoryClient
from tests import images
from tests.fake_registry import FakeRegistry

DATA = Path(__file__).parent.parent / "data"
NAMES = ("chunks", "pax")
LAYERS = [json.loads((DATA / "layers.json").read_text())[name] for name in NAMES]
BLOBS = [(DATA / f"{name}.layer").read_bytes() for name in NAMES]
CONFIG = images.config([layer["diffId"] for layer in LAYERS])
ANNOTATIONS = {"example.key": "value", "example.other": "ü"}

Change = Callable[[dict[str, Any]], None]


REFERENCE = Reference.parse("quay.io/org/app@sha256:" + 64 * "0")


def document() -> dict[str, Any]:
    """The manifest of a sound twin, to be changed."""
    layers = [
        {name: layer[name] for name in ("mediaType", "digest", "size", "annotations")} for layer in LAYERS
    ]
    twin = json.loads(images.manifest(CONFIG, layers, annotations={**ANNOTATIONS, "more": "of skopeo"}))
    assert isinstance(twin, dict)
    return twin


def parsed(content: bytes) -> Manifest:
    manifest = parse_manifest(content, "")
    assert isinstance(manifest, Manifest)
    return manifest


def source() -> Manifest:
    layers = [images.descriptor(MediaType.OCI_LAYER_GZIP, blob) for blob in (b"1", b"2")]
    return parsed(images.manifest(CONFIG, layers, annotations=ANNOTATIONS))


@pytest.fixture
def prove(registry: FakeRegistry, client: RepositoryClient) -> Callable[..., None]:
    """Proves a twin that is sound but for a change of its manifest."""
    registry.blobs |= {str(Digest.of(blob)): blob for blob in (CONFIG, *BLOBS)}

    def call(change: Change = lambda _: None, config: Config | None = None) -> None:
        twin = document()
        change(twin)
        content = json.dumps(twin).encode()
        own = config or parse_config(CONFIG)
        gzip, result = (Image(REFERENCE, manifest, own) for manifest in (source(), parsed(content)))
        verify.structure(client, gzip, result, 2, require_partial_pulls=True)

    return call


def test_a_sound_twin_is_proven_by_the_request_of_podman_for_the_tables_of_each_layer(
    prove: Callable[..., None], registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        prove()
    assert caplog.text == ""
    ranges = [request.headers.get("range") for request in registry.server.asked("GET", "/blobs/")]
    assert sorted(filter(None, ranges)) == sorted(
        f"bytes={span(layer, TOC_POSITION)},{span(layer, TARSPLIT_POSITION)}" for layer in LAYERS
    )


def span(layer: dict[str, Any], annotation: str) -> str:
    start, length = map(int, layer["annotations"][annotation].split(":")[:2])
    return f"{start}-{start + length - 1}"


def layer_is(**values: Any) -> Change:
    return lambda twin: twin["layers"][1].update(values)


def annotation_is(name: str, value: str | None) -> Change:
    def change(twin: dict[str, Any]) -> None:
        annotations = twin["layers"][1]["annotations"]
        annotations.pop(name)
        if value is not None:
            annotations[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.update(mediaType=MediaType.DOCKER_MANIFEST), "not an OCI manifest"),
        (lambda t: t["layers"].pop(), "has 1 layer, its source has 2"),
        (lambda t: t["layers"].append(t["layers"][0]), "has 3 layers, its source has 2"),
        (layer_is(mediaType=MediaType.OCI_LAYER_GZIP), "layer 2 of the twin, .* it was not recompressed"),
        (layer_is(mediaType=MediaType.OCI_LAYER), "it was not recompressed"),
        (layer_is(mediaType=MediaType.DOCKER_LAYER_ZSTD), "it was not recompressed"),
        *((annotation_is(n, None), f"lacks {n}, but has other annotations") for n in CHUNKED_ANNOTATIONS),
        (annotation_is(TOC_POSITION, "1:2"), TOC_POSITION),
        (annotation_is(TOC_POSITION, "-1:2:3:1"), TOC_POSITION),
        (annotation_is(TOC_POSITION, "0:0:3:1"), "layer sha256:"),
        (annotation_is(TOC_POSITION, f"{len(BLOBS[1])}:9:9:1"), "layer sha256:"),
        (annotation_is(TOC_POSITION, f"1:{2**62}:9:1"), "layer sha256:"),
        (annotation_is(TOC_CHECKSUM, f"sha256:{'0' * 64}"), "its annotation says sha256:0000"),
        (annotation_is(TOC_CHECKSUM, "md5:0"), TOC_CHECKSUM),
        (lambda t: t["annotations"].pop("example.key"), "annotation 'example.key' of the source, 'value'"),
        (lambda t: t["annotations"].update({"example.key": "x"}), "is 'x' in the twin"),
        (lambda t: t.pop("annotations"), "the annotation 'example.key'"),
        (lambda t: t["config"].update(digest=str(Digest.of(b"x"))), "the image ID is not kept"),
        (lambda t: t["config"].update(size=len(CONFIG) + 1), "the image ID is not kept"),
    ],
)  # fmt: skip
def test_what_makes_it_no_twin_is_found_and_named(
    prove: Callable[..., None], change: Change, reason: str
) -> None:
    with pytest.raises(VerificationFailed, match=reason):
        prove(change)


def test_layers_in_another_order_than_their_tables_of_contents_are_found(
    prove: Callable[..., None],
) -> None:
    def change(twin: dict[str, Any]) -> None:
        first, second = twin["layers"]
        first["annotations"], second["annotations"] = second["annotations"], first["annotations"]

    with pytest.raises(VerificationFailed):
        prove(change)


def test_a_layer_whose_table_of_contents_was_changed_is_found(
    prove: Callable[..., None], registry: FakeRegistry
) -> None:
    offset = int(LAYERS[1]["annotations"][TOC_POSITION].partition(":")[0])
    changed = bytearray(BLOBS[1])
    changed[offset + 10] ^= 1
    registry.blobs[str(Digest.of(BLOBS[1]))] = bytes(changed)
    with pytest.raises(VerificationFailed, match="the table of contents of layer"):
        prove()


def test_a_layer_that_the_registry_does_not_have_is_not_found(
    prove: Callable[..., None], registry: FakeRegistry
) -> None:
    del registry.blobs[str(Digest.of(BLOBS[1]))]
    with pytest.raises(NotFound):
        prove()


def test_a_config_that_the_registry_serves_with_other_bytes_is_found(
    prove: Callable[..., None], registry: FakeRegistry
) -> None:
    registry.blobs[str(Digest.of(CONFIG))] = CONFIG.replace(b"amd64", b"arm64")
    with pytest.raises(VerificationFailed, match="these are not the bytes asked for"):
        prove()


def test_a_registry_that_ignores_ranges_is_warned_of_once_and_checked_all_the_same(
    prove: Callable[..., None], registry: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.honours_ranges = False
    with caplog.at_level(logging.WARNING):
        prove()
    assert caplog.text.count("download each layer twice") == 1
    with pytest.raises(VerificationFailed, match="the table of contents of layer"):
        prove(annotation_is(TOC_CHECKSUM, f"sha256:{'0' * 64}"))
