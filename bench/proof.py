"""The proof alone: `prove_layer` on bytes in memory, where no registry can be slower."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bench.processes import run, say
from bench.runs import LOW_LEVEL
from bench.setting import Figures, Setting
from bench.sources import layered, push, real_files, tar, tar_of
from recompress.manifest import Descriptor
from recompress.reference import Digest
from tests.tampering import Packed

_MIB = 2**20
_TINY_FILES = 20_000


def proof(setting: Setting) -> Figures:
    """Seconds in each round of one layer of ordinary files, of one of tiny files, and of one on each CPU."""
    (files,) = real_files(1, 180 * _MIB)
    ordinary = _packed(setting, "ordinary", tar_of(*files))
    tiny = _packed(setting, "tiny", tar(_tiny_files()))
    cpus = len(os.sched_getaffinity(0))
    figures: Figures = {"cpus": cpus, "one": [], "tiny": [], "several": []}
    for _ in range(setting.rounds):
        figures["one"].append(_seconds(ordinary))
        figures["tiny"].append(_seconds(tiny))
        figures["several"].append(_seconds(ordinary, cpus))
    say("  " + ", ".join(f"{what}: {figures[what][-1]:.2f} s" for what in ("one", "tiny", "several")))
    found = ordinary.prove(), tiny.prove()
    sizes = {"uncompressed": found[0].uncompressed_bytes, "entries": found[0].entries}
    return {**figures, "ordinary": sizes, "tiny_entries": found[1].entries}


def _packed(setting: Setting, name: str, stream: bytes) -> Packed:
    """The layer that skopeo makes of a tar stream."""
    source = push(setting, f"proof-{name}", layered([stream]))
    run(setting.skopeo(source.reference, setting.repository(f"proof-{name}-twin"), LOW_LEVEL))
    repository = f"bench/proof-{name}-twin"
    (layer,) = setting.registry.document(repository, "twin")["layers"]
    descriptor = Descriptor(
        layer["mediaType"], Digest.parse(layer["digest"]), layer["size"], layer["annotations"]
    )
    return Packed(descriptor, Digest.of(stream), setting.registry.blob(repository, layer["digest"]))


def _seconds(layer: Packed, at_once: int = 1) -> float:
    """The seconds of the proof of a layer, in a process of its own or in several at once."""
    # As the provers do: one that is alone has a thread to help it.
    proof = layer.prove if at_once > 1 else partial(_with_helper, layer)
    workers = [multiprocessing.get_context("fork").Process(target=proof) for _ in range(at_once)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not any(worker.exitcode for worker in workers)  # noqa: S101 # a proof that fails is fast
    return time.monotonic() - began


def _with_helper(layer: Packed) -> None:
    with ThreadPoolExecutor(1) as helper:
        layer.prove(helper=helper)


def _tiny_files() -> Iterator[tuple[str, bytes]]:
    for number in range(_TINY_FILES):
        yield f"{number // 1000:03}/file-{number:06}.txt", os.urandom(256).hex().encode() * 2
