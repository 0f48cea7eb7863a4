from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.images import HandmadeImage
from tests.integration.command import Outcome, recompress
from tests.integration.proxy import Proxy, proxy_to
from tests.integration.registries import Registry, private, running
from tests.integration.token_server import TokenServer, token_registry


@pytest.fixture(scope="session")
def registry() -> Iterator[Registry]:
    """A registry without TLS that anybody may use."""
    with running() as started:
        yield started


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with TLS, a CA of its own and an account."""
    with private(tmp_path_factory.mktemp("private")) as started:
        yield started


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenServer:
    """A token server for the tests of a module."""
    return TokenServer(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def door(tokens: TokenServer, registry: Registry) -> Iterator[Registry]:
    """The registry by its door where tokens are wanted."""
    with token_registry(tokens, registry) as started:
        yield started


@pytest.fixture
def proxy(registry: Registry) -> Iterator[Proxy]:
    """A way to the registry on which a test can put faults."""
    with proxy_to(registry) as started:
        yield started


@pytest.fixture
def repository() -> str:
    """The name of a repository that no other test uses."""
    return f"tests/{uuid.uuid4().hex[:12]}"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """An empty results directory."""
    directory = tmp_path / "results"
    directory.mkdir()
    return directory


Run = Callable[..., Outcome]


@pytest.fixture
def run(results: Path) -> Run:
    """`recompress run` against a registry without TLS, with a results directory and a JSON report."""

    def call(image: str, *arguments: str, **more: str) -> Outcome:
        fixed = ("--no-tls-verify", "--output=json")
        return recompress("run", image, *fixed, *arguments, results=results, env=more)

    return call


@pytest.fixture
def push(registry: Registry, repository: str) -> Callable[[HandmadeImage], str]:
    """Pushes an image made by hand and returns its reference."""

    def call(image: HandmadeImage) -> str:
        return f"{registry.host}/{repository}@{registry.push(repository, image)}"

    return call
