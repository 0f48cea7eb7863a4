"""How registries delete a tag and list tags, as faults of the proxy before one that cannot delete tags."""

from __future__ import annotations

import json
import re

from recompress.reference import Digest
from tests.fake_registry import error_answer
from tests.http_server import Answer, Request
from tests.integration.proxy import Proxy

_MANIFEST = re.compile(r"/v2/(?P<repository>.+)/manifests/(?P<tag>[^:/]+)")
_LIST = re.compile(r"/v2/.+/tags/list")
_UNKNOWN = error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown")


class DeletesTags:
    """CNCF Distribution 3, Quay: 202, and the tag alone is gone. The tags are listed in pages of two."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.deleted: set[tuple[str, str]] = set()

    def __call__(self, request: Request) -> Answer | None:
        """Answer for a tag that was deleted, and for the list."""
        if request.method == "GET" and _LIST.fullmatch(request.path):
            return self._page(request)
        found = _MANIFEST.fullmatch(request.path)
        if not found:
            return None
        named = found["repository"], found["tag"]
        if request.method == "PUT":
            self.deleted.discard(named)
        if named in self.deleted:
            return _UNKNOWN
        return self.delete(request, *named) if request.method == "DELETE" else None

    def delete(self, request: Request, repository: str, tag: str) -> Answer:
        """Delete a tag that may be there."""
        if self._digest(repository, tag) is None:
            return _UNKNOWN
        self.deleted.add((repository, tag))
        return Answer(202)

    def _digest(self, repository: str, tag: str) -> Digest | None:
        accept = {"accept": "application/vnd.oci.image.manifest.v1+json"}
        answer = self.proxy.forward(Request("GET", f"/v2/{repository}/manifests/{tag}", accept, b""))
        return Digest.of(answer.body) if answer.status == 200 else None

    def _page(self, request: Request) -> Answer:
        everything = self.proxy.forward(Request("GET", request.path, {}, b""))
        if everything.status != 200:
            return everything
        repository = request.path.removeprefix("/v2/").removesuffix("/tags/list")
        last = request.target.partition("?last=")[2]
        tags = sorted(
            tag
            for tag in json.loads(everything.body)["tags"] or []
            if (repository, tag) not in self.deleted and tag > last
        )
        link = {"Link": f'<{request.path}?last={tags[1]}>; rel="next"'} if len(tags) > 2 else {}
        return Answer(200, json.dumps({"name": repository, "tags": tags[:2]}).encode(), link)


class DeletesManifests(DeletesTags):
    """A registry that looks up what the tag names, and deletes that: 202, and all its tags are gone."""

    def delete(self, request: Request, repository: str, tag: str) -> Answer:
        """Delete the manifest of a tag that may be there."""
        digest = self._digest(repository, tag)
        if digest is None:
            return _UNKNOWN
        return self.proxy.forward(Request("DELETE", f"/v2/{repository}/manifests/{digest}", {}, b""))
