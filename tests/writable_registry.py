"""A fake registry that can be written to, with a referrers API or without, and what tests attach in it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.fake_registry import FakeRegistry, error_answer
from tests.http_server import Answer, Request

SPDX = "text/spdx+json"
CYCLONEDX = "application/vnd.cyclonedx+json"
SPDX_ARTIFACT = "application/spdx+json"


class WritableRegistry(FakeRegistry):
    """Takes blobs and manifests as the distribution specification says, until a test gets in the way."""

    def __init__(self) -> None:
        super().__init__()
        self.has_referrers_api = True
        self.page_size = 1000
        self.in_the_way: Callable[[Request], Answer | None] = lambda _: None

    def handle(self, request: Request) -> Answer:
        if answer := self.in_the_way(request):
            return answer
        selector = request.path.rpartition("/")[2]
        match request.method:
            case "GET" if "/referrers/" in request.path:
                return self._referrers(request, selector)
            case "POST":
                return Answer(202, headers={"Location": "/v2/app/blobs/uploads/1"})
            case "PUT":
                return self._put(request, selector)
        return super().handle(request)

    def _put(self, request: Request, selector: str) -> Answer:
        if "/blobs/" in request.path:
            digest = parse_qs(request.target.partition("?")[2])["digest"][0]
            assert self.add_blob(request.body) == Digest.parse(digest)
        else:
            for each in {selector, str(Digest.of(request.body))}:
                self.add_manifest(request.body, request.headers["content-type"], each)
        return Answer(201)

    def _referrers(self, request: Request, subject: str) -> Answer:
        if not self.has_referrers_api:
            return Answer(404, b"404 page not found", {"Content-Type": "text/plain"})
        start = int(parse_qs(request.target.partition("?")[2]).get("start", ["0"])[0])
        entries = list(self.referring(subject))
        headers = {"Content-Type": str(MediaType.OCI_INDEX)}
        if len(entries) > start + self.page_size:
            headers["Link"] = f'<{request.path}?start={start + self.page_size}>; rel="next"'
        return Answer(200, images.index(entries[start : start + self.page_size]), headers)

    def referring(self, subject: str) -> Iterator[dict[str, Any]]:
        """What the registry lists for a subject."""
        for digest, (_, content) in self.manifests.items():
            document = json.loads(content) if content[:1] == b"{" else {}
            if digest.startswith("sha256:") and document.get("subject", {}).get("digest") == subject:
                kind = document.get("artifactType") or document["config"]["mediaType"]
                own = {"artifactType": kind, "annotations": document.get("annotations") or {}}
                yield images.descriptor(MediaType.OCI_MANIFEST, content, **own)

    def add_blob(self, content: bytes) -> Digest:
        """Serve a blob."""
        self.blobs[str(Digest.of(content))] = content
        return Digest.of(content)

    def attach(self, image: Digest, content: bytes, layer_type: str = SPDX) -> Digest:
        """Attach a file to an image as `cosign attach sbom` does; returns the digest of the file."""
        self.add_blob(content)
        made = images.manifest(b"{}", [images.descriptor(layer_type, content)])
        self.add_manifest(made, selector=f"sha256-{image.hex}.sbom")
        return Digest.of(content)

    def refer(
        self,
        image: Digest,
        content: bytes,
        created: str | None = None,
        kind: str = SPDX_ARTIFACT,
        **more: Any,
    ) -> Digest:
        """Make a file a referrer of an image as `oras attach` does; returns the digest of the manifest."""
        self.add_blob(content)
        subject = {"mediaType": MediaType.OCI_MANIFEST, "digest": str(image), "size": 1}
        document: dict[str, Any] = {
            "artifactType": kind,
            "subject": subject,
            "annotations": {"org.opencontainers.image.created": created} if created else {},
            **more,
        }
        layer = images.descriptor("application/octet-stream", content)
        made = images.manifest(b"{}", [layer], config_type="application/vnd.oci.empty.v1+json", **document)
        digest = self.add_manifest(made)
        if not self.has_referrers_api:
            tag = f"sha256-{image.hex}"
            self.add_manifest(images.index(list(self.referring(str(image)))), selector=tag)
        return digest

    def sbom(self, image: Digest) -> bytes:
        """The SBOM at the tag of an image."""
        _, manifest = self.manifests[f"sha256-{image.hex}.sbom"]
        (layer,) = json.loads(manifest)["layers"]
        return self.blobs[layer["digest"]]


@contextmanager
def writable_registry() -> Iterator[WritableRegistry]:
    """Such a registry for as long as the block takes."""
    registry = WritableRegistry()
    with registry.server:
        yield registry


NOT_FOUND = error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown")
