"""How many layers to work on at a time, where nobody says so."""

from __future__ import annotations

import math
import os
from pathlib import Path

_MOST_JOBS = 6
"""skopeo's own default; each layer at a time costs about 170 MB of memory."""


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
