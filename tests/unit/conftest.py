from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import tenacity

from recompress.registry.client import RepositoryClient
from tests.fake_registry import FakeRegistry, fake_registry


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as running:
        yield running


@pytest.fixture
def client(registry: FakeRegistry) -> Iterator[RepositoryClient]:
    with registry.client() as open_client:
        yield open_client


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that were waited between tries; nothing really waits."""
    seconds: list[float] = []
    monkeypatch.setattr(tenacity.nap, "time", SimpleNamespace(sleep=seconds.append))
    return seconds
