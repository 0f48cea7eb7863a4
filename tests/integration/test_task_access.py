"""Both ways in which a Task gets credentials, and its CA, as a non-root step on a read-only root."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import images
from tests.integration.pods import CHOSEN_USER, TASKS, Pods, cluster
from tests.integration.registries import SECRETS, Account, Registry
from tests.integration.twins import assert_twin
from tests.tekton.pipeline import Ended

IMAGE = images.gzip_image({"a": b"a"})
WRONG = Account(password="not-the-password")


def config(registry: Registry, account: Account) -> bytes:
    return json.dumps({"auths": {registry.host: {"auth": account.auth}}}).encode()


@pytest.fixture
def image(private_registry: Registry, repository: str) -> str:
    return f"{private_registry.host}/{repository}@{private_registry.push(repository, IMAGE)}"


def run(
    work: Path,
    registry: Registry,
    image: str,
    service_account: bytes | None,
    user: int | None = None,
    **workspace: bytes,
) -> Ended:
    """Run the Task with these credentials of the service account and this in the workspace, if anything."""
    files = {name.replace("_", "."): content for name, content in workspace.items()}
    pods = Pods(work, cluster(registry, service_account=service_account, user=user), {"dockerconfig": files})
    bound = frozenset({"dockerconfig"} if files else ())
    ended = pods("recompress", TASKS["recompress"], {"IMAGE": image}, bound)
    for secret in SECRETS:
        assert secret not in ended.log
    left = {
        file.name for file in (work / "recompress").rglob("*") if file.is_file() and not file.is_symlink()
    }
    credentials = {"config.json", ".dockerconfigjson", "ca-bundle.crt"}
    assert left - credentials <= {"IMAGE_URL", "IMAGE_DIGEST", "IMAGE_REF", "SOURCE_ARTIFACT_INPUTS"}
    return ended


as_any_user = pytest.mark.parametrize("user", [None, CHOSEN_USER], ids=["the image's user", "chosen user"])


@as_any_user
@pytest.mark.parametrize("file", ["config_json", "_dockerconfigjson"])
def test_credentials_in_the_workspace_are_enough(
    private_registry: Registry, repository: str, image: str, tmp_path: Path, file: str, user: int | None
) -> None:
    good = config(private_registry, Account())
    ended = run(tmp_path, private_registry, image, None, user, **{file: good})
    assert_twin(private_registry, repository, IMAGE.digest, ended.results)


@as_any_user
def test_credentials_of_the_service_account_are_enough(
    private_registry: Registry, repository: str, image: str, tmp_path: Path, user: int | None
) -> None:
    ended = run(tmp_path, private_registry, image, config(private_registry, Account()), user)
    assert_twin(private_registry, repository, IMAGE.digest, ended.results)


def test_the_workspace_comes_first_and_the_service_account_fills_its_gaps(
    private_registry: Registry, image: str, tmp_path: Path
) -> None:
    good, wrong = (config(private_registry, account) for account in (Account(), WRONG))
    other = json.dumps({"auths": {"quay.io": {"auth": WRONG.auth}}}).encode()
    assert run(tmp_path / "1", private_registry, image, wrong, config_json=good).succeeded
    assert run(tmp_path / "2", private_registry, image, good, config_json=other).succeeded
    assert not run(tmp_path / "3", private_registry, image, good, config_json=wrong).succeeded


def test_without_credentials_the_task_is_refused_and_has_no_results(
    private_registry: Registry, image: str, tmp_path: Path
) -> None:
    ended = run(tmp_path, private_registry, image, None)
    assert (ended.succeeded, ended.results) == (False, {})
    assert "check the credentials for it" in ended.log
