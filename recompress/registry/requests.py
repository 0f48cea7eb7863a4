"""Requests to one repository of one registry, and what becomes of those that fail."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import httpx

from recompress.errors import NotFound, RecompressError, Unavailable, Vanished
from recompress.reference import Digest, Repository
from recompress.registry.auth import RegistryAuth
from recompress.registry.credentials import Credentials
from recompress.registry.transport import (
    Tls,
    answer_error,
    http_client,
    redacted,
    streamed,
    transport_error,
)

log = logging.getLogger(__name__)

_HOSTS = {"docker.io": "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}


class Requests:
    """Sends requests, each once, with the credentials for a repository.

    An answer with an error status is raised as what it means (transport.answer_error).
    """

    def __init__(self, repository: Repository, found: Credentials, tls: Tls, attempts: int) -> None:
        self.repository = repository
        self.attempts = attempts
        self._verify_tls = tls.verify
        self._host = _HOSTS.get(repository.registry, repository.registry)
        self._client = http_client(
            self._host, tls, RegistryAuth(found, self._host, ("https",) if tls.verify else ("https", "http"))
        )
        self._base: str | None = None
        self._expected: set[Digest] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def expect(self, *digests: Digest) -> None:
        """Say that the repository has these, for they were pushed or read before: a 404 is tried again.

        If it lasts it is Vanished. What is pushed by this client is expected anyway.
        """
        self._expected.update(digests)

    @contextmanager
    def _send(
        self,
        method: str,
        path: str | httpx.URL,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        with self._exchange(method, path, content, headers) as response:
            if response.status_code >= 400:
                raise self._error(method, response)
            yield response

    @contextmanager
    def _exchange(
        self,
        method: str,
        path: str | httpx.URL,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Iterator[httpx.Response]:
        """As `_send`, but an answer with an error status is an answer."""
        url = path if isinstance(path, httpx.URL) else self._url(path)
        try:
            with streamed(self._client, method, url, content, headers) as response:
                log.debug("%s %s: %d", method, redacted(response.url), response.status_code)
                yield response
        except httpx.InvalidURL as error:
            raise Unavailable(f"the registry {self._host} sent an invalid address: {error}") from None
        except httpx.LocalProtocolError as error:
            # Not even --debug shows what caused it.
            raise transport_error(error) from None
        except httpx.HTTPError as error:
            raise transport_error(error) from error

    def _error(self, method: str, response: httpx.Response) -> RecompressError:
        error = answer_error(method, response, self.repository)
        # What a redirect leads to can have another name. Challenges are in the history, too.
        asked = (response.history[0] if response.history else response).url.path
        if type(error) is NotFound and any(asked.endswith(f"/{digest}") for digest in self._expected):
            return Vanished(
                f"{error}, though it was there before: registries collect what has no tag", temporary=True
            )
        return error

    def _url(self, path: str) -> str:
        return f"{self._base_url()}/v2/{self.repository.path}/{path}"

    def _base_url(self) -> str:
        if self._base is None:
            is_plain = not self._verify_tls and not self._answers_https()
            # Once it is known: another thread may be about to use it.
            self._base = f"{'http' if is_plain else 'https'}://{self._host}"
        return self._base

    def _answers_https(self) -> bool:
        # containers/image does the same: without verification, HTTPS first, then plain HTTP.
        try:
            # The body is not read: it could have no end.
            with self._client.stream("GET", f"https://{self._host}/v2/", auth=None):
                return True
        except httpx.HTTPError:
            return False
