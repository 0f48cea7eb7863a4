"""A registries.conf of the machine or the user is for podman: recompress reads the registry that is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import images
from tests.images import HandmadeImage
from tests.integration.conftest import Run
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry
from tests.integration.twins import assert_twin

IMAGE = images.gzip_image({"a": b"a" * 1000})
SYSTEM = Path("/etc/containers")
Push = Callable[[HandmadeImage], str]


def settings(host: str, kind: str, other: str = "") -> str:
    """A table for this host that makes skopeo speak to another one, or to none."""
    lines = {
        "block": f'location = "{host}"\nblocked = true',
        "rewrite": f'location = "{other}"',
        "mirror": f'location = "{host}"\n[[registry.mirror]]\nlocation = "{other}"\ninsecure = true',
    }
    return f'[[registry]]\nprefix = "{host}"\n{lines[kind]}\n'


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with a place for the user's files."""
    directory = tmp_path / "home"
    (directory / ".config/containers/registries.conf.d").mkdir(parents=True)
    return directory


@pytest.fixture
def system_file() -> Iterator[Path]:
    """A file in the system's registries.conf.d, gone after the test."""
    file = SYSTEM / "registries.conf.d" / "999-tests.conf"
    yield file
    file.unlink()


@pytest.mark.parametrize("kind", ["block", "rewrite", "mirror"])
def test_a_users_registries_conf_is_not_followed(
    run: Run, registry: Registry, proxy: Proxy, repository: str, push: Push, home: Path, kind: str
) -> None:
    text = settings(registry.host, kind, proxy.host)
    (home / ".config/containers/registries.conf").write_text(text)
    outcome = run(push(IMAGE), HOME=str(home)).succeeded()
    assert_twin(registry, repository, IMAGE.digest, outcome.results)
    assert proxy.server.requests == []


def test_a_drop_in_of_the_system_is_not_followed(
    run: Run, registry: Registry, push: Push, system_file: Path
) -> None:
    system_file.write_text(settings(registry.host, "block"))
    run(push(IMAGE)).succeeded()
