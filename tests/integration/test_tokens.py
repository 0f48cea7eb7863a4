"""Registries that want bearer tokens: a real token server, and Distribution that checks what it signs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from recompress.reference import Repository
from recompress.registry.client import RepositoryClient
from recompress.registry.credentials import Credentials
from recompress.registry.transport import Tls
from tests import images
from tests.images import HandmadeImage
from tests.integration.command import Outcome, recompress
from tests.integration.registries import Account, Registry
from tests.integration.token_server import TokenServer, User
from tests.integration.twins import assert_twin

IMAGE = images.gzip_image({"a": b"a" * 1000}, {"b": b"b" * 1000})
ALL = "pull,push,delete"
WRITER = User(Account("writer", "writers-password"), {"tests/": ALL}, "writers-identity-token")
READER = User(Account("reader", "readers-password"), {"tests/": "pull"})


@pytest.fixture(autouse=True)
def accounts(tokens: TokenServer, door: Registry) -> None:
    tokens.users = [WRITER, READER]
    tokens.anonymous = {}
    tokens.seconds = 300
    tokens.server.requests.clear()


Run = Callable[..., Outcome]
Push = Callable[[HandmadeImage], str]
Entry = Mapping[str, str]


@pytest.fixture
def run(door: Registry, repository: str, push: Push, results: Path, tmp_path: Path) -> Run:
    """Runs with an auth file of these entries: by repository, "" for the registry."""

    def call(auths: Mapping[str, Entry], *arguments: str) -> Outcome:
        push(IMAGE)
        file = tmp_path / "auth.json"
        keys = {f"{door.host}/{name}".rstrip("/"): entry for name, entry in auths.items()}
        file.write_text(json.dumps({"auths": keys}))
        image = f"{door.host}/{repository}@{IMAGE.digest}"
        fixed = ("--no-tls-verify", f"--authfile={file}", "--output=json", "--debug")
        return recompress("run", image, *fixed, *arguments, results=results)

    return call


def basic(user: User) -> Entry:
    return {"auth": user.account.auth}


def test_with_a_password_the_twin_is_made(
    run: Run, door: Registry, registry: Registry, repository: str
) -> None:
    outcome = run({"": basic(WRITER)}).succeeded()
    by_the_open_door = {
        name: value.replace(door.host, registry.host) for name, value in outcome.results.items()
    }
    assert_twin(registry, repository, IMAGE.digest, by_the_open_door)


@pytest.mark.parametrize("repository", ["tests/blobs/manifests/x", "tests/tags"])
def test_a_repository_may_be_called_as_an_endpoint_is(run: Run, repository: str) -> None:
    run({"": basic(WRITER)}).succeeded()


def test_with_an_identity_token_the_twin_is_made_and_no_password_is_asked_for(
    run: Run, tokens: TokenServer
) -> None:
    run({"": {"auth": "Og==", "identitytoken": WRITER.identity_token}}).succeeded()
    assert {request.method for request in tokens.server.requests} == {"POST"}


def test_nobody_asks_for_more_rights_than_the_source_and_the_destination_need(
    run: Run, tokens: TokenServer, repository: str
) -> None:
    run({"": basic(WRITER)}, "--no-reuse").succeeded()
    scopes = {s for r in tokens.server.requests for s in parse_qs(r.target.partition("?")[2])["scope"]}
    # Distribution wants "delete" where an upload is given up.
    assert scopes <= {f"repository:{repository}:{actions}" for actions in ("pull", "pull,push", "delete")}


def test_who_may_only_read_is_refused_before_anything_is_compressed(
    run: Run, registry: Registry, repository: str
) -> None:
    outcome = run({"": basic(READER)})
    assert outcome.code == 3
    assert f"/{repository}: check the credentials for it" in outcome.error
    assert "recompressing" not in outcome.err
    assert "running skopeo" not in outcome.err
    assert registry.tags(repository) == []


def test_who_is_not_known_is_refused_by_the_token_server(run: Run, tokens: TokenServer) -> None:
    outcome = run({"": {"auth": Account("nobody", "nobodys-password").auth}})
    assert outcome.code == 3
    assert f"http://{tokens.server.host}/token: 401 UNAUTHORIZED who is that?" in outcome.error


def test_a_public_source_is_read_by_anybody_and_written_by_nobody(
    run: Run, tokens: TokenServer, door: Registry, repository: str
) -> None:
    tokens.anonymous = {repository: "pull"}
    outcome = run({})
    assert outcome.code == 3
    assert "POST" in outcome.error


def test_a_public_source_needs_an_account_for_the_destination_alone(
    run: Run, tokens: TokenServer, door: Registry, registry: Registry, repository: str
) -> None:
    tokens.anonymous = {repository: "pull"}
    to = f"{repository}-to"
    run({to: basic(WRITER)}, f"--to={door.host}/{to}:1").succeeded()
    assert registry.tags(to) == ["1", "zstd-chunked-cache-linux-amd64"]


def test_source_and_destination_in_one_registry_each_have_their_own_account(
    run: Run, tokens: TokenServer, door: Registry, registry: Registry, repository: str
) -> None:
    to = f"{repository}-to"
    mine = User(Account("mine", "writers-password"), {repository: "pull"})
    theirs = User(Account("theirs", "readers-password"), {to: ALL})
    # Each is of no use at the other's: nothing can be mounted, so all is uploaded.
    tokens.users = [mine, theirs]
    run({repository: basic(mine), to: basic(theirs)}, f"--to={door.host}/{to}:1").succeeded()
    assert "1" in registry.tags(to)


def test_layers_of_another_repository_are_mounted_with_its_scope(
    run: Run, tokens: TokenServer, door: Registry, repository: str
) -> None:
    first = run({"": basic(WRITER)}).succeeded()
    tokens.server.requests.clear()
    to = f"{repository}-to"
    reuse = f"--reuse-from={first.results['IMAGE_REF']}"
    second = run({"": basic(WRITER)}, f"--to={door.host}/{to}:1", reuse).succeeded()
    assert [layer["action"] for layer in second.report["layers"]] == ["reused", "reused"]
    asked = [parse_qs(r.target.partition("?")[2])["scope"] for r in tokens.server.requests]
    assert [f"repository:{to}:pull,push", f"repository:{repository}:pull"] in asked


def test_layers_of_a_repository_that_may_not_be_read_are_compressed_afresh_with_a_warning(
    run: Run, tokens: TokenServer, door: Registry, registry: Registry, repository: str
) -> None:
    secret = f"secret/{repository}"
    registry.push(secret, IMAGE)
    outcome = run({"": basic(WRITER)}, f"--reuse-from={door.host}/{secret}@{IMAGE.digest}").succeeded()
    assert [layer["action"] for layer in outcome.report["layers"]] == ["compressed", "compressed"]
    assert any(f"no layers are reused from {door.host}/{secret}" in w for w in outcome.report["warnings"])


def test_a_token_that_the_registry_no_longer_takes_is_renewed(
    tokens: TokenServer, door: Registry, registry: Registry, repository: str
) -> None:
    registry.push(repository, IMAGE)
    tokens.seconds = 3
    account = Credentials(WRITER.account.username, WRITER.account.password)
    with RepositoryClient(Repository(door.host, repository), account, Tls(verify=False), 1) as client:
        client.manifest(IMAGE.digest)
        time.sleep(4)
        client.manifest(IMAGE.digest)
    assert len(tokens.server.requests) == 2
