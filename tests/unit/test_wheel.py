"""The wheel: what is in it, and that it runs where the source tree is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from recompress import __version__

ROOT = Path(__file__).parents[2]


def output_of(command: list[str], directory: Path, **env: str) -> str:
    ended = subprocess.run(
        command,
        cwd=directory,
        # Without PYTHONPATH, which may name the source tree.
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def pip(directory: Path, *arguments: str) -> None:
    output_of([sys.executable, "-m", "pip", *arguments, "--no-index", "--no-deps"], directory)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of the tree: a build writes into it, and it may be read-only."""
    tree = tmp_path_factory.mktemp("tree")
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, tree)
    for package in ("recompress", "tests", "bench"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    pip(tree, "wheel", "--no-build-isolation", "--wheel-dir=dist", ".")
    (built,) = (tree / "dist").iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the wheel is installed; what it depends on is where these tests run."""
    target = tmp_path_factory.mktemp("installed")
    pip(target, "install", f"--target={target}", str(wheel))
    return target


def test_every_file_of_the_package_is_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    package = {path.relative_to(ROOT).as_posix() for path in (ROOT / "recompress").rglob("*.py")}
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in names if ".dist-info/" not in name} == package | {"recompress/py.typed"}


def test_the_installed_command_tells_its_version(installed: Path, tmp_path: Path) -> None:
    command = [str(installed / "bin" / "recompress"), "--version"]
    assert output_of(command, tmp_path, PYTHONPATH=str(installed)) == f"recompress {__version__}\n"


@pytest.mark.parametrize("name", ["recompress.layer", "recompress.registry"])
def test_both_wings_are_imported_from_what_is_installed(installed: Path, tmp_path: Path, name: str) -> None:
    command = [sys.executable, "-c", f"import {name}; print({name}.__file__)"]
    found = Path(output_of(command, tmp_path, PYTHONPATH=str(installed)).strip())
    assert found == installed.joinpath(*name.split("."), "__init__.py")
