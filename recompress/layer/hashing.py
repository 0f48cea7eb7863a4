"""Hashing that another thread can do.

Threads of Python take turns but where they hash or decompress, and each change of turns costs time. So
another thread is given large batches.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Executor, Future

BATCH_BYTES = 1024 * 1024
_OVERHEAD_BYTES = 64
"""What a piece counts for besides its bytes, so that a batch of the smallest ones is no larger in memory."""


class Sha256:
    """The sha256 of bytes given one after the other, computed by a helper where there is one.

    At most two batches wait for it at a time. A helper may work for several of these.
    """

    def __init__(self, helper: Executor | None = None) -> None:
        self._sha256 = hashlib.sha256()
        self._helper = helper
        self._batch: list[bytes] = []
        self._size = 0
        self._handed_over: Future[None] | None = None

    def update(self, data: bytes) -> None:
        """The next bytes."""
        if self._helper is None:
            self._sha256.update(data)
            return
        self._batch.append(data)
        self._size += len(data) + _OVERHEAD_BYTES
        if self._size >= BATCH_BYTES:
            self._wait()
            self._handed_over = self._helper.submit(self._hash, self._batch)
            self._batch, self._size = [], 0

    def hexdigest(self) -> str:
        """The digest of all bytes until now."""
        self._wait()
        self._hash(self._batch)
        self._batch, self._size = [], 0
        return self._sha256.hexdigest()

    def _hash(self, batch: list[bytes]) -> None:
        # In one piece, for one change of turns.
        self._sha256.update(b"".join(batch))

    def _wait(self) -> None:
        if self._handed_over:
            self._handed_over.result()
            self._handed_over = None
