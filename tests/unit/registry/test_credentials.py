from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from recompress.errors import Refused, UsageError
from recompress.reference import Repository
from recompress.registry import credentials
from recompress.registry.credentials import Credentials

APP = Repository("quay.io", "org/app")


def auth(pair: str) -> dict[str, str]:
    return {"auth": base64.b64encode(pair.encode()).decode()}


def found(tmp_path: Path, document: Any, repository: Repository = APP) -> Credentials:
    file = tmp_path / "auth.json"
    file.write_text(json.dumps(document))
    return credentials.credentials_for(repository, (file,))


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place on PATH for the credential helper `mine`."""
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory / "docker-credential-mine"


def install(helper: Path, script: str) -> None:
    helper.write_text(f"#!/bin/sh\n{script}\n")
    helper.chmod(0o755)


@pytest.mark.parametrize("key", ["quay.io/org/app", "quay.io/org", "quay.io"])
def test_an_entry_for_the_repository_or_what_it_is_in_is_used(tmp_path: Path, key: str) -> None:
    assert found(tmp_path, {"auths": {key: auth("me:secret")}}) == Credentials("me", "secret")


@pytest.mark.parametrize("key", ["quay.io/org/ap", "quay.io/other", "quay.io:443", "example.com", "io", ""])
def test_an_entry_for_something_else_is_not_used(tmp_path: Path, key: str) -> None:
    assert found(tmp_path, {"auths": {key: auth("me:secret")}}).is_anonymous


def test_the_most_specific_entry_is_used(tmp_path: Path) -> None:
    entries = {
        "quay.io": auth("registry:1"),
        "quay.io/org/app": auth("repository:3"),
        "quay.io/org": auth("org:2"),
    }
    assert found(tmp_path, {"auths": entries}).username == "repository"
    assert found(tmp_path, {"auths": entries}, Repository("quay.io", "org/other")).username == "org"
    assert found(tmp_path, {"auths": entries}, Repository("quay.io", "app")).username == "registry"


@pytest.mark.parametrize("key", ["https://quay.io", "http://quay.io/v2/", "https://quay.io/v1/"])
def test_the_urls_of_old_docker_files_are_understood(tmp_path: Path, key: str) -> None:
    assert found(tmp_path, {"auths": {key: auth("me:secret")}}).username == "me"


@pytest.mark.parametrize("key", ["docker.io", "https://index.docker.io/v1/", "registry-1.docker.io"])
def test_all_the_names_of_docker_hub_are_one(tmp_path: Path, key: str) -> None:
    hub = Repository("docker.io", "library/busybox")
    assert found(tmp_path, {"auths": {key: auth("me:secret")}}, hub).username == "me"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (auth("me:with:colons"), Credentials("me", "with:colons")),
        (auth("me:padded\0\0"), Credentials("me", "padded")),
        ({"username": "me", "password": "secret"}, Credentials("me", "secret")),
        (auth("me:") | {"identitytoken": "token"}, Credentials("me", "", "token")),
        ({"auth": "bWU6\nc2VjcmV0\n"}, Credentials("me", "secret")),
        (auth("me:secret") | {"registrytoken": "token"}, Credentials("me", "secret")),
        ({"username": 7}, Credentials()),
        ({}, Credentials()),
    ],
)
def test_an_entry_is_read_in_all_its_forms(
    tmp_path: Path, entry: dict[str, Any], expected: Credentials
) -> None:
    assert found(tmp_path, {"auths": {"quay.io": entry}}) == expected


@pytest.mark.parametrize(
    "document", [{}, {"auths": None}, {"auths": []}, {"auths": {"quay.io": "x"}}, {"credHelpers": 1}]
)
def test_a_file_without_an_entry_is_anonymous(tmp_path: Path, document: Any) -> None:
    assert found(tmp_path, document).is_anonymous


def test_dockers_oldest_file_is_understood(tmp_path: Path) -> None:
    file = tmp_path / ".dockercfg"
    file.write_text(json.dumps({"https://quay.io/v1/": auth("me:secret")}))
    assert credentials.auth_files(None, {"HOME": str(tmp_path)}, 0) == (file,)
    assert credentials.credentials_for(APP, (file,)).username == "me"


def test_the_first_file_that_has_a_secret_is_used(tmp_path: Path) -> None:
    files = []
    marker: dict[str, Any] = {"quay.io": {}}
    for number, entries in enumerate(
        [{}, marker, {"quay.io": auth("first:1")}, {"quay.io": auth("second:2")}]
    ):
        files.append(tmp_path / str(number))
        files[-1].write_text(json.dumps({"auths": entries}))
    assert credentials.credentials_for(APP, tuple(files)).username == "first"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b'{"auths": {"quay.io": {"auth": "%%%secret"}}}', "has an 'auth' that is not base64"),
        (b'{"auths": {"quay.io": {"auth": "//8="}}}', "has an 'auth' that is not base64"),
        (
            b'{"auths": {"quay.io": {"auth": "c2VjcmV0"}}}',
            "has an 'auth' that does not decode to user:password",
        ),
    ],
)
def test_a_broken_file_is_named_and_not_shown(tmp_path: Path, content: bytes, reason: str) -> None:
    file = tmp_path / "auth.json"
    file.write_bytes(content)
    with pytest.raises(UsageError) as refused:
        credentials.credentials_for(APP, (file,))
    assert str(file) in str(refused.value)
    assert reason in str(refused.value)
    assert "secret" not in str(refused.value)


def test_credentials_are_not_in_their_repr() -> None:
    assert "secret" not in repr(Credentials("secret-name", "secret", "secret-token"))


def test_a_helper_of_the_registry_is_asked(tmp_path: Path, helper: Path) -> None:
    install(helper, 'read server; echo "{\\"Username\\": \\"me\\", \\"Secret\\": \\"of $server\\"}"')
    assert found(tmp_path, {"credHelpers": {"quay.io": "mine"}}) == Credentials("me", "of quay.io")


def test_a_helpers_token_is_an_identity_token(tmp_path: Path, helper: Path) -> None:
    install(helper, """echo '{"Username": "<token>", "Secret": "refresh"}'""")
    assert found(tmp_path, {"credHelpers": {"quay.io": "mine"}}) == Credentials(identity_token="refresh")


def test_the_store_is_asked_where_the_entry_has_no_secret(tmp_path: Path, helper: Path) -> None:
    install(helper, """echo '{"Username": "stored", "Secret": "1"}'""")
    document = {"auths": {"quay.io": {}}, "credsStore": "mine"}
    assert found(tmp_path, document).username == "stored"
    assert found(tmp_path, document | {"auths": {"quay.io": auth("written:2")}}).username == "written"


def test_a_helper_that_has_nothing_is_as_no_entry(tmp_path: Path, helper: Path) -> None:
    install(helper, "echo credentials not found in native keychain; exit 1")
    assert found(tmp_path, {"credsStore": "mine"}).is_anonymous


def test_a_helper_that_fails_otherwise_is_no_helper_that_has_nothing(tmp_path: Path, helper: Path) -> None:
    install(helper, "echo the session of secret has expired; exit 3")
    told = "docker-credential-mine failed for quay.io with exit status 3: try `echo quay.io | docker-cred"
    with pytest.raises(Refused, match=re.escape(told)) as refused:
        found(tmp_path, {"credHelpers": {"quay.io": "mine"}})
    assert "secret" not in str(refused.value)


def test_the_store_knows_docker_hub_by_the_name_that_docker_gives_it(tmp_path: Path, helper: Path) -> None:
    install(helper, 'read server; echo "{\\"Username\\": \\"me\\", \\"Secret\\": \\"of $server\\"}"')
    hub = Repository("docker.io", "library/busybox")
    assert found(tmp_path, {"credsStore": "mine"}, hub).password == "of https://index.docker.io/v1/"


def test_a_registry_token_alone_is_refused_because_skopeo_would_show_it(tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"only a 'registrytoken'.*'auth' or an 'identitytoken'") as refused:
        found(tmp_path, {"auths": {"quay.io": {"registrytoken": "secret"}}})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "is not installed"),
        ("echo no secret here", "returned something that is not a credential for quay.io"),
        ("echo '{}'", "returned something that is not a credential for quay.io"),
        ("echo '[]'", "returned something that is not a credential for quay.io"),
        (r"printf '\377'", "returned something that is not a credential for quay.io"),
        (
            """echo '{"Username": 7, "Secret": "secret"}'""",
            "returned something that is not a credential for quay.io",
        ),
    ],
)
def test_a_helper_that_fails_is_named_and_its_answer_is_not_shown(
    tmp_path: Path, helper: Path, script: str | None, reason: str
) -> None:
    if script:
        install(helper, script)
    with pytest.raises(Refused, match=f"docker-credential-mine .*{reason}") as refused:
        found(tmp_path, {"credHelpers": {"quay.io": "mine"}})
    assert "secret" not in str(refused.value)


def test_a_helper_that_cannot_be_run_is_named(tmp_path: Path, helper: Path) -> None:
    helper.mkdir()
    with pytest.raises(Refused, match="docker-credential-mine"):
        found(tmp_path, {"credHelpers": {"quay.io": "mine"}})


@pytest.mark.parametrize("name", ["../../bin/sh", "a b", "-x", ""])
def test_a_helper_is_a_name_and_not_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is not the name of a credential helper"):
        found(tmp_path, {"credHelpers": {"quay.io": name}})


def test_a_given_auth_file_is_searched_alone_and_has_to_be_there(tmp_path: Path) -> None:
    given = tmp_path / "mine.json"
    with pytest.raises(UsageError, match=f"there is no auth file {given}"):
        credentials.auth_files(given, {}, 0)
    given.touch()
    (tmp_path / "other.json").touch()
    environment = {"REGISTRY_AUTH_FILE": str(tmp_path / "other.json"), "HOME": str(tmp_path)}
    assert credentials.auth_files(given, environment, 0) == (given,)
    assert credentials.auth_files(None, environment, 0) == (tmp_path / "other.json",)


def test_the_default_places_are_those_of_podman_then_docker(tmp_path: Path) -> None:
    places = [
        "run/containers/auth.json",
        "config/containers/auth.json",
        "docker/config.json",
        "docker/.dockerconfigjson",
        "home/.docker/config.json",
    ]
    environment = {
        "HOME": str(tmp_path / "home"),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "DOCKER_CONFIG": str(tmp_path / "docker"),
    }
    assert credentials.auth_files(None, environment, 0) == ()
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).touch()
    assert credentials.auth_files(None, environment, 0) == tuple(tmp_path / place for place in places)


def test_a_place_is_not_searched_twice(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").touch()
    environment = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    assert credentials.auth_files(None, environment, 0) == (tmp_path / ".docker/config.json",)


def test_skopeos_auth_file_holds_an_entry_per_repository_and_has_no_name() -> None:
    other = Repository("quay.io", "org/other")
    given = {APP: Credentials("me", "se:cret"), other: Credentials("", "", "token")}
    with credentials.auth_file({**given, Repository("quay.io", "open"): Credentials()}) as descriptor:
        file = Path(f"/proc/self/fd/{descriptor}")
        assert os.fstat(descriptor).st_nlink == 0
        auths = json.loads(file.read_text())["auths"]
        # An entry without a secret keeps skopeo from looking for one further up.
        assert list(auths) == ["quay.io/org/app", "quay.io/org/other", "quay.io/open"]
        assert auths["quay.io/open"] == {}
        assert {repository: credentials.credentials_for(repository, (file,)) for repository in given} == given
