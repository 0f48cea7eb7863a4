"""A short round of `make differential`: the rules judge random layers, and podman pulls them."""

from __future__ import annotations

import pytest

from tests.differential.experiment import Result, experiment
from tests.differential.found import FOUND
from tests.differential.layers import random_images
from tests.differential.pulls import Laboratory
from tests.integration.registries import Registry

SEED, LAYERS = "a short round", 24


def test_podman_gets_the_same_files_from_the_twins_of_random_images(registry: Registry) -> None:
    stacks = [tuple(layer.stream for layer in image) for image in random_images(SEED, LAYERS)]
    results = experiment(Laboratory(registry), stacks)
    assert [result.wrong for result in results if result.wrong] == []
    pulled = [why is None for result in results for why in result.why_full]
    assert pulled.count(True) >= LAYERS / 4
    assert pulled.count(False) >= LAYERS / 8


@pytest.fixture(scope="module")
def found(registry: Registry) -> dict[str, Result]:
    return dict(zip(FOUND, experiment(Laboratory(registry), list(FOUND.values())), strict=True))


@pytest.mark.parametrize("name", FOUND)
def test_podman_gets_the_same_files_from_the_twin_of_an_image_that_was_wrong_once(
    name: str, found: dict[str, Result]
) -> None:
    assert found[name].wrong is None
    assert any(found[name].difference), "a partial pull of it gives the same files"
