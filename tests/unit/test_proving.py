"""The proof in processes of its own, as the command runs it."""

from __future__ import annotations

import errno
import io
import multiprocessing
import os
import subprocess
import sys
from dataclasses import replace
from typing import NoReturn

import pytest

from recompress import proving
from recompress.errors import Unavailable, VerificationFailed
from recompress.manifest import Descriptor
from recompress.progress import PlainReporter
from recompress.proving import Claim, Provers
from recompress.reference import Digest
from recompress.registry.client import Connection
from recompress.registry.transport import Tls
from tests.fake_registry import FakeRegistry
from tests.tampering import DESCRIBED, Packed

CONNECTION = Connection((), Tls(verify=False), 1)
REPORTER = PlainReporter(io.StringIO())


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_the_workers_have_read_of_each_layer_is_reported(registry: FakeRegistry, jobs: int) -> None:
    names = ("chunks", "no-end", "large")
    source, twin = registry.add_gzip_and_chunked(*names)
    program = [sys.executable, "-m", "recompress", "verify", f"--jobs={jobs}", "--no-tls-verify"]
    ended = subprocess.run([*program, str(source), str(twin)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for name in names:
        title = f"proof of {Packed.load(name).layer.digest.short}"
        # What makes a proof start, in the progress, is that a worker counted bytes of its layer.
        assert f"] {title}: started, " in ended.stderr
        assert f"] {title}: proven after " in ended.stderr


def claim_of(registry: FakeRegistry) -> Claim:
    packed = Packed.load("chunks")
    registry.blobs[str(packed.layer.digest)] = packed.blob
    return Claim(registry.repository, packed.layer, Digest.parse(DESCRIBED["chunks"]["diffId"]))


@pytest.mark.parametrize(
    ("sizes", "cores", "with_helper"),
    [
        ([5], 1, []),
        ([5], 2, [5]),
        ([5, 5], 2, []),
        ([9, 3, 2, 1], 2, [9]),
        ([4, 3, 2, 1], 2, []),
        ([5, 5], 4, [5, 5]),
        ([9, 1, 1], 4, [9]),
    ],
)
def test_a_layer_that_is_more_than_a_cores_share_has_a_helper(
    registry: FakeRegistry,
    monkeypatch: pytest.MonkeyPatch,
    sizes: list[int],
    cores: int,
    with_helper: list[int],
) -> None:
    def prove(layer: Descriptor, *_: object, helper: object) -> NoReturn:
        raise VerificationFailed(f"{layer.size} {helper is not None}")

    # The workers are forked, and have these too.
    monkeypatch.setattr(proving, "prove_stream", prove)
    monkeypatch.setattr(proving, "layout_of", lambda *_: None)
    monkeypatch.setattr(proving, "default_jobs", lambda: cores)
    claim = claim_of(registry)
    claims = [
        replace(
            claim, layer=replace(claim.layer, size=size), diff_id=Digest.of(b"%d" % number), is_chunked=False
        )
        for number, size in enumerate(sizes)
    ]
    with Provers(2, CONNECTION) as provers:
        said = map(str, provers.prove(claims, REPORTER).values())
    assert sorted(said) == sorted(f"{size} {size in with_helper}" for size in sizes)


def test_a_prover_that_is_killed_while_it_has_nothing_to_do_is_told(registry: FakeRegistry) -> None:
    claim = claim_of(registry)
    with Provers(1, CONNECTION) as provers:
        (prover,) = multiprocessing.active_children()
        prover.kill()
        # Whether the loss is noticed before there is something to prove again, or by that.
        for _ in range(2):
            with pytest.raises(Unavailable, match="was killed, most likely because memory ran out"):
                provers.prove([claim], REPORTER)
            prover.join()


def test_provers_that_cannot_be_started_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", fork)
    with pytest.raises(Unavailable, match=r"cannot be started .*Resource temporarily unavailable"):
        Provers(1, CONNECTION)
