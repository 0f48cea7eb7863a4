"""How long a run may take, and how many CPUs it may use."""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from recompress.errors import TimedOut

_MOST_JOBS = 6
"""skopeo's own default; each layer at a time costs about 170 MB of memory."""


class Terminated(BaseException):
    """SIGTERM: Tekton cancels a TaskRun, Kubernetes evicts a pod. Not an Exception, so that no
    step takes it for a failure of its own; what is open is closed on the way out."""


@contextmanager
def ended_by_signal_or_deadline(seconds: float | None) -> Iterator[None]:
    """Raise in the main thread: Terminated on SIGTERM, KeyboardInterrupt on SIGINT, TimedOut in the end."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # Once is enough: a second signal must not interrupt the cleaning up.
        too_late_to_end()
        raise KeyboardInterrupt if number == signal.SIGINT else Terminated

    def on_alarm(_number: int, _frame: FrameType | None) -> None:
        raise TimedOut(f"the run did not end within {seconds:g} s: raise --timeout or --jobs")

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    signal.signal(signal.SIGALRM, on_alarm)
    signal.setitimer(signal.ITIMER_REAL, seconds or 0)
    try:
        yield
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


def default_jobs(root: Path = Path("/sys/fs/cgroup")) -> int:
    """The CPUs this process may use, by affinity and by cgroup quota (v2, then v1); 1 to 6."""
    cpus = float(len(os.sched_getaffinity(0)))
    for quota_file, period_file in (("cpu.max", None), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, _, period = (root / quota_file).read_text().partition(" ")
            if period_file:
                period = (root / period_file).read_text()
            if float(quota) > 0:
                cpus = min(cpus, float(quota) / float(period))
            break
        except (OSError, ValueError, ZeroDivisionError):
            # Not this version of cgroups, or "max".
            continue
    return max(1, min(_MOST_JOBS, math.ceil(cpus)))
