"""The proof of a layer: those that the real skopeo made hold, but for some that no client can use.

They are made by tests/data/make_layers.py; each single lie in one is for the files beside this.
"""

from __future__ import annotations

import re

import pytest

from tests.tampering import Layer, Packed
from tests.unit.layer.refusal import refused

GOOD = ["kinds", "pax", "gnu", "old", "chunks", "large", "deep", "trailing", "empty", "no-end", "half-end"]


@pytest.mark.parametrize("name", GOOD)
def test_a_layer_that_skopeo_made_is_proven(name: str) -> None:
    packed = Packed.load(name)
    proof = packed.prove()
    assert proof.compressed_bytes == len(packed.blob)
    assert proof.uncompressed_bytes == len(Layer.load(name).stream)


def test_a_proof_counts_entries_and_chunks() -> None:
    def counted(name: str) -> tuple[int, int, int, int]:
        proof = Packed.load(name).prove()
        return proof.entries, proof.chunks, proof.compressed_bytes, proof.uncompressed_bytes

    assert counted("kinds") == (15, 5, 2490, 11776)
    assert counted("chunks") == (5, 15, 28256, 145920)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("chunk", [1, 13, 4096])
def test_the_size_of_the_chunks_of_the_blob_does_not_matter(name: str, chunk: int) -> None:
    packed = Packed.load(name)
    if chunk > 1 or len(packed.blob) < 10_000:
        assert packed.prove(chunk) == packed.prove()


@pytest.mark.parametrize("name", GOOD)
def test_a_layer_taken_apart_and_put_together_is_proven(name: str) -> None:
    Layer.load(name).pack().prove()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("not-utf-8", r"caf\\udce9: a name in it is not UTF-8"),
        ("link-with-size", "link: it is a hardlink with a size"),
        ("same-file-absolute", "/file: the layer has more than one entry for this path"),
        ("garbage-at-end", "there are bytes behind the end of its archive"),
        ("zeros-at-end", "there are bytes behind the end of its archive that clients fail on"),
        ("two-archives", "there are bytes behind the end of its archive"),
    ],
)
def test_a_layer_that_clients_cannot_pull_partially_says_why(name: str, reason: str) -> None:
    why_full = Packed.load(name).prove().why_full
    assert why_full is not None
    assert re.search(reason, why_full)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sparse-pax", "sparse: no zstd:chunked layer can hold a sparse file"),
        ("no-padding", "the decompressed stream has the digest"),
    ],
)
def test_a_layer_of_which_skopeo_makes_another_stream_is_refused(name: str, message: str) -> None:
    assert re.search(message, refused(Packed.load(name)))
