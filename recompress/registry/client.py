"""One registry, spoken to by the OCI distribution specification 1.1.

Nothing that comes back is trusted: sizes are bounded, and what has a digest is hashed and
compared before anybody sees it. Temporary failures are tried again here, so that no caller has
to think of them, except one that reads a stream (`blob`, `blob_range`).
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

import httpx

from recompress.errors import (
    NotFound,
    RecompressError,
    Refused,
    Unavailable,
    Unsupported,
    VerificationFailed,
)
from recompress.manifest import MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Descriptor, MediaType
from recompress.printable import counted
from recompress.reference import Digest, Repository
from recompress.registry import bodies
from recompress.registry.credentials import credentials_for
from recompress.registry.ranges import ByteRange, TwoRanges, TwoRangesAnswer, read_answer
from recompress.registry.referrers import ReferrersPage
from recompress.registry.referrers import read_page as read_referrers
from recompress.registry.requests import Requests
from recompress.registry.served import Served
from recompress.registry.tags import MAX_PAGE_BYTES, TagsPage, all_pages, read_page
from recompress.registry.transport import (
    Tls,
    answer_error,
    is_temporary,
    retrying,
)

log = logging.getLogger(__name__)

_ACCEPT = ", ".join(
    (
        MediaType.OCI_MANIFEST,
        MediaType.OCI_INDEX,
        MediaType.DOCKER_MANIFEST,
        MediaType.DOCKER_INDEX,
        MediaType.DOCKER_SCHEMA1_SIGNED,
        MediaType.DOCKER_SCHEMA1,
    )
)
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach registries: whose credentials, which certificates, how many tries."""

    auth_files: tuple[Path, ...]
    tls: Tls
    attempts: int

    def client(self, repository: Repository, credentials_of: Repository | None = None) -> RepositoryClient:
        """A client for one repository, with the credentials for it, or with those of another one.

        Raises UsageError for an auth file, a CA file or a proxy that cannot be used, Refused where a
        credential helper fails.
        """
        found = credentials_for(credentials_of or repository, self.auth_files)
        return RepositoryClient(repository, found, self.tls, self.attempts)


def _retried(
    method: Callable[Concatenate[RepositoryClient, P], T],
) -> Callable[Concatenate[RepositoryClient, P], T]:
    """Make a method one operation: after a temporary failure all of it is done again.

    Such a method calls no other one, so that tries are counted once: what two of them share has an
    underscore and no tries of its own.
    """

    @functools.wraps(method)
    def operation(client: RepositoryClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return retrying(client.attempts, lambda: method(client, *args, **kwargs))

    return operation


class RepositoryClient(Requests):
    """Reads from and writes to one repository, with the credentials for it.

    Every method raises Refused, NotFound or Unavailable as the registry answers; reading also
    raises VerificationFailed where the bytes are not what their digest says. Only the
    streams raise an Unavailable that is `temporary`: everything else was tried `attempts` times.
    """

    # Manifests

    @_retried
    def manifest(self, selector: str | Digest) -> Served:
        """Read a manifest by digest (its bytes are hashed and compared) or by tag."""
        return self._manifest(selector)

    @_retried
    def find_manifest(self, selector: str | Digest) -> Served | None:
        """Read a manifest as `manifest` does; None where the repository does not have it.

        None only where the registry itself says 404: NotFound is raised where its token server does, or a
        storage that it redirects to.
        """
        return self._find_manifest(selector)

    @_retried
    def has_manifest(self, selector: str | Digest) -> bool:
        """Whether `find_manifest` finds one."""
        return self._find_manifest(selector) is not None

    def tag(self, tag: str, served: Served) -> None:
        """Put a tag on a manifest, where it is not there already: many registries have tags that stay.

        It is looked for first, once, and again after a failure, for another run may have put it there: that
        and the pushing are two operations, each with its own tries.
        """
        with suppress(RecompressError):
            if self._manifest(tag).content == served.content:
                return
        try:
            self.put_manifest(tag, served)
        except (Refused, NotFound, Unavailable) as error:
            try:
                is_there = self.manifest(tag).content == served.content
            except RecompressError:
                is_there = False
            if not is_there:
                raise error

    @_retried
    def put_manifest(self, selector: str | Digest, served: Served) -> None:
        """Push a manifest under a digest or a tag."""
        headers = {"Content-Type": served.content_type}
        with self._send("PUT", f"manifests/{selector}", content=served.content, headers=headers):
            self.expect(Digest.of(served.content))

    # Tags

    def tags(self) -> tuple[str, ...]:
        """All tags of the repository. Each page of the list is an operation with its own tries.

        Raises VerificationFailed for what is no list of tags, Unsupported for one that is too long.
        """
        return all_pages(self._tags_page)

    @_retried
    def _tags_page(self, query: bytes) -> TagsPage:
        url = httpx.URL(self._url("tags/list")).copy_with(query=query or None)
        with self._send("GET", url) as response:
            content = bodies.whole(response, MAX_PAGE_BYTES)
        return read_page(content, url, response.links)

    @_retried
    def delete_tag(self, tag: str) -> None:
        """Delete a tag by its name, so that its manifest and other tags of that stay.

        No error where it is gone already: an answer may have been lost. Raises Unsupported where the
        registry cannot: it says so with 400 or 405 (OCI distribution specification 1.1, "Deleting tags").
        """
        with self._exchange("DELETE", f"manifests/{tag}") as response:
            if response.status_code < 400 or response.status_code == 404:
                return
            error = answer_error("DELETE", response, self.repository)
            if response.status_code in (400, 405, 501):
                raise Unsupported(f"the registry cannot delete a tag by its name: {error}")
            raise error

    # Referrers

    @_retried
    def referrers_page(self, subject: Digest, query: bytes) -> ReferrersPage | None:
        """One page of what refers to a manifest; None where the registry has no referrers API.

        That is any answer of 400 or more but 401, 403, and those after which it is tried again: 501 and 505
        are said by those that never will have one.
        """
        url = httpx.URL(self._url(f"referrers/{subject}")).copy_with(query=query or None)
        with self._exchange("GET", url, headers={"Accept": MediaType.OCI_INDEX}) as response:
            status = response.status_code
            if status in (401, 403) or is_temporary(status):
                raise self._error("GET", response)
            if status >= 400:
                return None
            content = bodies.whole(response, MAX_MANIFEST_BYTES)
            return read_referrers(content, response.headers.get("Content-Type", ""), url, response.links)

    # Blobs

    @_retried
    def config(self, descriptor: Descriptor) -> bytes:
        """Read a config blob: its size and its digest are compared with the descriptor.

        Raises Unsupported for a config that is too large for clients, before anything is read.
        """
        if descriptor.size > MAX_CONFIG_BYTES:
            raise Unsupported(
                f"the config {descriptor.digest} has {descriptor.size} bytes, and podman and skopeo read "
                f"{MAX_CONFIG_BYTES} at most: build the image with less history or smaller labels"
            )
        return self._whole(descriptor, "the config")

    @_retried
    def whole_blob(self, descriptor: Descriptor) -> bytes:
        """Read a blob into memory, compared as a config is. How large it may be is for the caller to say."""
        return self._whole(descriptor, "the blob")

    @contextmanager
    def blob(self, digest: Digest) -> Iterator[Iterator[bytes]]:
        """Stream a blob's bytes as they are stored. Not hashed here, and not tried again."""
        with self._send("GET", f"blobs/{digest}") as response:
            yield bodies.stream(response)

    @_retried
    def blob_range_sha256(self, digest: Digest, offset: int, length: int) -> tuple[Digest, bool]:
        """The sha256 of a part of a blob, and whether the registry served just that part."""
        hasher = hashlib.sha256()
        with self.blob_range(digest, offset, length) as (chunks, is_partial):
            for chunk in chunks:
                hasher.update(chunk)
        return Digest(hasher.hexdigest()), is_partial

    @contextmanager
    def blob_range(self, digest: Digest, offset: int, length: int) -> Iterator[tuple[Iterator[bytes], bool]]:
        """Stream `length` bytes of a blob from `offset`, by one HTTP Range request.

        Yields the bytes, exactly that many, and whether the registry honoured the range; where it
        did not, what comes before is read and thrown away. Not tried again here.
        """
        headers = {"Range": f"bytes={offset}-{offset + length - 1}"}
        with self._send("GET", f"blobs/{digest}", headers=headers) as response:
            is_partial = response.status_code == httpx.codes.PARTIAL_CONTENT
            if is_partial:
                bodies.check_range(response, offset, length)
            yield bodies.cut(bodies.stream(response), 0 if is_partial else offset, length), is_partial

    @_retried
    def two_ranges(self, digest: Digest, first: ByteRange, second: ByteRange) -> TwoRangesAnswer:
        """Ask for two ranges of a blob in one request, as podman does, and say what the registry answers.

        An answer that breaks pulls is returned only where it came twice and the whole blob is served; where
        that is not, its own error is raised. VerificationFailed where the blob ends before the ranges do.
        """
        answer = self._two_ranges(digest, first, second)
        if answer.kind is not TwoRanges.BREAKS_PULLS:
            return answer
        again = self._two_ranges(digest, first, second)
        if again.kind is not TwoRanges.BREAKS_PULLS:
            return again
        self._expect_blob(digest, max(first.last, second.last))
        if again != answer:
            raise Unavailable(
                f"the registry answers the same request for two ranges of {self.repository}@{digest} "
                f"with {answer.detail}, then with {again.detail}",
                temporary=True,
            )
        return answer

    @_retried
    def stat_blob(self, digest: Digest) -> int | None:
        """The size of a blob, if the registry says it. Raises NotFound unless the repository has it."""
        return self._stat_blob(digest)

    @_retried
    def put_blob(self, content: bytes) -> None:
        """Push a blob, its bytes in one request, where it is not there yet."""
        digest = Digest.of(content)
        with suppress(NotFound):
            self._stat_blob(digest)
            return
        target = self._begin_upload().copy_merge_params({"digest": str(digest)})
        with self._upload("PUT", target, content):
            self.expect(digest)

    @_retried
    def check_push(self) -> None:
        """Raise Refused unless these credentials may push, before any work is done.

        There is no request that only asks, so an upload is begun and given up.
        """
        self._give_up_upload(self._begin_upload())

    def try_upload(self) -> None:
        """Send a byte as skopeo sends layers, and give the upload up.

        Not tried again: that it fails once tells how the registry is. Raises Unavailable, which is temporary,
        if it forgets the upload. That it does not take a single byte tells nothing: some want larger pieces.
        """
        location = self._begin_upload()
        try:
            with self._upload("PATCH", location, b"\0") as response:
                location = response.url.join(response.headers.get("Location", str(location)))
        except RecompressError as error:
            if isinstance(error, Refused) or error.temporary:
                raise
            log.debug("the registry refuses an upload of one byte: %s", error)
        self._give_up_upload(location)

    # Requests

    def _manifest(self, selector: str | Digest) -> Served:
        with self._send("GET", f"manifests/{selector}", headers={"Accept": _ACCEPT}) as response:
            return self._served(response, selector)

    def _find_manifest(self, selector: str | Digest) -> Served | None:
        url = httpx.URL(self._url(f"manifests/{selector}"))
        with self._exchange("GET", url, headers={"Accept": _ACCEPT}) as response:
            if response.status_code == 404 and response.url == url:
                return None
            if response.status_code >= 400:
                raise answer_error("GET", response, self.repository)
            return self._served(response, selector)

    def _served(self, response: httpx.Response, selector: str | Digest) -> Served:
        content = bodies.whole(response, MAX_MANIFEST_BYTES)
        if isinstance(selector, Digest):
            bodies.compare(content, selector, f"the manifest {self.repository}@{selector}")
        return Served(content, response.headers.get("Content-Type", ""))

    def _whole(self, descriptor: Descriptor, kind: str) -> bytes:
        with self._send("GET", f"blobs/{descriptor.digest}") as response:
            content = bodies.whole(response, descriptor.size)
        what = f"{kind} {self.repository}@{descriptor.digest}"
        bodies.compare(content, descriptor.digest, what)
        if len(content) != descriptor.size:
            raise VerificationFailed(
                f"{what} has {counted(len(content), 'byte')}, and its descriptor says {descriptor.size}"
            )
        return content

    def _give_up_upload(self, location: httpx.URL) -> None:
        try:
            with self._send("DELETE", location):
                pass
        except RecompressError as error:
            # Some registries want a permission of its own for this; they drop old uploads anyway.
            log.debug("the upload that only asked for permission could not be cancelled: %s", error)

    def _two_ranges(self, digest: Digest, first: ByteRange, second: ByteRange) -> TwoRangesAnswer:
        headers = {"Range": f"bytes={first},{second}"}
        with self._exchange("GET", f"blobs/{digest}", headers=headers) as response:
            if response.status_code in (401, 404) or is_temporary(response.status_code):
                raise self._error("GET", response)
            return read_answer(response, first, second)

    def _expect_blob(self, digest: Digest, last: int) -> None:
        """Raise unless the blob is served, with a byte at the offset `last`."""
        # A HEAD is not enough: the registry may have signed a URL in its storage for GET alone.
        with self._send("GET", f"blobs/{digest}") as response:
            next(bodies.stream(response), None)
            size = bodies.size(response)
            if size is not None and size <= last:
                raise VerificationFailed(f"the blob {digest} is shorter than its descriptor says")

    def _stat_blob(self, digest: Digest) -> int | None:
        with self._exchange("HEAD", f"blobs/{digest}") as response:
            status = response.status_code
            if status < 400:
                return bodies.size(response)
            is_redirected = any(earlier.has_redirect_location for earlier in response.history)
            if (status == 404 or is_temporary(status)) and not is_redirected:
                raise self._error("HEAD", response)
        # HEAD is only a cheap question. A storage may have a URL that is signed for GET alone, and what an
        # error means, such as a rate limit, can be in its body.
        with self._send("GET", f"blobs/{digest}") as response:
            return bodies.size(response)

    def _begin_upload(self) -> httpx.URL:
        """Where the registry wants the bytes of a new upload."""
        with self._send("POST", "blobs/uploads/") as response:
            return response.url.join(response.headers.get("Location", ""))

    @contextmanager
    def _upload(self, method: str, location: httpx.URL, content: bytes) -> Iterator[httpx.Response]:
        try:
            headers = {"Content-Type": "application/octet-stream"}
            with self._send(method, location, content=content, headers=headers) as response:
                yield response
        except NotFound as error:
            # The registry forgot the upload; a new one is as good.
            raise Unavailable(str(error), temporary=True) from None
