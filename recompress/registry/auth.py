"""How a request to a registry is authenticated: Basic, Bearer token, or not at all.

The flow is that of the distribution specification's token authentication
(distribution.github.io, spec/auth/token and spec/auth/oauth).
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass

import httpx

from recompress.errors import Refused
from recompress.registry.credentials import Credentials
from recompress.registry.transport import Bounded, registry_url

_CHALLENGE_PART = re.compile(r'([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))|([\w-]+)')
_REPOSITORY_IN_PATH = re.compile(
    # The whole name, which may have a component `manifests` and the like, so the end of the path decides.
    r"/v2/(.+)/(?:manifests/[^/]+|blobs/uploads/.*|blobs/[^/]+|tags/list|referrers/[^/]+)"
)
_TOKEN = re.compile(r"[!-~]+")
_MAX_TOKEN_BYTES = 1024 * 1024
_PORTS = {"http": 80, "https": 443}
_DEFAULT_TOKEN_SECONDS = 60
"""The specification: a token without expires_in is valid for 60 seconds."""


@dataclass(frozen=True, slots=True)
class _Token:
    authorization: str
    expires: float


class RegistryAuth(httpx.Auth):
    """Answers a registry's challenges with the credentials for one repository.

    These are shown to the registry itself, over the schemes given, and to the token server that it
    names; nowhere else, wherever a redirect or an upload's Location leads.

    Tokens are kept per scope until shortly before they expire, and asked for again then, so a
    run may be longer than a token lives. May be used from several threads.

    The body of an answer is not read here unless it is a token: it may be a layer of gigabytes.
    Raises Refused for an answer of the token server that has no token, UsageError for a `host` that
    is not valid.
    """

    def __init__(self, credentials: Credentials, host: str, schemes: Iterable[str] = ("https",)) -> None:
        self._credentials = credentials
        self._places = {_place(registry_url(scheme, host)) for scheme in schemes}
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._lock = threading.Lock()

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send with what is known; when challenged, get what is asked for and send once more."""
        if _place(request.url) not in self._places:
            # An upload's Location can be object storage, signed by the registry.
            yield request
            return
        scopes = scopes_for(request)
        if token := self._known(scopes):
            request.headers["Authorization"] = token.authorization
        response = yield request
        # A redirect can lead to object storage, whose challenges are not the registry's:
        # answering them would hand the registry's credentials to somebody else.
        if response.status_code != httpx.codes.UNAUTHORIZED or _place(response.url) not in self._places:
            return
        for scheme, parameters in challenges(response):
            if scheme == "basic" and self._credentials.username:
                token = _Token(self._basic(), float("inf"))
            elif scheme == "bearer" and "realm" in parameters:
                # The registry may want more than is thought here, as for giving up an upload. For a
                # deletion some want the right to push, others one of its own.
                is_more = parameters.get("error") == "insufficient_scope" or request.method == "DELETE"
                answer = yield self._token_request(parameters, scopes, is_more)
                if not answer.is_success:
                    return
                token = _token_from(answer)
            else:
                continue
            self._keep(scopes, token)
            request.headers["Authorization"] = token.authorization
            response = yield request
            if response.status_code == httpx.codes.UNAUTHORIZED:
                # A second try is to have another one.
                self._forget(scopes)
            return

    def _basic(self) -> str:
        pair = f"{self._credentials.username}:{self._credentials.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def _known(self, scopes: tuple[str, ...]) -> _Token | None:
        with self._lock:
            token = self._tokens.get(scopes)
        return token if token and token.expires > time.monotonic() else None

    def _keep(self, scopes: tuple[str, ...], token: _Token) -> None:
        with self._lock:
            self._tokens[scopes] = token

    def _forget(self, scopes: tuple[str, ...]) -> None:
        with self._lock:
            self._tokens.pop(scopes, None)

    def _token_request(
        self, challenge: dict[str, str], scopes: tuple[str, ...], is_more: bool
    ) -> httpx.Request:
        wanted = challenge.get("scope", "").split()
        asked = dict.fromkeys((*scopes, *wanted)) if is_more else (scopes or wanted)
        service = {"service": challenge["service"]} if challenge.get("service") else {}
        if self._credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": self._credentials.identity_token,
                "client_id": "recompress",
                **service,
                "scope": " ".join(asked),
            }
            return httpx.Request("POST", challenge["realm"], data=form)
        account = {"account": self._credentials.username} if self._credentials.username else {}
        parameters = httpx.QueryParams(
            [*account.items(), *service.items(), *(("scope", scope) for scope in asked)]
        )
        headers = {"Authorization": self._basic()} if account else {}
        url = httpx.URL(challenge["realm"]).copy_merge_params(parameters)
        return httpx.Request("GET", url, headers=headers)


def scopes_for(request: httpx.Request) -> tuple[str, ...]:
    """The scopes that a request needs: pull, or pull and push, and pull of a mount's origin."""
    path = _REPOSITORY_IN_PATH.fullmatch(request.url.path)
    if not path:
        return ()
    actions = "pull" if request.method in ("GET", "HEAD") else "pull,push"
    scopes = [f"repository:{path[1]}:{actions}"]
    if origin := request.url.params.get("from"):
        scopes.append(f"repository:{origin}:pull")
    return tuple(scopes)


def challenges(response: httpx.Response) -> list[tuple[str, dict[str, str]]]:
    """The scheme and parameters of each challenge (RFC 9110, 11.6.1): one header can hold several."""
    found: list[tuple[str, dict[str, str]]] = []
    for header in response.headers.get_list("WWW-Authenticate"):
        for name, quoted, plain, scheme in _CHALLENGE_PART.findall(header):
            if scheme:
                found.append((scheme.lower(), {}))
            elif found:
                found[-1][1][name.lower()] = plain or re.sub(r"\\(.)", r"\1", quoted)
    return found


def _place(url: httpx.URL) -> tuple[str, bytes, int | None]:
    return url.scheme, url.raw_host, url.port or _PORTS.get(url.scheme)


def _token_from(response: httpx.Response) -> _Token:
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = Bounded(response.stream, _MAX_TOKEN_BYTES)
    try:
        response.read()
        document = response.json()
        text = document.get("token") or document.get("access_token")
        seconds = float(document.get("expires_in") or _DEFAULT_TOKEN_SECONDS)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        text = None
    if not isinstance(text, str) or not text:
        raise Refused(f"the token server {response.url.host} returned no token")
    if not _TOKEN.fullmatch(text):
        # Sent all the same, it would be refused below, by an error that shows it.
        raise Refused(
            f"the token server {response.url.host} returned a token that cannot be sent: it "
            "contains a character that no header can hold"
        )
    return _Token(f"Bearer {text}", time.monotonic() + max(seconds, _DEFAULT_TOKEN_SECONDS) * 0.8)
