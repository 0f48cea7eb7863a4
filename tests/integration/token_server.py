"""A token server as registries have it: accounts, rights by repository, real signed tokens."""

from __future__ import annotations

import base64
import itertools
import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs

from tests.http_server import Answer, HttpServer, Request
from tests.integration.registries import SECRETS, Account, Registry, running

SERVICE, ISSUER = "the tests' registry", "the tests' token server"
_LEEWAY_SECONDS = 60
"""Distribution takes a token for so long after its end."""

Rights = Mapping[str, str]
"""Actions, with commas between, by repository, or by a namespace with a slash at its end."""


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a password or with a token that stands for one."""

    account: Account
    rights: Rights
    identity_token: str = ""

    def __post_init__(self) -> None:
        SECRETS.update({self.identity_token} - {""})


@dataclass
class TokenServer:
    """Answers GET with Basic, anonymous GET, and POST with an identity token."""

    directory: Path
    users: list[User] = field(default_factory=list)
    anonymous: Rights = field(default_factory=dict)
    seconds: int = 300
    """How long a token is taken by the registry."""

    def __post_init__(self) -> None:
        self._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "token.key",
                      "-out", "token.crt", "-days", "2", "-subj", "/CN=tests tokens")  # fmt: skip
        pem = (self.directory / "token.crt").read_text()
        self._certificate = "".join(pem.split("-----")[2].split())
        self._numbers = itertools.count()
        self.server = HttpServer(self._answer)

    def _answer(self, request: Request) -> Answer:
        if request.method == "POST":
            form = parse_qs(request.body.decode())
            refresh = form["refresh_token"][0]
            user = next((u for u in self.users if u.identity_token == refresh), None)
        else:
            form = parse_qs(request.target.partition("?")[2])
            shown = request.headers.get("authorization")
            if shown is None:
                return self._token("", self.anonymous, form.get("scope", []))
            user = next((u for u in self.users if f"Basic {u.account.auth}" == shown), None)
        if user is None:
            return Answer(401, b'{"errors": [{"code": "UNAUTHORIZED", "message": "who is that?"}]}')
        return self._token(user.account.username, user.rights, form.get("scope", []))

    def _token(self, subject: str, rights: Rights, scopes: list[str]) -> Answer:
        wanted = [scope for several in scopes for scope in several.split()]
        access = [a for scope in wanted if (a := _granted(scope, rights))["actions"]]
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": SERVICE,
            "sub": subject,
            "exp": now + self.seconds - _LEEWAY_SECONDS,
            "nbf": now - 600,
            "iat": now - 600,
            "jti": str(next(self._numbers)),
            "access": access,
        }
        header = {"alg": "RS256", "typ": "JWT", "x5c": [self._certificate]}
        signed = f"{_base64(json.dumps(header).encode())}.{_base64(json.dumps(claims).encode())}"
        signature = self._openssl("dgst", "-sha256", "-sign", "token.key", given=signed.encode())
        SECRETS.add(_base64(signature))
        body = {"token": f"{signed}.{_base64(signature)}", "expires_in": 300}
        return Answer(200, json.dumps(body).encode())

    def _openssl(self, *arguments: str, given: bytes = b"") -> bytes:
        return subprocess.run(
            ["openssl", *arguments], check=True, capture_output=True, cwd=self.directory, input=given
        ).stdout


def _granted(scope: str, rights: Rights) -> dict[str, object]:
    kind, name, actions = scope.split(":")
    mine = [a for own, a in rights.items() if name == own or (own.endswith("/") and name.startswith(own))]
    allowed = {action for several in mine for action in several.split(",")}
    return {"type": kind, "name": name, "actions": sorted(allowed & set(actions.split(",")))}


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


@contextmanager
def token_registry(tokens: TokenServer, behind: Registry) -> Iterator[Registry]:
    """A door to the storage of an open registry where tokens of this server are wanted."""
    (tokens.directory / "token.crt").chmod(0o644)
    environment = {
        "REGISTRY_AUTH": "token",
        # The registry itself never asks there: its clients do, from where they are.
        "REGISTRY_AUTH_TOKEN_REALM": f"http://{tokens.server.host}/token",
        "REGISTRY_AUTH_TOKEN_SERVICE": SERVICE,
        "REGISTRY_AUTH_TOKEN_ISSUER": ISSUER,
        "REGISTRY_AUTH_TOKEN_ROOTCERTBUNDLE": "/tests/token.crt",
    }
    with tokens.server, running(environment, {tokens.directory: "/tests"}, storage_of=behind) as registry:
        yield registry
