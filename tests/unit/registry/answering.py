"""A client and the server that answers it, for the tests of this directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from recompress.manifest import MediaType
from recompress.reference import Digest, Repository
from recompress.registry.client import RepositoryClient
from recompress.registry.credentials import Credentials
from recompress.registry.ranges import ByteRange
from recompress.registry.transport import Tls
from tests.fake_registry import error_answer, multipart_answer
from tests.http_server import Answer, Handler, HttpServer, Request, serving

MANIFEST = b'{"schemaVersion": 2}'
OK = Answer(200, MANIFEST, {"Content-Type": MediaType.OCI_MANIFEST})
BUSY = error_answer(503, "UNAVAILABLE", "come back later")
BLOB = bytes(range(256)) * 4
TAG = "1"
FIRST, SECOND = ByteRange(100, 50), ByteRange(158, 30)
TWO_PARTS = multipart_answer(BLOB, (100, 149), (158, 187))
ONE_PART = Answer(206, BLOB[100:150], {"Content-Range": "bytes 100-149/1024"})


@contextmanager
def answering(handler: Handler, attempts: int = 3) -> Iterator[tuple[RepositoryClient, HttpServer]]:
    """A client of a repository `app`, and the server on which this handler answers it."""
    with serving(handler) as server:
        repository = Repository(server.host, "app")
        with RepositoryClient(repository, Credentials(), Tls(verify=False), attempts) as client:
            yield client, server


def sha256_of(content: bytes, *parts: ByteRange) -> tuple[Digest, ...]:
    """The digests of parts of a blob."""
    return tuple(Digest.of(content[part.offset : part.last + 1]) for part in parts)


class Uploads:
    """Takes uploads of blobs and manifests as the specification says."""

    def __init__(self, server_path: str = "/v2/app/blobs/uploads/1?state=a%2Fb") -> None:
        self.location = server_path
        self.put: dict[str, tuple[str, bytes]] = {}
        self.first: dict[str, Answer] = {}

    def __call__(self, request: Request) -> Answer:
        if answer := self.first.pop(request.method, None):
            return answer
        match request.method:
            case "POST":
                return Answer(202, headers={"Location": self.location})
            case "PUT":
                self.put[request.target] = request.headers["content-type"], request.body
                return Answer(201)
            case "DELETE":
                return Answer(204)
            case _:
                return Answer(404 if "/blobs/" in request.target else 200)
