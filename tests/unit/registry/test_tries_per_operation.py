"""Every operation has as many tries as the user gave, and no more, whatever of it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest

from recompress.errors import Unavailable
from recompress.manifest import Descriptor, MediaType
from recompress.reference import Digest
from recompress.registry.client import RepositoryClient
from recompress.registry.ranges import ByteRange
from recompress.registry.served import Served
from recompress.registry.transport import retrying
from tests.fake_registry import error_answer
from tests.http_server import Answer, HttpServer, Request
from tests.unit.registry.answering import BLOB, BUSY, MANIFEST, TAG, Uploads, answering

DIGEST = Digest.of(BLOB)
SERVED = Served(MANIFEST, MediaType.OCI_MANIFEST)
TRIES = 5


def read_blob(client: RepositoryClient) -> None:
    with client.blob(DIGEST) as chunks:
        list(chunks)


def read_part(client: RepositoryClient) -> None:
    with client.blob_range(DIGEST, 0, 1) as (chunks, _):
        list(chunks)


CALLS: Mapping[str, Callable[[RepositoryClient], object]] = {
    "manifest": lambda client: client.manifest(TAG),
    "tag": lambda client: client.tag(TAG, SERVED),
    "put_manifest": lambda client: client.put_manifest(TAG, SERVED),
    "has_manifest": lambda client: client.has_manifest(TAG),
    "find_manifest": lambda client: client.find_manifest(TAG),
    "tags": lambda client: client.tags(),
    "delete_tag": lambda client: client.delete_tag(TAG),
    "config": lambda client: client.config(Descriptor(MediaType.OCI_CONFIG, DIGEST, len(BLOB))),
    "whole_blob": lambda client: client.whole_blob(Descriptor("text/plain", DIGEST, len(BLOB))),
    "referrers_page": lambda client: client.referrers_page(DIGEST, b""),
    "blob": read_blob,
    "blob_range_sha256": lambda client: client.blob_range_sha256(DIGEST, 0, 1),
    "blob_range": read_part,
    "two_ranges": lambda client: client.two_ranges(DIGEST, ByteRange(0, 1), ByteRange(2, 1)),
    "stat_blob": lambda client: client.stat_blob(DIGEST),
    "put_blob": lambda client: client.put_blob(BLOB),
    "check_push": lambda client: client.check_push(),
    "try_upload": lambda client: client.try_upload(),
}
ONCE = ("blob", "blob_range", "try_upload")


@dataclass(frozen=True, slots=True)
class Failing:
    """A method of the client, what each method of HTTP is answered, and what is asked until it gives up."""

    operation: str
    answers: Mapping[str, Answer]
    asked: list[str]


FOREVER = [
    Failing("manifest", {"GET": BUSY}, ["GET"] * TRIES),
    Failing("put_manifest", {"PUT": BUSY}, ["PUT"] * TRIES),
    Failing("has_manifest", {"GET": BUSY}, ["GET"] * TRIES),
    Failing("find_manifest", {"GET": BUSY}, ["GET"] * TRIES),
    Failing("tags", {"GET": BUSY}, ["GET"] * TRIES),
    Failing("delete_tag", {"DELETE": BUSY}, ["DELETE"] * TRIES),
    Failing("config", {"GET": BUSY}, ["GET"] * TRIES),
    Failing("whole_blob", {"GET": BUSY}, ["GET"] * TRIES),
    Failing("referrers_page", {"GET": BUSY}, ["GET"] * TRIES),
    Failing("blob", {"GET": BUSY}, ["GET"]),
    Failing("blob_range", {"GET": BUSY}, ["GET"]),
    Failing("blob_range_sha256", {"GET": BUSY}, ["GET"] * TRIES),
    Failing("two_ranges", {"GET": BUSY}, ["GET"] * TRIES),
    Failing("stat_blob", {"HEAD": BUSY}, ["HEAD"] * TRIES),
    Failing("put_blob", {"HEAD": BUSY}, ["HEAD"] * TRIES),
    Failing("put_blob", {"POST": BUSY}, ["HEAD", "POST"] * TRIES),
    Failing("put_blob", {"PUT": BUSY}, ["HEAD", "POST", "PUT"] * TRIES),
    Failing("put_blob", {"PUT": Answer(404)}, ["HEAD", "POST", "PUT"] * TRIES),
    Failing("check_push", {"POST": BUSY}, ["POST"] * TRIES),
    # That it fails once is what is asked.
    Failing("try_upload", {"POST": BUSY}, ["POST"]),
    Failing("try_upload", {"PATCH": BUSY}, ["POST", "PATCH"]),
    Failing("try_upload", {"PATCH": Answer(404)}, ["POST", "PATCH"]),
    # A look, and two operations, one after the other: a tag that was not taken is looked at.
    Failing("tag", {"PUT": BUSY}, ["GET", *["PUT"] * TRIES, "GET"]),
    Failing(
        "tag",
        {"PUT": error_answer(400, "TAG_INVALID", "immutable"), "GET": BUSY},
        ["GET", "PUT", *["GET"] * TRIES],
    ),
    Failing("tag", {"PUT": BUSY, "GET": BUSY}, ["GET", *["PUT"] * TRIES, *["GET"] * TRIES]),
]


def asked(server: HttpServer) -> list[str]:
    """The methods of all requests for something in the repository."""
    return [request.method for request in server.requests if request.target.startswith("/v2/app/")]


def test_the_tries_of_every_public_method_are_counted_here() -> None:
    public = {name for name in vars(RepositoryClient) if not name.startswith("_")} - {"expect"}
    assert public == CALLS.keys() == {failing.operation for failing in FOREVER}


@pytest.mark.parametrize("failing", FOREVER, ids=lambda f: f"{f.operation} {' '.join(f.answers)}")
def test_a_failure_that_lasts_is_asked_about_as_often_as_there_are_tries(
    failing: Failing, waits: list[float]
) -> None:
    healthy = Uploads()
    with answering(lambda r: failing.answers.get(r.method) or healthy(r), TRIES) as (client, server):
        with pytest.raises(Unavailable) as raised:
            CALLS[failing.operation](client)
        assert asked(server) == failing.asked
    # Whether a stream is begun again is for its reader to say; all else has had its tries.
    assert raised.value.temporary is (failing.operation in ONCE)


def test_the_tries_of_an_operation_are_for_all_of_its_requests_together(waits: list[float]) -> None:
    uploads = Uploads()
    heads = [BUSY] * 3

    def handler(request: Request) -> Answer:
        if request.method == "HEAD" and heads:
            return heads.pop()
        return BUSY if request.method == "PUT" else uploads(request)

    with answering(handler, TRIES) as (client, server):
        with pytest.raises(Unavailable):
            client.put_blob(BLOB)
        assert asked(server) == [*["HEAD"] * 3, *["HEAD", "POST", "PUT"] * 2]


def test_an_upload_that_was_begun_to_ask_for_permission_is_given_up_in_one_try() -> None:
    uploads = Uploads()

    def handler(request: Request) -> Answer:
        return BUSY if request.method == "DELETE" else uploads(request)

    with answering(handler, TRIES) as (client, server):
        client.check_push()
        assert asked(server) == ["POST", "DELETE"]


def test_an_error_that_has_used_up_its_tries_is_not_tried_again_by_a_caller_that_retries(
    waits: list[float],
) -> None:
    tried: list[int] = []

    def fail() -> None:
        tried.append(1)
        raise Unavailable("busy", temporary=True)

    with pytest.raises(Unavailable, match="busy"):
        retrying(TRIES, lambda: retrying(TRIES, fail))
    assert len(tried) == TRIES
    assert len(waits) == TRIES - 1
