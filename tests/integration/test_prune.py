"""`recompress prune` as a user runs it, against a real registry, and against one that deletes tags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from recompress.reference import Digest
from tests import images
from tests.fake_registry import error_answer
from tests.images import HandmadeImage
from tests.integration.command import Outcome, recompress
from tests.integration.conftest import Run
from tests.integration.proxy import Proxy
from tests.integration.registries import Account, Registry, running
from tests.integration.tag_deletion import DeletesManifests, DeletesTags
from tests.integration.token_server import TokenServer, User, token_registry

Push = Callable[[HandmadeImage], str]
GONE = images.gzip_image({"a": b"gone"}, docker=True)
THERE = images.gzip_image({"a": b"there"})
CACHE = "zstd-chunked-cache-linux-amd64"
CRONJOB = Path(__file__).parents[2] / "examples/prune-cronjob.yaml"


def tag(image: HandmadeImage, kind: str = "zstd-chunked") -> str:
    return f"sha256-{image.digest.hex}.{kind}"


def prune(host: str, repository: str, *arguments: str) -> Outcome:
    return recompress("prune", f"{host}/{repository}", "--no-tls-verify", "--output=json", *arguments)


def orphans(outcome: Outcome) -> list[str]:
    return [orphan["tag"] for orphan in outcome.succeeded().report["orphans"]]


def delete(registry: Registry, repository: str, digest: Digest) -> None:
    """Delete a manifest with all its tags, as whoever deletes an image does."""
    with registry.client() as client:
        client.delete(f"{repository}/manifests/{digest}").raise_for_status()


@pytest.fixture
def twins(run: Run, push: Push, registry: Registry, repository: str) -> list[str]:
    """All tags of a repository with two images and their twins, of which one image was deleted then."""
    run(push(GONE), "--oci-twin").succeeded()
    run(push(THERE)).succeeded()
    registry.push_manifest(repository, THERE.manifest, selector="1.0")
    delete(registry, repository, GONE.digest)
    return registry.tags(repository)


@pytest.fixture
def deleting(proxy: Proxy) -> Proxy:
    """The registry as one that can delete tags."""
    proxy.fault = DeletesTags(proxy)
    return proxy


def test_the_tags_of_a_deleted_image_are_listed_and_then_deleted_and_no_other(
    twins: Sequence[str], deleting: Proxy, registry: Registry, repository: str
) -> None:
    mine = sorted([tag(GONE), tag(GONE, "oci")])
    assert sorted(twins) == sorted([*mine, tag(THERE), CACHE, "1.0"])
    before = {name: registry.manifest(repository, name) for name in twins}

    listed = prune(deleting.host, repository).succeeded().report
    assert (listed["outcome"], listed["kept"]) == ("listed", 1)
    assert listed["orphans"] == [
        {
            "tag": name,
            "source_digest": str(GONE.digest),
            "twin_digest": str(Digest.of(before[name])),
        }
        for name in mine
    ]
    assert deleting.server.asked("DELETE") == []

    deleted = prune(deleting.host, repository, "--delete").succeeded().report
    assert deleted == {**listed, "outcome": "deleted"}
    assert [r.path.rpartition("/")[2] for r in deleting.server.asked("DELETE")] == mine
    # By their digests all manifests are still there, and the other tags are as they were.
    assert {name: registry.manifest(repository, name) for name in registry.tags(repository)} == before
    assert orphans(prune(deleting.host, repository)) == []


@pytest.mark.parametrize(
    ("enabled", "answer"), [("true", "400 DIGEST_INVALID"), ("false", "405 UNSUPPORTED")]
)
def test_cncf_distribution_2_8_cannot_delete_tags_and_loses_nothing(
    twins: Sequence[str], registry: Registry, repository: str, enabled: str, answer: str
) -> None:
    with running({"REGISTRY_STORAGE_DELETE_ENABLED": enabled}, storage_of=registry) as door:
        outcome = prune(door.host, repository, "--delete")
    outcome.failed(5, "0 of 2 orphans were deleted", "cannot delete a tag by its name", answer)
    assert registry.tags(repository) == list(twins)


def test_a_registry_that_deletes_the_manifest_with_its_tag_is_stopped_and_other_tags_are_there_again(
    twins: Sequence[str], proxy: Proxy, registry: Registry, repository: str
) -> None:
    content = registry.manifest(repository, tag(GONE, "oci"))
    registry.push_manifest(repository, content, selector="mine")
    proxy.fault = DeletesManifests(proxy)
    prune(proxy.host, repository, "--delete").failed(5, "with all its tags, and mine were put back")
    assert registry.manifest(repository, "mine") == content
    assert len(proxy.server.asked("DELETE")) == 1
    assert set(registry.tags(repository)) >= {*twins, "mine"} - {tag(GONE, "oci")}


def test_a_twin_that_was_pushed_from_elsewhere_stays(
    run: Run, push: Push, deleting: Proxy, registry: Registry, repository: str
) -> None:
    elsewhere = f"{repository}-twins"
    run(push(THERE), f"--to={registry.host}/{elsewhere}").succeeded()
    prune(deleting.host, elsewhere, "--delete").failed(5, "--source")
    source = f"--source={registry.host}/{repository}"
    assert orphans(prune(deleting.host, elsewhere, "--delete", source)) == []
    assert deleting.server.asked("DELETE") == []


def test_a_twin_in_an_index_stays_and_so_does_one_whose_source_is_404_once(
    run: Run, twins: Sequence[str], deleting: Proxy, registry: Registry, repository: str
) -> None:
    deletes = deleting.fault
    once = [error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown")]
    there = f"/manifests/{THERE.digest}"
    deleting.fault = lambda r: once.pop() if once and there in r.target else deletes(r)
    twin = registry.manifest(repository, tag(GONE))
    entries = [images.descriptor("application/vnd.oci.image.manifest.v1+json", twin)]
    registry.push_manifest(repository, images.index(entries), selector="2.0")
    # The OCI twin is in no index.
    assert orphans(prune(deleting.host, repository, "--delete")) == [tag(GONE, "oci")]
    assert once == []
    assert len(deleting.server.asked("GET", there)) == 2
    assert [r.path.rpartition("/")[2] for r in deleting.server.asked("DELETE")] == [tag(GONE, "oci")]


# Who may delete


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenServer:
    return TokenServer(tmp_path_factory.mktemp("tokens"))


@pytest.fixture
def door(tokens: TokenServer, registry: Registry) -> Iterator[Registry]:
    """The registry by a door where tokens are wanted; CNCF Distribution names the right to delete."""
    with token_registry(tokens, registry) as started:
        yield started


def test_a_token_is_asked_for_with_the_right_to_delete(
    twins: Sequence[str], tokens: TokenServer, door: Registry, repository: str, tmp_path: Path
) -> None:
    deleter = User(Account("deleter", "deleters-password"), {"tests/": "pull,delete"})
    reader = User(Account("pruner", "pruners-password"), {"tests/": "pull"})
    tokens.users = [deleter, reader]
    for user, code, answer in ((deleter, 5, "400 DIGEST_INVALID"), (reader, 3, "401 UNAUTHORIZED")):
        authfile = f"--authfile={user.account.auth_file(tmp_path, door.host)}"
        prune(door.host, repository, authfile, "--delete").failed(code, answer)


# The example


def test_the_example_lists_and_does_not_delete(
    twins: Sequence[str], deleting: Proxy, repository: str, tmp_path: Path
) -> None:
    pod: dict[str, Any] = yaml.safe_load(CRONJOB.read_text())["spec"]["jobTemplate"]["spec"]["template"][
        "spec"
    ]
    (container,) = pod["containers"]
    assert container["command"] == ["recompress"]
    given = f"{deleting.host}/{repository}"
    arguments = [argument.replace("registry.example.com/app", given) for argument in container["args"]]
    assert given in arguments
    (variable,) = container["env"]
    secret = tmp_path / ".dockerconfigjson"
    Account().auth_file(tmp_path, deleting.host).rename(secret)
    assert variable["value"].endswith(secret.name)
    outcome = recompress(*arguments, "--no-tls-verify", env={variable["name"]: str(secret)}).succeeded()
    assert tag(GONE) in outcome.out
    assert tag(GONE, "oci") in outcome.out
    assert "2 of 3 tags of twins are orphans; nothing was deleted" in outcome.out
    assert deleting.server.asked("DELETE") == []
