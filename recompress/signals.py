"""How a run ends early: by a signal, or by its deadline.

Both arrive in the main thread, as exceptions that are no Exception: no step takes them for a failure of its
own, and what is open is closed on the way out.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from recompress.errors import TimedOut


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

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        too_late_to_end()
        raise _DeadlinePassed

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
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

    Once results are written, nothing but success may be told.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 0)
