"""What registries are known to do besides what Distribution does: one small class each.

A personality stands on the tests' proxy, before a real registry, and is named after the registry that was
seen to do so. `known` says what it does, with which status, header or body; where that was reported stands
above it. The next report is one more class here: tests/integration/test_registries.py runs every command
through it.
"""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter
from dataclasses import replace
from urllib.parse import parse_qs

from tests.fake_registry import error_answer
from tests.http_server import Answer, Request
from tests.integration.proxy import Proxy


class Personality:
    """A registry with a habit. As a fault of a proxy, it answers in the registry's place, or not."""

    name = "CNCF Distribution 2.8"
    known = "nothing: it is what stands behind the others"
    attempts = 5

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self._lock = threading.Lock()
        self._seen: Counter[object] = Counter()

    def __call__(self, request: Request) -> Answer | None:
        """The answer in the registry's place."""
        return None

    def is_early(self, what: object, times: int = 1) -> bool:
        """Whether `what` happens for the first time, or for one of the first so many."""
        with self._lock:
            self._seen[what] += 1
            return self._seen[what] <= times

    def has_happened(self, what: object) -> bool:
        """Whether `what` was asked about before."""
        with self._lock:
            return what in self._seen


def is_manifest(request: Request, method: str) -> bool:
    """Whether a manifest is put or got by its digest."""
    return request.method == method and "/manifests/sha256:" in request.path


class Quay(Personality):
    """https://github.com/helm/helm/issues/31348."""

    name = "Quay"
    known = "a manifest that was just pushed is `404 MANIFEST_UNKNOWN` at first"
    answer = error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown")
    times = 1

    def __call__(self, request: Request) -> Answer | None:
        """So many of the first GETs of each pushed manifest are too early."""
        if is_manifest(request, "PUT"):
            self.is_early(("pushed", request.path))
        is_pushed = self.has_happened(("pushed", request.path))
        if is_manifest(request, "GET") and is_pushed and self.is_early(request.path, self.times):
            return self.answer
        return None


class DockerHub(Personality):
    """https://github.com/int128/docker-manifest-create-action/issues/857."""

    name = "Docker Hub"
    known = "replication: a blob that was just pushed is `404 BLOB_UNKNOWN` at first"

    def __call__(self, request: Request) -> Answer | None:
        """The first look at each pushed blob is too early."""
        if request.method == "PUT" and "/blobs/uploads/" in request.path:
            self.is_early(("pushed", parse_qs(request.target.partition("?")[2])["digest"][0]))
        digest = request.path.rpartition("/")[2]
        is_read = request.method in ("GET", "HEAD") and "/blobs/" in request.path
        if is_read and self.has_happened(("pushed", digest)) and self.is_early(digest):
            return error_answer(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return None


class HarborWithReplicas(Personality):
    """https://github.com/goharbor/harbor/issues/15234."""

    name = "Harbor, with replicas"
    known = "a manifest whose blobs were just pushed is `400 MANIFEST_BLOB_UNKNOWN` at first"

    def __call__(self, request: Request) -> Answer | None:
        """The first two PUTs of each manifest come too early."""
        if request.method == "PUT" and "/manifests/" in request.path and self.is_early(request.body, 2):
            return error_answer(400, "MANIFEST_BLOB_UNKNOWN", "blob unknown to registry")
        return None


class Harbor(Quay):
    """https://github.com/goharbor/harbor/issues/8958, https://github.com/docker/build-push-action/issues/639."""

    name = "Harbor, with scans"
    known = "what was just pushed is `412 PROJECTPOLICYVIOLATION` until its scan has ended"
    answer = error_answer(
        412,
        "PROJECTPOLICYVIOLATION",
        'image with "Pending" status of vulnerability scanning cannot be pulled',
    )
    times = 2


class Ecr(Personality):
    """https://github.com/moby/buildkit/issues/3776."""

    name = "ECR"
    known = "a tag that exists is `400 TAG_INVALID`, be it on the same manifest"
    answer = error_answer(400, "TAG_INVALID", "The image tag already exists and cannot be overwritten")

    def __call__(self, request: Request) -> Answer | None:
        """A tag is put once."""
        is_tag = request.method == "PUT" and "/manifests/" in request.path and not is_manifest(request, "PUT")
        return self.answer if is_tag and not self.is_early(request.path) else None


class Artifactory(Ecr):
    """https://github.com/GoogleContainerTools/kaniko/issues/1095."""

    name = "Artifactory"
    known = "a tag that exists is `403 MANIFEST_INVALID` to who may not delete"
    answer = error_answer(403, "MANIFEST_INVALID", "manifest invalid")


class Ghcr(Personality):
    """https://github.com/virtualcell/vcell/issues/1888."""

    name = "GHCR"
    known = "a rate limit is `403`, with a body that says so, in JSON of GitHub's own"

    def __call__(self, request: Request) -> Answer | None:
        """The limit is met at the first request of each method."""
        if len(request.path) > len("/v2/") and self.is_early(request.method):
            return Answer(403, b'{"message": "You have exceeded a secondary rate limit."}')
        return None


class QuayNewRepository(Personality):
    """https://github.com/nebari-dev/nebi/issues/539: the token itself is not good, and another one is."""

    name = "Quay, with a new repository"
    known = "a token to push that was given while the repository is being made is refused with `401`"

    def __call__(self, request: Request) -> Answer | None:
        """Tokens are wanted; the first one that begins an upload is refused, and stays so."""
        if request.path == "/token":
            return Answer(200, json.dumps({"token": uuid.uuid4().hex}).encode())
        token = request.headers.get("authorization")
        if token is None:
            challenge = f'Bearer realm="http://{self.proxy.host}/token",service="quay"'
            return error_answer(401, "UNAUTHORIZED", "no token", **{"WWW-Authenticate": challenge})
        if request.method == "POST" and self.is_early("upload"):
            self.is_early(("refused", token))
        if self.has_happened(("refused", token)):
            return error_answer(401, "UNAUTHORIZED", "access to the requested resource is not authorized")
        return self.proxy.forward(request, authorization="")


class SignedForGet(Personality):
    """https://github.com/rustfs/rustfs/issues/5840, https://github.com/minio/minio/issues/6146."""

    name = "any, before an S3 of its own"
    known = "HEAD of a blob is redirected to a URL that is signed for GET: `403`"

    def __call__(self, request: Request) -> Answer | None:
        """Blobs are in a storage, to which HEAD is redirected."""
        if request.path.startswith("/signed/"):
            if request.method == "HEAD":
                return Answer(403, b"<Code>SignatureDoesNotMatch</Code>")
            return self.proxy.forward(replace(request, target=request.target.removeprefix("/signed")))
        is_blob = request.method in ("GET", "HEAD") and "/blobs/sha256:" in request.path
        if is_blob and (answer := self.proxy.forward(replace(request, method="HEAD"))).status < 300:
            return replace(answer, status=307, body=b"", headers={"Location": f"/signed{request.target}"})
        return None


class Zot(Personality):
    """https://github.com/project-zot/zot/pull/948."""

    name = "zot, with a short gcDelay"
    known = "what has no tag is collected, as during a long proof"
    attempts = 2

    def __call__(self, request: Request) -> Answer | None:
        """What skopeo pushed is collected before the twin is pushed."""
        if not is_manifest(request, "PUT"):
            return None
        if request.headers["user-agent"].startswith("skopeo/"):
            self.is_early("skopeo")
        elif self.has_happened("skopeo") and self.is_early("collection"):
            repository = request.path.partition("/manifests/")[0]
            for layer in json.loads(request.body)["layers"]:
                self.proxy.forward(Request("DELETE", f"{repository}/blobs/{layer['digest']}", {}, b""))
        return None


class BadGateway(Personality):
    """https://github.com/gardenlinux/gardenlinux/issues/2585."""

    name = "GHCR, on a bad day"
    known = "`502` in the middle of everything"

    def __call__(self, request: Request) -> Answer | None:
        """The first request of each method is lost."""
        if len(request.path) > len("/v2/") and self.is_early(request.method):
            return Answer(502, b"<html>Bad Gateway</html>", {"Content-Type": "text/html"})
        return None


PERSONALITIES: tuple[type[Personality], ...] = (
    Personality,
    Quay,
    DockerHub,
    HarborWithReplicas,
    Harbor,
    Ecr,
    Artifactory,
    Ghcr,
    QuayNewRepository,
    SignedForGet,
    Zot,
    BadGateway,
)
