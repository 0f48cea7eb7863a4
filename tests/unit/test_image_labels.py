"""hack/images.sh says in the labels of the task image what is known of it; docker is a stand-in here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from recompress import __version__

ROOT = Path(__file__).parents[2]
DIGEST = f"sha256:{'1' * 64}"
DOCKER = """#!/bin/sh
case "$*" in
    *RepoDigests*) echo "$REPO_DIGEST" ;;
    build*) printf '%s\\n' "$@" > "$ARGUMENTS" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit, of what the script needs."""
    work = tmp_path / "work"
    shutil.copytree(ROOT / "hack", work / "hack")
    (work / "recompress").mkdir()
    shutil.copy(ROOT / "recompress/__init__.py", work / "recompress")
    (work / ".gitignore").write_text("/build/\n")
    docker = tmp_path / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        subprocess.run(["git", *command], cwd=work, check=True, env=environment(tmp_path))
    return work


def environment(directory: Path, **more: str) -> dict[str, str]:
    identity = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return {
        "PATH": f"{directory}/bin:{os.environ['PATH']}",
        "HOME": str(directory),
        "ARGUMENTS": str(directory / "arguments"),
        "GIT_COMMITTER_DATE": "2026-01-02T03:04:05+02:00",
        **identity,
        **more,
    }


def labels(checkout: Path, **more: str) -> dict[str, str]:
    """Those that the task image is built with."""
    there = environment(checkout.parent, **more)
    subprocess.run([checkout / "hack/images.sh", "task"], env=there, check=True, capture_output=True)
    arguments = Path(there["ARGUMENTS"]).read_text().splitlines()
    given = [after for before, after in pairwise(arguments) if before == "--label"]
    return dict(label.removeprefix("org.opencontainers.image.").split("=", 1) for label in given)


def test_an_image_says_its_version_and_revision_and_the_time_of_that(checkout: Path) -> None:
    found = labels(checkout, REPO_DIGEST="")
    assert re.fullmatch("[0-9a-f]{40}", found.pop("revision"))
    assert found == {"version": __version__, "created": "2026-01-02T01:04:05Z"}


def test_a_change_that_is_not_committed_is_no_revision(checkout: Path) -> None:
    (checkout / "recompress/__init__.py").open("a").write("\n")
    assert labels(checkout, REPO_DIGEST="")["revision"].endswith("-dirty")


def test_the_source_is_named_where_it_is_given_and_the_base_where_it_has_a_digest(checkout: Path) -> None:
    base = "docker.io/library/debian:forky-slim"
    found = labels(
        checkout, SOURCE="https://git.example.com/x", BASE_IMAGE=base, REPO_DIGEST=f"debian@{DIGEST}"
    )
    assert found["source"] == found["url"] == "https://git.example.com/x"
    assert (found["base.name"], found["base.digest"]) == (base, DIGEST)


def test_outside_of_a_repository_no_revision_is_claimed(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    found = labels(checkout, REPO_DIGEST="", GIT_CEILING_DIRECTORIES=str(checkout.parent))
    assert found == {"version": __version__}
