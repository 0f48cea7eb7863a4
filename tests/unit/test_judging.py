"""What comes of layers that are judged by their tables alone, in a registry of the tests' own."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest

from recompress import plan
from recompress.errors import NotFound, VerificationFailed
from recompress.image import Image
from recompress.judging import Judge
from recompress.layer import Verdict
from recompress.manifest import Descriptor
from recompress.progress import PlainReporter
from recompress.registry import Connection, Tls
from recompress.registry.client import RepositoryClient
from recompress.reuse import Offer
from tests.fake_registry import FakeRegistry

Layers = tuple[Descriptor, ...]


@pytest.fixture
def twin(registry: FakeRegistry, client: RepositoryClient) -> Image:
    _, twin = registry.add_gzip_and_chunked("chunks", "pax")
    return plan.resolve(client, twin, None, is_twin=True)


@pytest.fixture
def outcomes(client: RepositoryClient, twin: Image) -> Callable[[Layers], list[object]]:
    """What comes of these layers in place of the twin's."""

    def call(layers: Layers) -> list[object]:
        judge = Judge(
            source=twin,
            source_client=client,
            destination=client,
            connection=Connection((), Tls(verify=False), attempts=1),
            provers=None,
            jobs=2,
            reporter=PlainReporter(io.StringIO()),
        )
        pairs = zip(twin.config.diff_ids, layers, strict=True)
        offers = [Offer(diff_id, layer, client.repository, "") for diff_id, layer in pairs]
        found = judge.outcomes(offers)
        assert [offer for offer, _ in found] == offers
        return [outcome for _, outcome in found]

    return call


def test_each_layer_has_its_verdict(twin: Image, outcomes: Callable[[Layers], list[object]]) -> None:
    assert [type(outcome) for outcome in outcomes(twin.manifest.layers)] == [Verdict, Verdict]


def test_a_layer_that_is_gone_is_no_reason_not_to_take_the_others(
    registry: FakeRegistry, twin: Image, outcomes: Callable[[Layers], list[object]]
) -> None:
    del registry.blobs[str(twin.manifest.layers[0].digest)]
    gone, there = outcomes(twin.manifest.layers)
    assert isinstance(gone, NotFound)
    assert isinstance(there, Verdict)


def test_a_layer_of_another_size_than_a_manifest_says_is_not_taken(
    twin: Image, outcomes: Callable[[Layers], list[object]]
) -> None:
    first, second = twin.manifest.layers
    wrong, right = outcomes((replace(first, size=first.size + 1), second))
    assert isinstance(wrong, VerificationFailed)
    assert f"has {first.size} bytes, and not {first.size + 1}" in str(wrong)
    assert isinstance(right, Verdict)
