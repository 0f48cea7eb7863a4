"""The task image as a container, exactly as task.yaml says, and as a cluster might change it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests import images
from tests.images import HandmadeImage
from tests.integration import sources
from tests.integration.pods import CHOSEN_USER, TASKS, Pods, cluster
from tests.integration.registries import Registry, labels
from tests.integration.test_index import AMD64, ARM64, entry
from tests.integration.twins import assert_twin
from tests.tekton.pipeline import Ended
from tests.tekton.resources import ROOT
from tests.tekton.variables import Value

IMAGE = images.gzip_image({"a": b"a" * 1000}, {"b": b"b" * 1000})
Push = Callable[[HandmadeImage], str]
Task = Callable[..., Ended]


@pytest.fixture
def task(registry: Registry, tmp_path: Path) -> Task:
    """Runs the Task; each time with directories of its own."""
    count = iter(range(100))

    def call(**params: Value) -> Ended:
        pods = Pods(tmp_path / f"run-{next(count)}", cluster(registry))
        return pods("recompress", TASKS["recompress"], params, frozenset())

    return call


def test_with_nothing_but_an_image_the_twin_is_made_and_the_results_are_exact(
    registry: Registry, repository: str, tmp_path: Path, task: Task
) -> None:
    source = sources.docker_many_layers(registry, repository, tmp_path)
    ended = task(IMAGE=f"{registry.host}/{repository}@{source}")
    assert ended.succeeded, ended.log
    assert_twin(registry, repository, source, ended.results)


def test_the_log_has_the_progress_and_the_table(task: Task, push: Push) -> None:
    ended = task(IMAGE=push(IMAGE))
    assert ended.succeeded, ended.log
    assert "recompressing 2 layers" in ended.log
    for line in ("zstd:chunked", "total", str(IMAGE.digest), ended.results["IMAGE_DIGEST"]):
        assert line in ended.out
    assert "Traceback" not in ended.log


def test_every_parameter_does_what_it_says(
    registry: Registry, repository: str, push: Push, task: Task
) -> None:
    base = push(IMAGE)
    assert task(IMAGE=base, TO=f"{registry.host}/{repository}-base:1").succeeded
    for image in (AMD64, ARM64, IMAGE):
        registry.push(repository, image)
    both = images.gzip_image({"a": b"a" * 1000}, {"c": b"c" * 1000}, architecture="arm64")
    registry.push(repository, both)
    entries = [entry(AMD64.manifest, "linux/amd64"), entry(both.manifest, "linux/arm64")]
    index = registry.push_manifest(repository, images.index(entries))
    ended = task(
        IMAGE=f"{registry.host}/{repository}@{index}",
        PLATFORM="linux/arm64",
        TO=f"{registry.host}/{repository}-twin:here",
        LEVEL="5",
        JOBS="1",
        VERIFY="structure",
        IF_IMPOSSIBLE="keep",
        PARTIAL_PULLS="warn",
        ATTEMPTS="2",
        TIMEOUT="200",
        REUSE_FROM=[f"{registry.host}/{repository}-base:1", f"{registry.host}/{repository}-missing:1"],
    )
    assert ended.succeeded, ended.log
    twin = assert_twin(registry, repository, both.digest, ended.results, f"{repository}-twin:here")
    reused = registry.document(f"{repository}-base", "1")["layers"][0]["digest"]
    assert twin["layers"][0]["digest"] == reused
    assert "verifying the content" not in ended.log


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"IMAGE": "quay.io/org/app"}, "has no digest"),
        ({"IMAGE": "--help"}, "has no registry"),
        ({"IMAGE": "$(touch /tmp/x)"}, "has no registry"),
        ({"IMAGE": f"127.0.0.1:1/a@sha256:{'0' * 64}", "REUSE_FROM": ["--help"]}, "has no registry"),
        ({"IMAGE": f"127.0.0.1:1/a@sha256:{'0' * 64}", "LEVEL": "high"}, "RECOMPRESS_LEVEL"),
        ({"IMAGE": f"127.0.0.1:1/a@sha256:{'0' * 64}", "IF_IMPOSSIBLE": "?"}, "RECOMPRESS_IF_IMPOSSIBLE"),
        ({"IMAGE": f"127.0.0.1:1/a@sha256:{'0' * 64}", "PARTIAL_PULLS": "?"}, "RECOMPRESS_PARTIAL_PULLS"),
        ({"IMAGE": f"127.0.0.1:1/a@sha256:{'0' * 64}", "PLATFORM": "amd64"}, "is not a platform"),
        ({"IMAGE": f"127.0.0.1:1/a@sha256:{'0' * 64}", "ATTEMPTS": "0"}, "RECOMPRESS_ATTEMPTS"),
        ({"IMAGE": f"127.0.0.1:1/a@sha256:{'0' * 64}", "ATTEMPTS": "2"}, "try 2 of 2"),
        ({"IMAGE": f"127.0.0.1:1/a@sha256:{'0' * 64}", "TIMEOUT": "inf"}, "RECOMPRESS_TIMEOUT"),
        (
            {"IMAGE": f"127.0.0.1:1/a@sha256:{'0' * 64}", "ATTEMPTS": "20", "TIMEOUT": "1"},
            "did not end within 1 s",
        ),
    ],
)
def test_a_wrong_parameter_fails_the_task_without_results(
    task: Task, params: dict[str, Value], told: str
) -> None:
    ended = task(**params)
    assert (ended.succeeded, ended.results, ended.out) == (False, {}, "")
    assert told in ended.log


def container(work: Path, *options: str) -> dict[str, str]:
    """Run the image by hand with these options and arguments; returns the results."""
    results = work / "by-hand"
    results.mkdir()
    results.chmod(0o777)
    (label,) = (f"--label={name}={value}" for name, value in labels().items())
    ended = subprocess.run(
        [
            "docker", "run", "--rm", label, "--network=host", f"--volume={results}:/results",
            "--env=RECOMPRESS_TLS_VERIFY=false", "--env=RECOMPRESS_RESULTS_DIR=/results", *options,
        ],
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return {file.name: file.read_text() for file in results.iterdir()}


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", "--security-opt=no-new-privileges"),
        ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", f"--user={CHOSEN_USER}:0"),
        ("--read-only", "--tmpfs=/tmp", "--cap-drop=ALL", f"--user={CHOSEN_USER}:{CHOSEN_USER}"),
        ("--user=0:0",),
    ],
    ids=["as it is", "read-only", "a user that the cluster chose", "a user and a group", "root"],
)
def test_the_image_works_for_every_user_and_on_a_read_only_root(
    registry: Registry, repository: str, push: Push, tmp_path: Path, options: tuple[str, ...]
) -> None:
    found = container(tmp_path, *options, "localhost/recompress:dev", "run", push(IMAGE))
    assert_twin(registry, repository, IMAGE.digest, found)


def test_every_package_in_the_image_has_its_copyright_file() -> None:
    packages = "dpkg-query --show --showformat '${Package}\\n'"
    missing = f"for name in $({packages}); do test -s /usr/share/doc/$name/copyright || echo $name; done"
    command = ["docker", "run", "--rm", "--entrypoint=sh", "localhost/recompress:dev", "-c"]
    listed = subprocess.run([*command, packages], capture_output=True, text=True, check=True).stdout.split()
    assert "skopeo" in listed
    assert subprocess.run([*command, missing], capture_output=True, text=True, check=True).stdout == ""


def test_the_image_is_not_root_and_says_so_in_numbers() -> None:
    inspected = subprocess.run(
        ["docker", "image", "inspect", "localhost/recompress:dev"], capture_output=True, check=True
    )
    (image,) = json.loads(inspected.stdout)
    user, _, group = image["Config"]["User"].partition(":")
    assert user.isdecimal()
    assert user != "0"
    assert group.isdecimal()
    assert image["Config"]["Entrypoint"] == ["recompress"]


@pytest.mark.parametrize("file", ["task.yaml", "index-task.yaml"])
def test_the_tasks_claim_the_platform_that_the_image_is_built_for(file: str) -> None:
    (image,) = json.loads(
        subprocess.run(
            ["docker", "image", "inspect", "localhost/recompress:dev"], capture_output=True, check=True
        ).stdout
    )
    annotations = yaml.safe_load((ROOT / file).read_text())["metadata"]["annotations"]
    assert annotations["tekton.dev/platforms"] == f"{image['Os']}/{image['Architecture']}"
