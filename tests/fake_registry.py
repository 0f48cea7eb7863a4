"""Manifests and blobs in memory behind a real HTTP server, for what no real registry would serve."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from recompress.manifest import MediaType
from recompress.reference import Digest, Reference, Repository
from recompress.registry.client import RepositoryClient
from recompress.registry.credentials import Credentials
from recompress.registry.transport import Tls
from tests import images
from tests.http_server import Answer, HttpServer, Request
from tests.images import HandmadeImage
from tests.tampering import DESCRIBED, Packed

_PATH = re.compile(r"/v2/(?P<repository>.+)/(?P<kind>manifests|blobs)/(?P<selector>[^/]+)")
_RANGES = re.compile(r"bytes=(\d+-\d+(?:,\d+-\d+)*)")
BOUNDARY = "945ef872fec30763ce97"


class FakeRegistry:
    """A repository `app` that can be read; nothing in it is checked."""

    def __init__(self) -> None:
        self.manifests: dict[str, tuple[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.honours_ranges = True
        self.server = HttpServer(self.handle)

    @property
    def repository(self) -> Repository:
        """Where everything is."""
        return Repository(self.server.host, "app")

    def reference(self, digest: Digest) -> Reference:
        """The reference of a manifest."""
        return Reference(self.repository, None, digest)

    def add_manifest(self, content: bytes, content_type: str = "", selector: str = "") -> Digest:
        """Serve a manifest, by its digest if not by something else."""
        digest = Digest.of(content)
        content_type = content_type or json.loads(content).get("mediaType", MediaType.OCI_MANIFEST)
        self.manifests[selector or str(digest)] = content_type, content
        return digest

    def add(self, image: HandmadeImage) -> Digest:
        """Serve a whole image."""
        self.blobs |= image.blobs()
        return self.add_manifest(image.manifest)

    def add_gzip_and_chunked(self, *names: str, architecture: str = "amd64") -> tuple[Reference, Reference]:
        """Serve an image of these layers of tests/data: as gzip, without the blobs, and as zstd:chunked."""
        config = images.config([DESCRIBED[name]["diffId"] for name in names], architecture)
        gzipped = [images.descriptor(MediaType.OCI_LAYER_GZIP, name.encode()) for name in names]
        chunked = [
            {key: DESCRIBED[name][key] for key in ("mediaType", "digest", "size", "annotations")}
            for name in names
        ]
        blobs = (config, *(Packed.load(name).blob for name in names))
        self.blobs |= {str(Digest.of(blob)): blob for blob in blobs}
        source, twin = (
            self.reference(self.add_manifest(images.manifest(config, layers)))
            for layers in (gzipped, chunked)
        )
        return source, twin

    def client(self, attempts: int = 1, credentials: Credentials | None = None) -> RepositoryClient:
        """A client as the command has it."""
        return RepositoryClient(
            self.repository, credentials or Credentials(), Tls(verify=False), attempts=attempts
        )

    def handle(self, request: Request) -> Answer:
        """Answer as a registry does."""
        found = _PATH.fullmatch(request.path)
        if not found:
            return Answer(200)
        if request.method not in ("GET", "HEAD"):
            return Answer(405)
        if found["kind"] == "manifests":
            return self._manifest(found["selector"])
        return self._blob(found["selector"], request.headers.get("range", ""))

    def _manifest(self, selector: str) -> Answer:
        if selector not in self.manifests:
            return error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown")
        content_type, content = self.manifests[selector]
        return Answer(200, content, {"Content-Type": content_type})

    def _blob(self, digest: str, range_header: str) -> Answer:
        if digest not in self.blobs:
            return error_answer(404, "BLOB_UNKNOWN", "blob unknown")
        content = self.blobs[digest]
        asked = _RANGES.fullmatch(range_header)
        if not asked or not self.honours_ranges:
            return Answer(200, content)
        spans = [tuple(map(int, span.split("-"))) for span in asked[1].split(",")]
        served = [(first, min(last, len(content) - 1)) for first, last in spans if first < len(content)]
        if not served:
            return Answer(416)
        if len(served) > 1:
            return multipart_answer(content, *served)
        first, last = served[0]
        span = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        return Answer(206, content[first : last + 1], span)


def multipart_answer(content: bytes, *spans: tuple[int, int]) -> Answer:
    """These parts of a blob, each by its first and last byte, in the words of Go's http.ServeContent."""
    body = b"".join(
        f"\r\n--{BOUNDARY}\r\nContent-Range: bytes {first}-{last}/{len(content)}\r\n"
        "Content-Type: application/octet-stream\r\n\r\n".encode()
        + content[first : last + 1]
        for first, last in spans
    )
    end = f"\r\n--{BOUNDARY}--\r\n".encode()
    headers = {"Content-Type": f"multipart/byteranges; boundary={BOUNDARY}"}
    return Answer(206, body.removeprefix(b"\r\n") + end, headers)


def error_answer(status: int, code: str, message: str, **headers: str) -> Answer:
    """An error as the distribution specification words it."""
    return Answer(status, json.dumps({"errors": [{"code": code, "message": message}]}).encode(), headers)


@contextmanager
def fake_registry() -> Iterator[FakeRegistry]:
    """A fake registry for as long as the block takes."""
    registry = FakeRegistry()
    with registry.server:
        yield registry
