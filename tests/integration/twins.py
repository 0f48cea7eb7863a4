"""Whether a twin is one, found out without any code of recompress but its names of media types."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from typing import Any

from recompress.manifest import CHUNKED_ANNOTATIONS, TOC_CHECKSUM, TOC_POSITION, MediaType
from recompress.reference import Digest
from tests.integration.registries import Registry


def assert_twin(
    registry: Registry, source_repository: str, source: Digest | str, results: Mapping[str, str], to: str = ""
) -> dict[str, Any]:
    """Assert that the results name the twin of the source, in all that makes it one; returns its manifest."""
    repository = to.partition(":")[0] or source_repository
    tag = to.partition(":")[2] or f"{source}.zstd-chunked".replace(":", "-")
    digest = results["IMAGE_DIGEST"]
    named = dict(results)
    if digest != str(source):
        made_of = json.loads(named.pop("SOURCE_ARTIFACT_INPUTS"))
        assert made_of.keys() == {"uri", "digest"}
        assert made_of["uri"].startswith("oci://")
        assert made_of["uri"].endswith(f"/{source_repository}")
        assert made_of["digest"] == str(source)
    assert named == {
        "IMAGE_URL": f"{registry.host}/{repository}:{tag}",
        "IMAGE_DIGEST": digest,
        "IMAGE_REF": f"{registry.host}/{repository}@{digest}",
    }
    assert str(Digest.of(registry.manifest(repository, tag))) == digest
    original = registry.document(source_repository, str(source))
    served = registry.served(repository, digest)
    assert served.headers["Content-Type"] == MediaType.OCI_MANIFEST
    twin: dict[str, Any] = served.json()
    assert twin["schemaVersion"] == 2
    assert twin["mediaType"] == MediaType.OCI_MANIFEST

    # Blobs are compared with their digests when they are read: the same digest is the same bytes.
    assert twin["config"]["digest"] == original["config"]["digest"]
    assert twin["config"]["mediaType"] == MediaType.OCI_CONFIG
    config = registry.blob(repository, twin["config"]["digest"])
    assert twin["config"]["size"] == len(config)

    diff_ids = json.loads(config)["rootfs"].get("diff_ids") or []
    assert len(twin["layers"]) == len(original["layers"]) == len(diff_ids)
    for layer, diff_id in zip(twin["layers"], diff_ids, strict=True):
        assert_zstd_chunked(registry, repository, layer, diff_id)
    assert {**twin.get("annotations", {}), **original.get("annotations", {})} == twin.get("annotations", {})
    return twin


def is_annotated(layer: dict[str, Any]) -> bool:
    """Whether clients may pull the layer partially. It has all annotations for that or none."""
    has = set(CHUNKED_ANNOTATIONS) & set(layer.get("annotations", {}))
    assert has in (set(), set(CHUNKED_ANNOTATIONS))
    return bool(has)


def assert_zstd_chunked(registry: Registry, repository: str, layer: dict[str, Any], diff_id: str) -> None:
    """Assert that a layer is zstd:chunked, complete, and has the content of the diff_id.

    Without the annotations it has only the content: clients pull it in full.
    """
    assert layer["mediaType"] == MediaType.OCI_LAYER_ZSTD
    blob = registry.blob(repository, layer["digest"])
    assert layer["size"] == len(blob)
    content = subprocess.run(["zstd", "-dc"], input=blob, capture_output=True, check=True).stdout
    assert str(Digest.of(content)) == diff_id
    if not is_annotated(layer):
        return
    offset, length = map(int, layer["annotations"][TOC_POSITION].split(":")[:2])
    with registry.client() as client:
        span = {"Range": f"bytes={offset}-{offset + length - 1}"}
        part = client.get(f"{repository}/blobs/{layer['digest']}", headers=span)
    assert part.status_code == 206
    assert str(Digest.of(part.content)) == layer["annotations"][TOC_CHECKSUM]
