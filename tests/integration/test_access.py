"""Registries that want an account and have a certificate of a private CA."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import images
from tests.integration.command import Outcome, recompress
from tests.integration.registries import PASSWORD, Account, Registry
from tests.integration.twins import assert_twin

IMAGE = images.gzip_image({"a": b"a"}, {"b": b"b"})
Private = Callable[..., Outcome]


@pytest.fixture
def image(private_registry: Registry, repository: str) -> str:
    return f"{private_registry.host}/{repository}@{private_registry.push(repository, IMAGE)}"


@pytest.fixture
def private(private_registry: Registry, results: Path, image: str) -> Private:
    """Runs against the private registry, whose CA is known."""

    def call(*arguments: str, **env: str) -> Outcome:
        fixed = (f"--ca-file={private_registry.ca_file}", "--output=json")
        return recompress("run", image, *fixed, *arguments, results=results, env=env)

    return call


def test_with_the_right_account_and_ca_the_twin_is_made(
    private: Private, private_registry: Registry, repository: str, tmp_path: Path
) -> None:
    auth_file = Account().auth_file(tmp_path, private_registry.host)
    outcome = private(f"--authfile={auth_file}").succeeded()
    assert_twin(private_registry, repository, IMAGE.digest, outcome.results)


def test_the_account_is_found_where_docker_keeps_it(
    private: Private, private_registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "home/.docker").mkdir(parents=True)
    (tmp_path / "home/.docker/config.json").write_text(
        Account().auth_file(tmp_path, private_registry.host).read_text()
    )
    private(HOME=str(tmp_path / "home")).succeeded()


def test_an_account_for_the_repository_alone_is_enough_and_wins(
    private: Private, private_registry: Registry, repository: str, tmp_path: Path
) -> None:
    entries = {
        private_registry.host: {"auth": Account(password="wrong").auth},
        f"{private_registry.host}/{repository}": {"auth": Account().auth},
    }
    auth_file = tmp_path / "auth.json"
    auth_file.write_text(json.dumps({"auths": entries}))
    private(f"--authfile={auth_file}").succeeded()


def test_a_wrong_password_is_refused_at_once_and_not_told(
    private: Private, private_registry: Registry, repository: str, tmp_path: Path
) -> None:
    wrong = Account(password="not-the-password")
    outcome = private(f"--authfile={wrong.auth_file(tmp_path, private_registry.host)}", "--debug")
    assert outcome.code == 3
    assert "check the credentials" in outcome.error
    assert "not-the-password" not in outcome.err
    assert wrong.auth not in outcome.err
    assert "try 2" not in outcome.err
    assert private_registry.tags(repository) == []


def test_no_account_is_refused_with_the_repository(
    private: Private, private_registry: Registry, repository: str
) -> None:
    private().failed(3, f"refused access to {private_registry.host}/{repository}", "401 UNAUTHORIZED")


def test_inspect_is_refused_the_same_way(private_registry: Registry, image: str) -> None:
    recompress("inspect", image, f"--ca-file={private_registry.ca_file}").failed(3, "check the credentials")


def test_a_ca_that_is_not_known_is_told_with_the_option_for_it(
    private_registry: Registry, image: str, results: Path, tmp_path: Path
) -> None:
    auth_file = Account().auth_file(tmp_path, private_registry.host)
    outcome = recompress("run", image, f"--authfile={auth_file}", results=results)
    outcome.failed(7, "no TLS connection", "if its certificate is from a private CA, use --ca-file")
    assert "try 2" not in outcome.err


def test_without_verification_the_certificate_does_not_matter(
    private_registry: Registry, image: str, results: Path, tmp_path: Path
) -> None:
    auth_file = Account().auth_file(tmp_path, private_registry.host)
    arguments = ("--no-tls-verify", f"--authfile={auth_file}")
    recompress("run", image, *arguments, results=results).succeeded()


def test_source_and_destination_each_get_their_own_account(
    private: Private, private_registry: Registry, registry: Registry, repository: str, tmp_path: Path
) -> None:
    # The destination is open: what is the source's must not be needed there, nor get in the way.
    auth_file = Account().auth_file(tmp_path, private_registry.host)
    to = f"{registry.host}/{repository}:here"
    outcome = private("--no-tls-verify", f"--authfile={auth_file}", f"--to={to}").succeeded()
    assert outcome.results["IMAGE_URL"] == to
    assert "here" in registry.tags(repository)


def test_no_process_gets_the_password_in_its_arguments(
    private: Private, private_registry: Registry, tmp_path: Path
) -> None:
    auth_file = Account().auth_file(tmp_path, private_registry.host)
    seen = tmp_path / "arguments"
    wrapper = tmp_path / "bin/skopeo"
    wrapper.parent.mkdir()
    wrapper.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" >> {seen}\nenv >> {seen}\nexec /usr/bin/skopeo "$@"\n'
    )
    wrapper.chmod(0o755)
    private(f"--authfile={auth_file}", PATH=f"{wrapper.parent}:/usr/local/bin:/usr/bin:/bin").succeeded()
    told = seen.read_text()
    assert "--dest-force-compress-format" in told
    assert PASSWORD not in told
    assert Account().auth not in told
