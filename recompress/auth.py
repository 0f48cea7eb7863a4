"""How a request to a registry is authenticated: Basic, Bearer token, or not at all.

The flow is that of the distribution specification's token authentication
(distribution.github.io, spec/auth/token and spec/auth/oauth).
"""

from __future__ import annotations

import base64
import re
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass

import httpx

from recompress.credentials import Credentials
from recompress.errors import Refused

_PARAMETER = re.compile(r'([a-zA-Z_]+)="([^"]*)"')
_REPOSITORY_IN_PATH = re.compile(r"^/v2/(.+?)/(?:manifests|blobs|tags|referrers)/")
_DEFAULT_TOKEN_SECONDS = 60
"""The specification: a token without expires_in is valid for 60 seconds."""


@dataclass(frozen=True, slots=True)
class _Token:
    authorization: str
    expires: float


class RegistryAuth(httpx.Auth):
    """Answers a registry's challenges with the credentials for one repository.

    The body of an answer is not read here unless it is a token: it may be a layer of gigabytes.

    Tokens are kept per scope until shortly before they expire, and asked for again then, so a
    run may be longer than a token lives. May be used from several threads.
    """

    def __init__(self, credentials: Credentials, host: str) -> None:
        self._credentials = credentials
        self._netloc = httpx.URL(f"https://{host}").netloc
        self._tokens: dict[tuple[str, ...], _Token] = {}
        self._lock = threading.Lock()

    def sync_auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Send with what is known; when challenged, get what is asked for and send once more."""
        if request.url.netloc != self._netloc:
            # An upload's Location can be object storage, signed by the registry.
            yield request
            return
        scopes = scopes_for(request)
        if token := self._known(scopes):
            request.headers["Authorization"] = token.authorization
        response = yield request
        # A redirect can lead to object storage, whose challenges are none of the registry's:
        # answering them would hand the registry's credentials to somebody else.
        if response.status_code != httpx.codes.UNAUTHORIZED or response.url.netloc != self._netloc:
            return
        scheme, parameters = _challenge(response)
        if scheme == "basic" and self._credentials.username:
            pair = f"{self._credentials.username}:{self._credentials.password}".encode()
            self._keep(scopes, _Token(f"Basic {base64.b64encode(pair).decode()}", float("inf")))
        elif scheme == "bearer" and "realm" in parameters:
            answer = yield self._token_request(parameters, scopes)
            if answer.is_error:
                return
            answer.read()
            self._keep(scopes, _token_from(answer))
        else:
            return
        request.headers["Authorization"] = self._tokens[scopes].authorization
        yield request

    def _known(self, scopes: tuple[str, ...]) -> _Token | None:
        with self._lock:
            token = self._tokens.get(scopes)
        return token if token and token.expires > time.monotonic() else None

    def _keep(self, scopes: tuple[str, ...], token: _Token) -> None:
        with self._lock:
            self._tokens[scopes] = token

    def _token_request(self, challenge: dict[str, str], scopes: tuple[str, ...]) -> httpx.Request:
        asked = scopes or tuple(challenge.get("scope", "").split())
        service = challenge.get("service", "")
        if self._credentials.identity_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": self._credentials.identity_token,
                "service": service,
                "client_id": "recompress",
                "scope": " ".join(asked),
            }
            return httpx.Request("POST", challenge["realm"], data=form)
        parameters = httpx.QueryParams([("service", service), *(("scope", scope) for scope in asked)])
        headers = {}
        if self._credentials.username:
            pair = f"{self._credentials.username}:{self._credentials.password}".encode()
            headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
        url = httpx.URL(challenge["realm"]).copy_merge_params(parameters)
        return httpx.Request("GET", url, headers=headers)


def scopes_for(request: httpx.Request) -> tuple[str, ...]:
    """The scopes that a request needs: pull, or pull and push, and pull of a mount's origin."""
    path = _REPOSITORY_IN_PATH.match(request.url.path)
    if not path:
        return ()
    actions = "pull" if request.method in ("GET", "HEAD") else "pull,push"
    scopes = [f"repository:{path[1]}:{actions}"]
    if origin := request.url.params.get("from"):
        scopes.append(f"repository:{origin}:pull")
    return tuple(scopes)


def _challenge(response: httpx.Response) -> tuple[str, dict[str, str]]:
    header = response.headers.get("WWW-Authenticate", "")
    scheme, _, parameters = header.partition(" ")
    return scheme.lower(), {name.lower(): value for name, value in _PARAMETER.findall(parameters)}


def _token_from(response: httpx.Response) -> _Token:
    try:
        document = response.json()
        text = document.get("token") or document.get("access_token")
        seconds = float(document.get("expires_in") or _DEFAULT_TOKEN_SECONDS)
    except (ValueError, TypeError, AttributeError):
        text = None
    if not isinstance(text, str) or not text:
        raise Refused(f"the token server {response.url.host} gave an answer without a token")
    return _Token(f"Bearer {text}", time.monotonic() + max(seconds, _DEFAULT_TOKEN_SECONDS) * 0.8)
