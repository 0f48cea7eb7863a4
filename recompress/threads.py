"""Work done in several threads at a time, for which nobody waits when the run is ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def mapped(function: Callable[[T], R], items: Iterable[T], at_a_time: int) -> list[R]:
    """What `function` returns for each item, in the order of the items.

    Raises what it raises for the first item that it fails on. Work under way is then left to itself, as it is
    when the run is ended: a thread that waits until a registry may be asked again cannot be woken, and
    Python's executors would wait for it, even on the way out.
    """
    todo: deque[tuple[Future[R], T]] = deque((Future(), item) for item in items)
    futures = [future for future, _ in todo]

    def work() -> None:
        while True:
            try:
                future, item = todo.popleft()
            except IndexError:
                return
            try:
                future.set_result(function(item))
            except BaseException as error:
                future.set_exception(error)

    for _ in range(min(at_a_time, len(futures))):
        Thread(target=work, daemon=True).start()
    try:
        return [future.result() for future in futures]
    finally:
        todo.clear()
