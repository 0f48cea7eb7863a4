"""A short round of `make differential`: random layers and forgeries, the rules, `recompress`, and podman."""

from __future__ import annotations

import itertools

import pytest

from tests.differential.experiment import Result, experiment
from tests.differential.forging import Outcome, random_forgeries, try_forgeries, try_twins
from tests.differential.found import FORGED, FOUND
from tests.differential.layers import random_images
from tests.differential.pulls import Laboratory, stack_of
from tests.integration.registries import Registry

SEED, LAYERS, FORGERIES = "a short round", 32, 24


def test_podman_gets_the_same_files_from_the_twins_of_random_images(registry: Registry) -> None:
    results = experiment(Laboratory(registry), [stack_of(image) for image in random_images(SEED, LAYERS)])
    assert [result.wrong for result in results if result.wrong] == []
    pulled = [why is None for result in results for why in result.why_full]
    assert pulled.count(True) >= LAYERS / 4
    assert pulled.count(False) >= LAYERS / 8


def test_podman_gets_the_same_files_from_forged_twins_that_are_taken_for_twins(registry: Registry) -> None:
    forgeries = itertools.islice(random_forgeries(SEED, random_images(SEED, LAYERS)), FORGERIES)
    outcomes = try_forgeries(Laboratory(registry), list(forgeries))
    assert [outcome.wrong for outcome in outcomes if outcome.wrong] == []
    codes = [outcome.code for outcome in outcomes]
    assert codes.count(0) >= 2
    assert codes.count(6) >= FORGERIES / 3


@pytest.fixture(scope="module")
def found(registry: Registry) -> dict[str, Result]:
    return dict(zip(FOUND, experiment(Laboratory(registry), list(FOUND.values())), strict=True))


@pytest.mark.parametrize("name", FOUND)
def test_podman_gets_the_same_files_from_the_twin_of_an_image_that_was_wrong_once(
    name: str, found: dict[str, Result]
) -> None:
    assert found[name].wrong is None
    assert any(found[name].difference), "a partial pull of it gives the same files"


@pytest.fixture(scope="module")
def forged(registry: Registry) -> dict[str, Outcome]:
    return dict(zip(FORGED, try_twins(Laboratory(registry), list(FORGED.values())), strict=True))


@pytest.mark.parametrize("name", FORGED)
def test_a_forgery_that_was_taken_for_a_twin_once_is_refused(name: str, forged: dict[str, Outcome]) -> None:
    assert (forged[name].code, forged[name].wrong) == (6, None)
