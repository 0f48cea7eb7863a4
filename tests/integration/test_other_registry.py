"""Another implementation of a registry than Distribution: that of go-containerregistry."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import images
from tests.integration import sources
from tests.integration.command import recompress
from tests.integration.conftest import Run
from tests.integration.registries import Registry
from tests.integration.twins import assert_twin

WARN = "--partial-pulls=warn"
IMAGE = images.gzip_image({"a": b"a" * 1000}, {"b": b"b" * 1000})


@pytest.fixture(scope="module")
def other() -> Iterator[Registry]:
    """`crane registry serve`."""
    command = ["crane", "registry", "serve", "--address=127.0.0.1:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        port = re.search(r"serving on port (\d+)", process.stderr.readline())
        assert port
        host = f"127.0.0.1:{port[1]}"
        yield Registry(host, host)
        process.terminate()


def test_a_registry_that_serves_the_first_range_only_is_told_before_any_work(
    run: Run, other: Registry, repository: str
) -> None:
    image = f"{other.host}/{repository}@{other.push(repository, IMAGE)}"
    run(image).failed(5, "but with one range", "--partial-pulls warn")
    outcome = run(image, WARN).succeeded()
    assert any("but with one range" in warning for warning in outcome.report["warnings"])


def test_the_twin_is_made_proven_and_reused(run: Run, other: Registry, repository: str) -> None:
    image = f"{other.host}/{repository}@{other.push(repository, IMAGE)}"
    first = run(image, WARN).succeeded()
    assert_twin(other, repository, IMAGE.digest, first.results)
    again = run(image, WARN).succeeded()
    assert again.results == first.results
    assert {layer["action"] for layer in again.report["layers"]} == {"reused"}
    recompress("verify", image, first.results["IMAGE_REF"], "--no-tls-verify", WARN).succeeded()


def test_a_docker_source_keeps_its_config(run: Run, other: Registry, repository: str, tmp_path: Path) -> None:
    source = sources.docker_one_layer(other, repository, tmp_path)
    outcome = run(f"{other.host}/{repository}@{source}", WARN).succeeded()
    assert_twin(other, repository, source, outcome.results)


def test_layers_of_another_repository_are_compressed_as_this_registry_mounts_nothing_and_that_is_said(
    run: Run, other: Registry, repository: str
) -> None:
    image = f"{other.host}/{repository}@{other.push(repository, IMAGE)}"
    first = run(image, WARN).succeeded()
    there = f"{other.host}/{repository}-to:1"
    second = run(image, WARN, f"--to={there}", f"--reuse-from={first.results['IMAGE_REF']}").succeeded()
    # They come to the same bytes.
    assert {layer["action"] for layer in second.report["layers"]} == {"compressed"}
    assert "skopeo took 0 of 2 layers that could be reused" in second.report["warnings"]


def test_what_is_not_there_is_told(run: Run, other: Registry, repository: str) -> None:
    run(f"{other.host}/{repository}@{IMAGE.digest}").failed(4, repository)
