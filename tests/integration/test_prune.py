"""`recompress prune` as a user runs it, against a real registry, and against one that deletes tags.

Most of the time of the command is the wait between its two looks. So every scenario has a repository and a
way to it of its own, and the commands of all of them run at the same time.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from recompress.reference import Digest
from tests import images
from tests.fake_registry import error_answer
from tests.images import HandmadeImage
from tests.integration.command import Outcome, recompress
from tests.integration.proxy import Fault, Proxy, proxy_to
from tests.integration.registries import Account, Registry, running
from tests.integration.tag_deletion import DeletesManifests, DeletesTags
from tests.integration.token_server import TokenServer, User, token_registry

GONE = images.gzip_image({"a": b"gone"}, docker=True)
THERE = images.gzip_image({"a": b"there"})
CACHE = "zstd-chunked-cache-linux-amd64"
CRONJOB = Path(__file__).parents[2] / "examples/prune-cronjob.yaml"


def tag(image: HandmadeImage, kind: str = "zstd-chunked") -> str:
    return f"sha256-{image.digest.hex}.{kind}"


MINE = sorted([tag(GONE), tag(GONE, "oci")])


def run(image: str, *arguments: str) -> None:
    recompress("run", image, "--no-tls-verify", *arguments).succeeded()


def prune(host: str, repository: str, *arguments: str) -> Outcome:
    return recompress("prune", f"{host}/{repository}", "--no-tls-verify", "--output=json", *arguments)


def prune_and_delete(host: str, repository: str) -> Outcome:
    return prune(host, repository, "--delete")


def orphans(outcome: Outcome) -> list[str]:
    return [orphan["tag"] for orphan in outcome.succeeded().report["orphans"]]


def new_name() -> str:
    return f"tests/{uuid.uuid4().hex[:12]}"


def tags(registry: Registry, repository: str) -> dict[str, bytes]:
    """All tags of a repository with what they name."""
    return {name: registry.manifest(repository, name) for name in registry.tags(repository)}


def copy(registry: Registry, repository: str) -> str:
    """A new repository with the same tags."""
    name = new_name()
    with registry.client() as client:
        for selector, content in tags(registry, repository).items():
            document = registry.document(repository, selector)
            for blob in (document["config"], *document["layers"]):
                mount = {"mount": blob["digest"], "from": repository}
                client.post(f"{name}/blobs/uploads/", params=mount).raise_for_status()
            registry.push_manifest(name, content, selector=selector)
    return name


@dataclass(frozen=True, slots=True)
class Scene:
    """A repository that a command runs on, its tags as they were before, the way to it, and how it ends."""

    repository: str
    before: dict[str, bytes]
    proxy: Proxy
    command: Future[Outcome]

    @property
    def outcome(self) -> Outcome:
        """How the command ended, when it has."""
        return self.command.result()

    @property
    def deletions(self) -> list[str]:
        """The tags that were asked to be deleted, in this order."""
        return [request.path.rpartition("/")[2] for request in self.proxy.server.asked("DELETE")]


Command = Callable[[str, str], Outcome]
"""What runs on a registry, by its host, and a repository in it."""
MakeFault = Callable[[Proxy], Fault]


@pytest.fixture(scope="module")
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as executor:
        yield executor


@pytest.fixture(scope="module")
def twins(registry: Registry) -> str:
    """A repository with two images and their twins, of which one image was deleted then."""
    repository = new_name()
    for image, option in ((GONE, ("--oci-twin",)), (THERE, ())):
        run(f"{registry.host}/{repository}@{registry.push(repository, image)}", *option)
    registry.push_manifest(repository, THERE.manifest, selector="1.0")
    with registry.client() as client:
        # With all its tags, as whoever deletes an image does.
        client.delete(f"{repository}/manifests/{GONE.digest}").raise_for_status()
    assert sorted(registry.tags(repository)) == sorted([*MINE, tag(THERE), CACHE, "1.0"])
    return repository


class Act(Protocol):
    """Starts a command on a repository of its own; on a registry that deletes tags, but for another fault."""

    def __call__(self, command: Command, fault: MakeFault = DeletesTags) -> Scene: ...


@pytest.fixture(scope="module")
def act(registry: Registry, twins: str, pool: ThreadPoolExecutor) -> Iterator[Act]:
    """Starts a command on a copy of the twins."""
    with ExitStack() as stack:

        def begin(command: Command, fault: MakeFault = DeletesTags) -> Scene:
            repository = copy(registry, twins)
            before = tags(registry, repository)
            proxy = stack.enter_context(proxy_to(registry))
            proxy.fault = fault(proxy)
            scene = Scene(repository, before, proxy, pool.submit(command, proxy.host, repository))
            stack.callback(scene.command.exception)
            return scene

        yield begin


@pytest.fixture(scope="module", autouse=True)
def at_once(
    listing: Scene, deletion: Scene, disabled: Scene, unable: Scene, by_manifest: Scene, filled: Scene,
    held: Scene, deleter: Scene, reader: Scene, example: Scene,
) -> None:  # fmt: skip
    """All commands are started before the first test waits for its own."""


# What is deleted


@pytest.fixture(scope="module")
def listing(act: Act) -> Scene:
    return act(prune)


@pytest.fixture(scope="module")
def deletion(act: Act) -> Scene:
    return act(prune_and_delete)


def test_the_tags_of_a_deleted_image_are_listed_and_no_other(listing: Scene) -> None:
    report = listing.outcome.succeeded().report
    assert (report["outcome"], report["kept"]) == ("listed", 1)
    assert report["orphans"] == [
        {
            "tag": name,
            "source_digest": str(GONE.digest),
            "twin_digest": str(Digest.of(listing.before[name])),
            "sbom_tag": None,
        }
        for name in MINE
    ]
    assert {request.method for request in listing.proxy.server.requests} == {"GET"}


def test_the_tags_that_are_listed_are_deleted_and_no_other(
    listing: Scene, deletion: Scene, registry: Registry
) -> None:
    report = deletion.outcome.succeeded().report
    assert report["outcome"] == "deleted"
    same = ("orphans", "kept")
    assert {name: report[name] for name in same} == {name: listing.outcome.report[name] for name in same}
    assert deletion.deletions == MINE
    # By their digests all manifests are still there, and the other tags are as they were.
    assert tags(registry, deletion.repository) == deletion.before
    assert orphans(prune(deletion.proxy.host, deletion.repository)) == []


# What is not


@pytest.fixture(scope="module")
def unable(act: Act) -> Scene:
    """CNCF Distribution 2.8 as it is."""
    return act(prune_and_delete, lambda _: lambda _: None)


@pytest.fixture(scope="module")
def disabled(act: Act, registry: Registry) -> Iterator[Scene]:
    """The same without the right to delete anything."""
    with running({"REGISTRY_STORAGE_DELETE_ENABLED": "false"}, storage_of=registry) as door:
        scene = act(lambda _, repository: prune_and_delete(door.host, repository))
        yield scene
        scene.command.exception()


@pytest.mark.parametrize(
    ("scene", "answer"), [("unable", "400 DIGEST_INVALID"), ("disabled", "405 UNSUPPORTED")]
)
def test_cncf_distribution_2_8_cannot_delete_tags_and_loses_nothing(
    request: pytest.FixtureRequest, registry: Registry, scene: str, answer: str
) -> None:
    found: Scene = request.getfixturevalue(scene)
    why = "cannot delete a tag by its name"
    found.outcome.failed(5, "deleted 0 of 2 orphans, failed at", why, answer)
    assert tags(registry, found.repository) == found.before


@pytest.fixture(scope="module")
def by_manifest(act: Act, registry: Registry) -> Scene:
    """A registry that deletes the manifest with its tag, where another tag names the manifest, too."""

    def command(host: str, repository: str) -> Outcome:
        content = registry.manifest(repository, tag(GONE, "oci"))
        registry.push_manifest(repository, content, selector="mine")
        return prune_and_delete(host, repository)

    return act(command, DeletesManifests)


def test_a_registry_that_deletes_the_manifest_with_its_tag_is_stopped_and_other_tags_are_there_again(
    by_manifest: Scene, registry: Registry
) -> None:
    by_manifest.outcome.failed(5, "with all its tags, and mine were put back")
    expected = dict(by_manifest.before)
    expected["mine"] = expected.pop(tag(GONE, "oci"))
    assert tags(registry, by_manifest.repository) == expected
    assert len(by_manifest.deletions) == 1


@pytest.fixture(scope="module")
def filled(act: Act, registry: Registry) -> Scene:
    """A repository that was filled from elsewhere: with a twin, and with what was zstd:chunked already."""

    def command(host: str, repository: str) -> Outcome:
        for source in (THERE.digest, Digest.of(registry.manifest(repository, tag(THERE)))):
            run(f"{registry.host}/{repository}@{source}", f"--to={registry.host}/{repository}-twins")
        return prune_and_delete(host, f"{repository}-twins")

    return act(command)


def test_a_twin_that_was_pushed_from_elsewhere_stays(filled: Scene, registry: Registry) -> None:
    filled.outcome.failed(5, "of 1 twin in ", "--source")
    source = f"--source={registry.host}/{filled.repository}"
    again = prune(filled.proxy.host, f"{filled.repository}-twins", "--delete", source)
    assert (orphans(again), again.report["kept"]) == ([], 2)
    assert filled.deletions == []


@pytest.fixture(scope="module")
def held(act: Act, registry: Registry) -> Scene:
    """One of the twins is in an index, and the source of another is 404 once."""
    once = [error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown")]

    def command(host: str, repository: str) -> Outcome:
        twin = registry.manifest(repository, tag(GONE))
        entries = [images.descriptor("application/vnd.oci.image.manifest.v1+json", twin)]
        registry.push_manifest(repository, images.index(entries), selector="2.0")
        return prune_and_delete(host, repository)

    def fault(proxy: Proxy) -> Fault:
        deletes = DeletesTags(proxy)
        return lambda r: once.pop() if once and str(THERE.digest) in r.target else deletes(r)

    return act(command, fault)


def test_a_twin_in_an_index_stays_and_so_does_one_whose_source_is_404_once(held: Scene) -> None:
    # The OCI twin is in no index.
    assert orphans(held.outcome) == held.deletions == [tag(GONE, "oci")]
    assert len(held.proxy.server.asked("GET", f"/manifests/{THERE.digest}")) == 2


# Who may delete


DELETER = User(Account("deleter", "deleters-password"), {"tests/": "pull,delete"})
READER = User(Account("pruner", "pruners-password"), {"tests/": "pull"})


@pytest.fixture(scope="module")
def door(registry: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The registry by a door where tokens are wanted; CNCF Distribution names the right to delete."""
    tokens = TokenServer(tmp_path_factory.mktemp("tokens"))
    tokens.users = [DELETER, READER]
    with token_registry(tokens, registry) as started:
        yield started


def by_door(act: Act, door: Registry, user: User, directory: Path) -> Iterator[Scene]:
    authfile = f"--authfile={user.account.auth_file(directory, door.host)}"
    scene = act(lambda _, repository: prune(door.host, repository, authfile, "--delete"))
    yield scene
    scene.command.exception()


@pytest.fixture(scope="module")
def deleter(act: Act, door: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from by_door(act, door, DELETER, tmp_path_factory.mktemp("deleter"))


@pytest.fixture(scope="module")
def reader(act: Act, door: Registry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    yield from by_door(act, door, READER, tmp_path_factory.mktemp("reader"))


def test_a_token_is_asked_for_with_the_right_to_delete(deleter: Scene, reader: Scene) -> None:
    deleter.outcome.failed(5, "400 DIGEST_INVALID")
    reader.outcome.failed(3, "401 UNAUTHORIZED")


# The example


@pytest.fixture(scope="module")
def example(act: Act, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The example's command, with this registry and repository in it."""
    directory = tmp_path_factory.mktemp("example")
    pod: dict[str, Any] = yaml.safe_load(CRONJOB.read_text())["spec"]["jobTemplate"]["spec"]["template"][
        "spec"
    ]
    (container,) = pod["containers"]
    assert container["command"] == ["recompress"]
    (variable,) = container["env"]
    secret = directory / ".dockerconfigjson"
    assert variable["value"].endswith(secret.name)

    def command(host: str, repository: str) -> Outcome:
        given = f"{host}/{repository}"
        arguments = [argument.replace("registry.example.com/app", given) for argument in container["args"]]
        assert given in arguments
        Account().auth_file(directory, host).rename(secret)
        return recompress(*arguments, "--no-tls-verify", env={variable["name"]: str(secret)})

    return act(command)


def test_the_example_lists_and_does_not_delete(example: Scene) -> None:
    out = example.outcome.succeeded().out
    assert tag(GONE) in out
    assert tag(GONE, "oci") in out
    assert "2 orphans among 3 tags of twins; nothing was deleted" in out
    assert example.deletions == []
