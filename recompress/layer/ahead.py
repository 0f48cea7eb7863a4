"""Work that another thread does ahead of its reader.

Threads of Python work at the same time only where they decompress or hash: all else is for one at a time, and
whoever waits for its turn may wait long. So what is handed over are batches.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")

_BATCHES = 4
_BATCH_BYTES = 256 * 1024
_OVERHEAD_BYTES = 1024
"""What an item counts for besides its size: there are no endless batches of empty ones."""


def ahead(items: Generator[T], size: Callable[[T], int]) -> Generator[T]:
    """The same items, `size` bytes each, and in the end what is raised: made by a thread, in bounded memory.

    `close` waits for the thread, and closes `items`.
    """
    ready: SimpleQueue[list[T]] = SimpleQueue()
    free = Semaphore(_BATCHES)
    closed = False
    failure: BaseException | None = None

    def work() -> None:
        nonlocal failure
        batch: list[T] = []
        left = _BATCH_BYTES
        try:
            for item in items:
                batch.append(item)
                left -= size(item) + _OVERHEAD_BYTES
                if left <= 0:
                    ready.put(batch)
                    batch, left = [], _BATCH_BYTES
                    free.acquire()
                    if closed:
                        break
        except BaseException as error:
            failure = error
        finally:
            items.close()
        if batch:
            ready.put(batch)
        ready.put([])

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while batch := ready.get():
            free.release()
            yield from batch
        if failure:
            raise failure
    finally:
        closed = True
        free.release()
        thread.join()
