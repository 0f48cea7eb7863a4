from __future__ import annotations

import os
from pathlib import Path

import pytest

from recompress.jobs import default_jobs


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
    assert default_jobs(quota(tmp_path, **files)) == jobs


def test_layers_at_a_time_are_never_more_than_six(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    assert default_jobs(tmp_path) == 6
