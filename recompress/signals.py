"""How a run ends early: by a signal, or by its deadline.

Both arrive in the main thread, as exceptions that are no Exception: no step takes them for a failure of its
own, and what is open is closed on the way out.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from recompress.errors import TimedOut

_TICK_SECONDS = 0.5
"""So often the main thread is woken. Python runs a handler between two of its steps: a signal that comes just
before a system call waits as long as that does, which can be a minute for a registry's answer."""


class Terminated(BaseException):
    """SIGTERM: Tekton cancels a TaskRun, Kubernetes evicts a pod."""


class _DeadlinePassed(BaseException):
    """The time for the whole run ran out; it leaves here as TimedOut."""


@contextmanager
def ended_by_signal_or_deadline(seconds: float | None) -> Iterator[None]:
    """Raise in the main thread: Terminated on SIGTERM, KeyboardInterrupt on SIGINT, TimedOut in the end."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # Once is enough: a second signal must not interrupt the cleaning up.
        too_late_to_end()
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    def on_tick(_number: int, _frame: FrameType | None) -> None:
        if time.monotonic() >= deadline:
            too_late_to_end()
            raise _DeadlinePassed

    deadline = time.monotonic() + (seconds or math.inf)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGALRM, on_tick)
    signal.setitimer(signal.ITIMER_REAL, min(seconds or math.inf, _TICK_SECONDS), _TICK_SECONDS)
    try:
        yield
    except _DeadlinePassed:
        raise TimedOut(f"the run did not end within {seconds:g} s: raise --timeout or --jobs") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if signal.getsignal(signal.SIGINT) is on_signal:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def too_late_to_end() -> None:
    """From here on neither a signal nor the deadline ends the run: what is left takes a moment.

    Once results are written, the run must not end with anything but success.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
