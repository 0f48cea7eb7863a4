"""Manifests, configs and layers as bytes, small and made by hand."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recompress.manifest import CHUNKED_ANNOTATIONS, MediaType
from recompress.reference import Digest


def descriptor(media_type: str, content: bytes, **more: Any) -> dict[str, Any]:
    """A descriptor of these bytes; `more` is annotations, platform and the like."""
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content), **more}


def chunked_annotations() -> dict[str, str]:
    """All the annotations of a zstd:chunked layer, with values that mean nothing."""
    return dict.fromkeys(CHUNKED_ANNOTATIONS, "1:1:1:1")


def config(
    diff_ids: Sequence[str] = (), architecture: str = "amd64", settings: Any = None, **more: Any
) -> bytes:
    """An image config."""
    document = {
        "os": "linux",
        "architecture": architecture,
        "config": settings or {},
        "rootfs": {"type": "layers", "diff_ids": list(diff_ids)},
        **more,
    }
    return json.dumps(document).encode()


def manifest(
    config_bytes: bytes,
    layers: Sequence[Mapping[str, Any]] = (),
    media_type: str = MediaType.OCI_MANIFEST,
    config_type: str = MediaType.OCI_CONFIG,
    **more: Any,
) -> bytes:
    """An image manifest."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": descriptor(config_type, config_bytes),
        "layers": list(layers),
        **more,
    }
    return json.dumps(document).encode()


def index(entries: Sequence[Mapping[str, Any]], media_type: str = MediaType.OCI_INDEX, **more: Any) -> bytes:
    """An image index."""
    document = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(entries), **more}
    return json.dumps(document).encode()


def tar(files: Mapping[str, bytes]) -> bytes:
    """A tar stream with these files, the same bytes each time."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@dataclass(frozen=True, slots=True)
class HandmadeImage:
    """An image that exists as bytes only: manifest, config and layer blobs."""

    manifest: bytes
    config: bytes
    layers: tuple[bytes, ...]

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return Digest.of(self.manifest)

    def blobs(self) -> dict[str, bytes]:
        """Everything but the manifest, by digest."""
        return {str(Digest.of(blob)): blob for blob in (self.config, *self.layers)}


def gzip_image(
    *contents: Mapping[str, bytes], architecture: str = "amd64", docker: bool = False, **more: Any
) -> HandmadeImage:
    """An image with one gzip layer for each mapping of file names to contents."""
    tars = [tar(files) for files in contents]
    layers = [gzip.compress(stream, mtime=0) for stream in tars]
    config_bytes = config([str(Digest.of(stream)) for stream in tars], architecture)
    layer_type = MediaType.DOCKER_LAYER_GZIP if docker else MediaType.OCI_LAYER_GZIP
    manifest_bytes = manifest(
        config_bytes,
        [descriptor(layer_type, layer) for layer in layers],
        MediaType.DOCKER_MANIFEST if docker else MediaType.OCI_MANIFEST,
        MediaType.DOCKER_CONFIG if docker else MediaType.OCI_CONFIG,
        **more,
    )
    return HandmadeImage(manifest_bytes, config_bytes, tuple(layers))
