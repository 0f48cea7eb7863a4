from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recompress import limits
from recompress.errors import TimedOut


@pytest.fixture(autouse=True)
def _same_signals_afterwards() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4)))


def quota(root: Path, **files: str) -> Path:
    (root / "cpu").mkdir()
    for name, content in files.items():
        (root / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs", "cpu.cfs")).write_text(
            content
        )
    return root


@pytest.mark.usefixtures("cpus")
@pytest.mark.parametrize(
    ("files", "jobs"),
    [
        ({}, 4),
        ({"cpu_max": "max 100000\n"}, 4),
        ({"cpu_max": "200000 100000\n"}, 2),
        ({"cpu_max": "150000 100000\n"}, 2),
        ({"cpu_max": "10000 100000\n"}, 1),
        ({"cpu_max": "800000 100000\n"}, 4),
        ({"cpu_max": "nonsense"}, 4),
        ({"cpu_max": "100000 0"}, 4),
        ({"cpu__cfs_quota_us": "300000\n", "cpu__cfs_period_us": "100000\n"}, 3),
        ({"cpu__cfs_quota_us": "-1\n", "cpu__cfs_period_us": "100000\n"}, 4),
    ],
)
def test_layers_at_a_time_are_the_cpus_that_the_cgroup_allows(
    tmp_path: Path, files: dict[str, str], jobs: int
) -> None:
    assert limits.default_jobs(quota(tmp_path, **files)) == jobs


def test_layers_at_a_time_are_never_more_than_six(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert limits.default_jobs(tmp_path) == 6


def test_sigterm_ends_the_run_and_a_second_one_does_not_disturb_the_cleaning_up() -> None:
    cleaned_up = False
    with pytest.raises(limits.Terminated), limits.ended_by_signal_or_deadline(None):  # noqa: PT012
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned_up = True
    assert cleaned_up


def test_no_step_can_take_sigterm_for_a_failure_of_its_own() -> None:
    assert not issubclass(limits.Terminated, Exception)


def test_after_its_time_a_run_is_ended_with_what_to_do() -> None:
    with (
        pytest.raises(TimedOut, match=r"did not end within 0\.01 s: raise --timeout or --jobs"),
        limits.ended_by_signal_or_deadline(0.01),
    ):
        time.sleep(60)


def test_a_run_that_ends_in_time_is_not_ended_later() -> None:
    with limits.ended_by_signal_or_deadline(0.05):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
