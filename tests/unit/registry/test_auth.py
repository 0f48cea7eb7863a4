from __future__ import annotations

import base64
import json
import logging
import time
import tracemalloc
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs

import httpx
import pytest

from recompress.errors import NotFound, Refused, Unavailable
from recompress.reference import Digest, Repository
from recompress.registry.auth import RegistryAuth, scopes_for
from recompress.registry.client import RepositoryClient
from recompress.registry.credentials import Credentials
from recompress.registry.served import Served
from recompress.registry.transport import Tls
from tests.http_server import Answer, HttpServer, Request, serving

ME = Credentials("me", "se:cret")
BASIC = "Basic " + base64.b64encode(b"me:se:cret").decode()


CHALLENGE = 'Bearer realm="HERE",service="the registry",scope="repository:app:pull"'


class TokenRegistry:
    """A registry that takes bearer tokens, and its token server at /token."""

    def __init__(self) -> None:
        self.given = 0
        self.answer: dict[str, object] = {"expires_in": 3600}
        self.refused_tokens: set[str] = set()
        self.token_status = 200
        self.challenge = CHALLENGE

    def __call__(self, request: Request) -> Answer:
        if request.path == "/token":
            self.given += 1
            body = {"token": f"t{self.given}"} | self.answer
            return Answer(self.token_status, json.dumps(body).encode())
        token = request.headers.get("authorization", "")
        if token.startswith("Bearer t") and token not in self.refused_tokens:
            return Answer(200, b"{}")
        challenge = self.challenge.replace("HERE", f"http://{request.headers['host']}/token")
        return Answer(401, headers={"WWW-Authenticate": challenge})


@pytest.fixture
def tokens() -> TokenRegistry:
    return TokenRegistry()


@pytest.fixture
def server(tokens: TokenRegistry) -> Iterator[HttpServer]:
    with serving(tokens) as running:
        yield running


Connect = Callable[..., RepositoryClient]


@pytest.fixture
def connect() -> Iterator[Connect]:
    opened: list[RepositoryClient] = []

    def make(server: HttpServer, credentials: Credentials, attempts: int = 1) -> RepositoryClient:
        repository = Repository(server.host, "app")
        opened.append(RepositoryClient(repository, credentials, Tls(verify=False), attempts))
        return opened[-1]

    yield make
    for client in opened:
        client.__exit__()


def basic_registry(request: Request) -> Answer:
    if request.headers.get("authorization") == BASIC:
        return Answer(200, b"{}")
    return Answer(401, headers={"WWW-Authenticate": 'Basic realm="r"'})


def test_nothing_is_shown_to_a_registry_that_does_not_ask(connect: Connect) -> None:
    with serving(lambda _: Answer(200, b"{}")) as server:
        connect(server, ME).manifest("1")
        assert all("authorization" not in request.headers for request in server.requests)


def test_a_basic_challenge_is_answered_once_and_remembered(connect: Connect) -> None:
    with serving(basic_registry) as server:
        client = connect(server, ME)
        client.manifest("1")
        client.manifest("2")
        asked = [request.headers.get("authorization") for request in server.asked("GET", "/manifests/")]
    assert asked == [None, BASIC, BASIC]


@pytest.mark.parametrize("credentials", [Credentials(), Credentials("me", "wrong")])
def test_wrong_or_no_basic_credentials_are_refused_and_not_told(
    connect: Connect, credentials: Credentials
) -> None:
    with serving(basic_registry) as server, pytest.raises(Refused, match="check the credentials") as refused:
        connect(server, credentials).manifest("1")
    assert "wrong" not in str(refused.value)


def test_a_token_is_asked_for_with_basic_credentials_and_the_scope_of_the_request(
    server: HttpServer, connect: Connect
) -> None:
    connect(server, ME).manifest("1")
    asked = server.asked("GET", "/token")
    assert [request.headers.get("authorization") for request in asked] == [BASIC]
    assert parse_qs(asked[0].target.partition("?")[2]) == {
        "account": ["me"],
        "service": ["the registry"],
        "scope": ["repository:app:pull"],
    }


@pytest.mark.parametrize(
    "challenge",
    [
        f'Negotiate, {CHALLENGE}, Basic realm="r"',
        f"Negotiate YWJj==, {CHALLENGE}",
        CHALLENGE.replace('service="the registry"', r'service = "the \registry"'),
        CHALLENGE.replace('realm="HERE"', "realm=HERE").replace("Bearer", "BEARER"),
    ],
)
def test_the_first_challenge_that_can_be_answered_is(
    server: HttpServer, tokens: TokenRegistry, connect: Connect, challenge: str
) -> None:
    tokens.challenge = challenge
    connect(server, ME).manifest("1")
    (asked,) = server.asked("GET", "/token")
    assert parse_qs(asked.target.partition("?")[2])["service"] == ["the registry"]


def test_a_scope_that_only_the_registry_knows_of_is_asked_for_as_well(
    server: HttpServer, tokens: TokenRegistry, connect: Connect
) -> None:
    tokens.challenge = CHALLENGE.replace('app:pull"', 'app:delete special:x:pull",error="insufficient_scope"')
    connect(server, ME).manifest("1")
    (asked,) = server.asked("GET", "/token")
    scopes = ["repository:app:pull", "repository:app:delete", "special:x:pull"]
    assert parse_qs(asked.target.partition("?")[2])["scope"] == scopes


@pytest.mark.parametrize("wanted", ["delete", "pull,push", "*"])
def test_for_a_deletion_the_scope_is_asked_for_that_the_registry_names(
    server: HttpServer, tokens: TokenRegistry, connect: Connect, wanted: str
) -> None:
    # CNCF Distribution wants the right to delete; Quay that to push, and refuses a scope with "delete" in it.
    tokens.challenge = CHALLENGE.replace('app:pull"', f'app:{wanted}"')
    connect(server, ME).delete_tag("1")
    (asked,) = server.asked("GET", "/token")
    scopes = dict.fromkeys(["repository:app:pull,push", f"repository:app:{wanted}"])
    assert parse_qs(asked.target.partition("?")[2])["scope"] == list(scopes)


@pytest.mark.parametrize(
    "realm",
    [
        "http://h:port/", "/token", "file:///etc/passwd", "http://\x01/",
        f"http://{'a' * 64}.example/", "http://xn--a.example/",
    ],
)  # fmt: skip
def test_a_token_server_at_no_address_is_told_and_not_tried_again(
    server: HttpServer, tokens: TokenRegistry, connect: Connect, realm: str, waits: list[float]
) -> None:
    tokens.challenge = CHALLENGE.replace("HERE", realm)
    with pytest.raises(Unavailable):
        connect(server, ME, attempts=3).manifest("1")
    assert waits == []


def test_a_token_server_that_is_down_is_tried_again_and_then_named(
    server: HttpServer, tokens: TokenRegistry, connect: Connect, waits: list[float]
) -> None:
    with serving(tokens) as down:
        tokens.challenge = CHALLENGE.replace("HERE", f"http://{down.host}/token")
    with pytest.raises(Unavailable, match=f"did not answer.*GET http://{down.host}/token"):
        connect(server, ME, attempts=3).manifest("1")
    assert len(waits) == 2


def test_a_token_without_end_is_not_read_to_its_end(
    server: HttpServer, tokens: TokenRegistry, connect: Connect
) -> None:
    tokens.answer = {"token": "t" * 2_000_000}
    with pytest.raises(Refused, match="returned no token"):
        connect(server, ME).manifest("1")


def test_a_challenge_without_end_is_not_read_to_its_end(connect: Connect) -> None:
    challenge = Answer(401, b"x" * 50_000_000, {"WWW-Authenticate": 'Basic realm="r"'})

    def endless(request: Request) -> Answer:
        return basic_registry(request) if request.headers.get("authorization") else challenge

    tracemalloc.start()
    with serving(endless) as server:
        tracemalloc.clear_traces()
        connect(server, ME).manifest("1")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10_000_000


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(
    ("host", "url", "is_the_registry"),
    [
        ("quay.io", "https://quay.io/v2/", "always"),
        ("quay.io", "https://quay.io:443/v2/", "always"),
        ("QUAY.io:443", "https://quay.io/v2/", "always"),
        ("quay.io:80", "http://quay.io/v2/", "without verification"),
        ("quay.io", "http://quay.io/v2/", "without verification"),
        ("quay.io:5000", "http://quay.io:5000/v2/", "without verification"),
        ("quay.io", "https://quay.io:5000/v2/", "never"),
        ("quay.io", "https://cdn.quay.io/v2/", "never"),
        ("quay.io:5000", "https://quay.io/v2/", "never"),
    ],
)
def test_credentials_are_shown_to_the_registry_alone_and_in_the_clear_only_where_that_is_allowed(
    host: str, url: str, is_the_registry: str, verify: bool
) -> None:
    auth = RegistryAuth(ME, host, ("https",) if verify else ("https", "http"))
    flow = auth.sync_auth_flow(httpx.Request("GET", url))
    answer = httpx.Response(
        401, headers={"WWW-Authenticate": 'Basic realm="r"'}, request=httpx.Request("GET", url)
    )
    next(flow)
    shown = is_the_registry == "always" or (is_the_registry == "without verification" and not verify)
    if shown:
        assert flow.send(answer).headers["Authorization"] == BASIC
    else:
        with pytest.raises(StopIteration):
            flow.send(answer)


def test_an_anonymous_token_is_asked_for_without_credentials(server: HttpServer, connect: Connect) -> None:
    connect(server, Credentials()).manifest("1")
    assert "authorization" not in server.asked("GET", "/token")[0].headers


def test_a_token_is_kept_for_later_requests_of_the_same_scope(server: HttpServer, connect: Connect) -> None:
    client = connect(server, ME)
    client.manifest("1")
    client.stat_blob(Digest.of(b""))
    assert len(server.asked("GET", "/token")) == 1
    client.put_manifest("1", Served(b"{}", "application/json"))
    scopes = [parse_qs(request.target)["scope"] for request in server.asked("GET", "/token")]
    assert scopes == [["repository:app:pull"], ["repository:app:pull,push"]]


def test_a_new_token_is_asked_for_shortly_before_the_old_one_expires(
    server: HttpServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.monotonic()
    monkeypatch.setattr("recompress.registry.auth.time.monotonic", lambda: now)
    client = connect(server, ME)
    client.manifest("1")
    now += 2800
    client.manifest("1")
    assert len(server.asked("GET", "/token")) == 1
    now += 300
    client.manifest("1")
    assert len(server.asked("GET", "/token")) == 2


def test_a_token_that_the_registry_no_longer_takes_is_replaced(
    server: HttpServer, tokens: TokenRegistry, connect: Connect
) -> None:
    client = connect(server, ME)
    client.manifest("1")
    tokens.refused_tokens.add("Bearer t1")
    client.manifest("1")
    assert len(server.asked("GET", "/token")) == 2


def test_an_access_token_is_as_good_as_a_token(
    server: HttpServer, tokens: TokenRegistry, connect: Connect
) -> None:
    tokens.answer = {"token": None, "access_token": "t9"}
    connect(server, ME).manifest("1")
    assert server.requests[-1].headers["authorization"] == "Bearer t9"


def test_an_identity_token_is_exchanged_by_post(server: HttpServer, connect: Connect) -> None:
    connect(server, Credentials(identity_token="refresh")).manifest("1")
    form = parse_qs(server.asked("POST", "/token")[0].body.decode())
    assert form["grant_type"] == ["refresh_token"]
    assert form["refresh_token"] == ["refresh"]
    assert form["scope"] == ["repository:app:pull"]


@pytest.mark.parametrize(
    ("status", "error"), [(401, Refused), (403, Refused), (404, NotFound), (503, Unavailable)]
)
def test_what_the_token_server_answers_is_what_went_wrong(
    server: HttpServer, tokens: TokenRegistry, connect: Connect, status: int, error: type[Exception]
) -> None:
    tokens.token_status = status
    with pytest.raises(error, match=f"/token: {status}"):
        connect(server, ME).manifest("1")


@pytest.mark.parametrize("status", [200, 201, 204])
@pytest.mark.parametrize("answer", [{"token": None}, {"token": 7}, {"token": ""}, {"expires_in": "soon"}])
def test_an_answer_without_a_token_is_never_taken_for_the_registrys(
    server: HttpServer, tokens: TokenRegistry, connect: Connect, status: int, answer: dict[str, object]
) -> None:
    tokens.token_status, tokens.answer = status, answer
    with pytest.raises(Refused, match="returned no token"):
        connect(server, ME).put_manifest("1", Served(b"{}", "application/json"))


@pytest.mark.parametrize("token", ["t1\n", "t1\r\nHost: other", "t 1", "t1\0", "t\xe9"])
def test_a_token_that_no_header_can_hold_is_refused_at_once_and_not_told(
    server: HttpServer, tokens: TokenRegistry, connect: Connect, token: str, waits: list[float]
) -> None:
    tokens.answer = {"token": token}
    with pytest.raises(Refused, match="returned a token that cannot be sent") as refused:
        connect(server, ME, attempts=3).manifest("1")
    assert "t1" not in str(refused.value).replace(server.host, "")
    assert waits == []


@pytest.mark.parametrize(
    "answer", ['{"token":' * 100_000, '{"token": "t1", "expires_in": 1%s}' % ("0" * 400)]
)
def test_an_answer_that_python_cannot_read_has_no_token(connect: Connect, answer: str) -> None:
    def registry(request: Request) -> Answer:
        if request.path == "/token":
            return Answer(200, answer.encode())
        return Answer(
            401, headers={"WWW-Authenticate": f'Bearer realm="http://{request.headers["host"]}/token"'}
        )

    with serving(registry) as server, pytest.raises(Refused, match="returned no token"):
        connect(server, ME).manifest("1")


@pytest.mark.parametrize("challenge", ["", "Negotiate", "Bearer", 'Bearer service="x"', "Digest x"])
def test_a_challenge_that_cannot_be_answered_is_a_refusal(connect: Connect, challenge: str) -> None:
    with serving(lambda _: Answer(401, headers={"WWW-Authenticate": challenge})) as server:
        with pytest.raises(Refused):
            connect(server, ME).manifest("1")


@pytest.mark.parametrize(
    "challenge", ['Basic realm="give me your password"', 'Bearer realm="http://{host}/token",service="x"']
)
def test_credentials_are_never_shown_to_where_a_registry_redirects(connect: Connect, challenge: str) -> None:
    def storage(request: Request) -> Answer:
        asked = challenge.format(host=request.headers["host"])
        return Answer(401, headers={"WWW-Authenticate": asked})

    with serving(storage) as other:

        def redirecting(_: Request) -> Answer:
            return Answer(307, headers={"Location": f"http://{other.host}/blob"})

        with serving(redirecting) as server:
            with pytest.raises(Refused):
                connect(server, ME).manifest("1")
        assert len(other.requests) == 1
        assert "authorization" not in other.requests[0].headers


def test_credentials_are_never_shown_to_where_an_upload_is_sent(connect: Connect) -> None:
    with serving(lambda _: Answer(201)) as other:

        def handler(request: Request) -> Answer:
            if (answer := basic_registry(request)).status != 200:
                return answer
            if request.method == "HEAD":
                return Answer(404)
            return Answer(202, headers={"Location": f"http://{other.host}/upload?signed=1"})

        with serving(handler) as server:
            connect(server, ME).put_blob(b"config")
        assert [request.body for request in other.requests] == [b"config"]
        assert "authorization" not in other.requests[0].headers


def test_neither_password_nor_token_is_in_a_log_or_an_error(
    server: HttpServer, tokens: TokenRegistry, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        client = connect(server, Credentials("me", "hunter2"))
        client.manifest("1")
        tokens.token_status = 401
        tokens.refused_tokens.add("Bearer t1")
        with pytest.raises(Refused) as refused:
            client.manifest("1")
    told = caplog.text + str(refused.value)
    assert "hunter2" not in told
    assert base64.b64encode(b"me:hunter2").decode() not in told
    assert "Bearer t1" not in told


@pytest.mark.parametrize(
    ("method", "target", "scopes"),
    [
        ("GET", "/v2/a/b/manifests/1", ("repository:a/b:pull",)),
        ("HEAD", "/v2/app/blobs/sha256:x", ("repository:app:pull",)),
        ("PUT", "/v2/app/manifests/1", ("repository:app:pull,push",)),
        ("POST", "/v2/app/blobs/uploads/", ("repository:app:pull,push",)),
        ("GET", "/v2/app/referrers/sha256:x", ("repository:app:pull",)),
        (
            "POST",
            "/v2/app/blobs/uploads/?mount=x&from=other",
            ("repository:app:pull,push", "repository:other:pull"),
        ),
        ("GET", "/v2/", ()),
        ("GET", "/storage/x", ()),
    ],
)
def test_a_request_needs_no_more_than_it_does(method: str, target: str, scopes: tuple[str, ...]) -> None:
    assert scopes_for(httpx.Request(method, f"https://quay.io{target}")) == scopes


@pytest.mark.parametrize("component", ["manifests", "blobs", "tags", "referrers", "uploads", "list"])
@pytest.mark.parametrize(
    "rest", ["manifests/1", "manifests/sha256:12", "blobs/sha256:12", "blobs/uploads/", "blobs/uploads/a",
             "blobs/uploads/a/b", "tags/list", "referrers/sha256:12"],
)  # fmt: skip
def test_the_scope_is_that_of_the_whole_name_whatever_is_in_it(component: str, rest: str) -> None:
    for name in (f"a/{component}", f"a/{component}/b", component, f"blobs/{component}/a"):
        request = httpx.Request("GET", f"https://quay.io/v2/{name}/{rest}")
        assert scopes_for(request) == (f"repository:{name}:pull",)


def test_a_token_that_is_refused_once_is_taken_for_another_and_not_for_a_third(
    server: HttpServer, tokens: TokenRegistry, connect: Connect, waits: list[float]
) -> None:
    # Registries do so for a moment while they make a new repository.
    client = connect(server, ME, attempts=5)
    tokens.refused_tokens = {"Bearer t1"}
    client.manifest("1")
    assert tokens.given == 2
    assert len(waits) == 1
    tokens.refused_tokens = {f"Bearer t{number}" for number in range(10)}
    with pytest.raises(Refused):
        client.manifest("1")
    # The one that was kept, and one for each try.
    assert tokens.given == 4
    assert len(waits) == 2


def test_a_password_that_is_refused_is_not_tried_again(connect: Connect, waits: list[float]) -> None:
    challenge = Answer(401, headers={"WWW-Authenticate": "Basic realm=x"})
    with serving(lambda _: challenge) as server:
        with pytest.raises(Refused):
            connect(server, ME, attempts=5).manifest("1")
        assert len(server.asked("GET", "/manifests/")) == 2
    assert waits == []
