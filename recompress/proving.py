"""The proof by content of several layers at once, each core at work on one.

The proof is arithmetic in Python, so threads would wait for each other; these are processes. They
are forked before the program has any threads, which makes that safe and costs no start-up. A layer that is
more than a core's share of all the work has a thread to help with the hashing, which is not Python.
"""

from __future__ import annotations

import ctypes
import gc
import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from ctypes import Array, c_uint64
from dataclasses import dataclass, replace
from multiprocessing.sharedctypes import RawArray
from typing import ParamSpec, TypeVar

from recompress.errors import RecompressError, Unavailable, VerificationFailed
from recompress.jobs import default_jobs
from recompress.layer import MAX_UNCOMPRESSED, LayerProof, prove_layer, prove_stream
from recompress.manifest import Descriptor
from recompress.progress import Reporter
from recompress.reference import Digest, Repository
from recompress.registry import Connection, RepositoryClient, retrying, ssl_context
from recompress.tables import fetched, layout_of, with_annotations

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_MOST_WORKERS = 4
"""Each takes some 25 MB: with these, all of this program stays below 150 MB."""

_SLOTS = 1024
_POLL_SECONDS = 0.5
_PR_SET_PDEATHSIG = 1
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)


@dataclass(frozen=True, slots=True)
class Claim:
    """That a zstd layer in a repository is what a diff_id stands for.

    `max_uncompressed` is the most bytes it may decompress to. Whether it has to be zstd:chunked, by its
    footer at least, is `is_chunked`. One that `is_new` was pushed by this run, so it has to be there. It is
    read with the credentials for its repository, or with those of another one.
    """

    repository: Repository
    layer: Descriptor
    diff_id: Digest
    max_uncompressed: int = MAX_UNCOMPRESSED
    is_chunked: bool = True
    is_new: bool = False
    credentials_of: Repository | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is said of it: who names a base may not be allowed to know what is there."""
        return self.credentials_of is not None


class Provers:
    """Processes that prove claims. Make them before any thread is started; they end with the `with`.

    Raises Unavailable where they cannot be started, or one is killed by somebody else.
    """

    def __init__(self, jobs: int, connection: Connection) -> None:
        self._connection = connection
        # Bytes read of each layer under way, written by the workers and read for the progress.
        self._done = RawArray(c_uint64, _SLOTS)
        # What is there before the fork is there once, for all of them.
        ssl_context(connection.tls)
        gc.freeze()
        workers = min(jobs, _MOST_WORKERS)
        self._executor = ProcessPoolExecutor(
            workers, multiprocessing.get_context("fork"), _start_worker, (os.getpid(), self._done)
        )
        # What a signal's handler raises in what Python does after a fork, Python throws away.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            # The first piece of work makes the executor fork all of its workers.
            self._submit(os.getpid).result()
        except BrokenProcessPool:
            raise _killed() from None
        except (OSError, RuntimeError) as error:
            # No more processes or threads; those that are there already would be waited for in the end.
            _kill_all()
            raise Unavailable(
                f"the processes that prove layers cannot be started ({error}): allow more "
                "processes, or lower --jobs"
            ) from None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)

    def __enter__(self) -> Provers:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            _kill_all()
        # Those that were killed are waited for, too: else Python, on its way out, can write to a pipe that
        # the executor's thread is closing.
        self._executor.shutdown(wait=True, cancel_futures=True)

    def prove(self, claims: Iterable[Claim], reporter: Reporter) -> dict[Claim, LayerProof | RecompressError]:
        """Read each layer once and prove it; returns what came of each claim.

        That is the proof, VerificationFailed, or the error for which the layer cannot be read.
        """
        pending: dict[Future[LayerProof], tuple[int, Claim]] = {}
        outcomes: dict[Claim, LayerProof | RecompressError] = {}
        # The largest first: nobody is to wait for a large one that was begun last.
        by_size = sorted(dict.fromkeys(claims), key=lambda claim: claim.layer.size, reverse=True)
        share = sum(claim.layer.size for claim in by_size) / default_jobs()
        for number, claim in enumerate(by_size):
            slot = number % _SLOTS
            self._done[slot] = 0
            future = self._submit(_prove, self._connection, claim, slot, claim.layer.size > share)
            pending[future] = (slot, claim)
        while pending:
            ended, _ = wait(pending, _POLL_SECONDS, FIRST_COMPLETED)
            for slot, claim in pending.values():
                if (done := self._done[slot]) and not claim.is_quiet:
                    reporter.update(_title(claim), done, claim.layer.size)
            for future in ended:
                _, claim = pending.pop(future)
                outcomes[claim] = outcome = _outcome(future)
                if not claim.is_quiet:
                    is_proven = isinstance(outcome, LayerProof)
                    reporter.finish(_title(claim), "proven" if is_proven else "failed")
        return outcomes

    def _submit(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        try:
            return self._executor.submit(work, *args, **kwargs)
        except BrokenProcessPool:
            # One was killed while there was nothing to prove.
            raise _killed() from None


def _title(claim: Claim) -> str:
    return f"proof of {claim.layer.digest.short}"


def _outcome(future: Future[LayerProof]) -> LayerProof | RecompressError:
    try:
        return future.result()
    except RecompressError as error:
        return error
    except BrokenProcessPool:
        raise _killed() from None


def _killed() -> Unavailable:
    return Unavailable(
        "a process that proves a layer was killed, most likely because memory ran out: "
        "allow more of it, or lower --jobs"
    )


def _kill_all() -> None:
    for worker in multiprocessing.active_children():
        worker.kill()


_done: Array[c_uint64]
"""In a worker, what it got from its Provers at the fork."""


def _start_worker(parent: int, done: Array[c_uint64]) -> None:
    global _done  # noqa: PLW0603 what a worker is given to do is pickled, and this cannot be
    _done = done
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    # Ctrl-C reaches all processes of a terminal; the parent says what there is to say.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    # A killed parent must leave nothing behind, and a forked worker never sees its pipe closed.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        # It was killed before that was asked for.
        os._exit(1)


def _prove(connection: Connection, claim: Claim, slot: int, with_helper: bool) -> LayerProof:
    with ExitStack() as stack:
        helper = stack.enter_context(ThreadPoolExecutor(1)) if with_helper else None
        if claim.is_quiet:
            # Another try would be a warning.
            connection = replace(connection, attempts=1)
        client = stack.enter_context(connection.client(claim.repository, claim.credentials_of))
        if claim.is_new:
            client.expect(claim.layer.digest)
        return retrying(connection.attempts, lambda: _prove_once(client, claim, slot, helper))


def _prove_once(client: RepositoryClient, claim: Claim, slot: int, helper: Executor | None) -> LayerProof:
    layer, diff_id, limit = claim.layer, claim.diff_id, claim.max_uncompressed
    layout = layout_of(client, layer)
    if layout is None and claim.is_chunked:
        raise VerificationFailed(f"layer {layer.digest}: it is plain zstd, without a table of contents")
    if layout is None or layout.is_too_large:
        with client.blob(layer.digest) as chunks:
            return prove_stream(layer, diff_id, _counted(chunks, slot), layout, limit, helper=helper)
    with fetched(client, layer, layout) as (toc, tar_split), client.blob(layer.digest) as chunks:
        full, blob = with_annotations(layer, layout), _counted(chunks, slot)
        return prove_layer(full, diff_id, blob, toc, tar_split, limit, helper=helper)


def _counted(chunks: Iterator[bytes], slot: int) -> Iterator[bytes]:
    _done[slot] = 0
    for chunk in chunks:
        _done[slot] += len(chunk)
        yield chunk
