"""Standard output and standard error that are closed or full, and the results of a run that says so."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from recompress import cli, results
from recompress.report import RunReport
from tests import images
from tests.fake_registry import FakeRegistry
from tests.unit.test_report import report

IMAGE = images.gzip_image({"a": b"a"})
NOT_WRITTEN = "error: the report cannot be written to standard output ({}); no results were written"
OLD = ("IMAGE_URL", "IMAGE_DIGEST", "IMAGE_REF")


@pytest.fixture
def old_results(tmp_path: Path) -> Path:
    """A results directory with what an earlier run has left."""
    directory = tmp_path / "results"
    directory.mkdir()
    results.write(directory, dict.fromkeys(OLD, "old"))
    return directory


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> RunReport:
    """What each run comes to."""
    done = report()

    def run(*_: Any) -> RunReport:
        return done

    monkeypatch.setattr("recompress.run.run", run)
    return done


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "recompress", *arguments]


def code_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The exit code of the command line, in this process."""
    monkeypatch.setattr(sys, "argv", ["recompress", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code or 0


def inspect(registry: FakeRegistry, **streams: Any) -> subprocess.CompletedProcess[bytes]:
    image = str(registry.reference(registry.add(IMAGE)))
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(command("inspect", image, "--no-tls-verify"), check=False, **given)


@pytest.fixture
def broken_pipe() -> Iterator[int]:
    """A pipe whose reader is gone."""
    ours, theirs = os.pipe()
    os.close(ours)
    yield theirs
    os.close(theirs)


def test_a_full_standard_output_is_told(registry: FakeRegistry) -> None:
    with open("/dev/full", "w") as full:
        ended = inspect(registry, stdout=full)
    assert ended.returncode == 2
    assert ended.stderr.decode().splitlines()[-1] == NOT_WRITTEN.format("No space left on device")


def test_a_standard_output_that_nobody_reads_is_told(registry: FakeRegistry, broken_pipe: int) -> None:
    ended = inspect(registry, stdout=broken_pipe)
    assert ended.returncode == 2
    assert ended.stderr.decode().splitlines()[-1] == NOT_WRITTEN.format("Broken pipe")


def test_a_standard_output_that_is_closed_is_told_before_anything_is_asked(registry: FakeRegistry) -> None:
    ended = inspect(registry, stdout=None, preexec_fn=lambda: os.close(1))
    assert ended.returncode == 2
    assert ended.stderr == b"error: standard output is closed, so the report cannot be written\n"
    assert registry.server.requests == []


def test_no_run_fails_for_a_log_that_cannot_be_written(registry: FakeRegistry, broken_pipe: int) -> None:
    with open("/dev/full", "w") as full:
        ends = [
            inspect(registry, stderr=full),
            inspect(registry, stderr=broken_pipe),
            inspect(registry, stderr=None, preexec_fn=lambda: os.close(2)),
            inspect(registry, stdin=None, preexec_fn=lambda: os.close(0)),
        ]
    assert [ended.returncode for ended in ends] == [0] * 4
    # What would go to stderr is not in the report.
    assert len({ended.stdout for ended in ends}) == 1
    assert b"WARNING" not in ends[0].stdout


@pytest.mark.parametrize("output", ["text", "json"])
def test_a_run_whose_report_cannot_be_written_has_no_results(
    monkeypatch: pytest.MonkeyPatch, finished: RunReport, old_results: Path, output: str
) -> None:
    arguments = ("run", str(finished.twin), f"--results-dir={old_results}", "--verify=structure")
    with open("/dev/full", "w") as full, monkeypatch.context() as patched:
        patched.setattr("sys.stdout", full)
        assert code_of(monkeypatch, *arguments, f"--output={output}") == 2
        full.flush()
    assert list(old_results.iterdir()) == []


def test_a_run_whose_report_is_written_has_results(
    monkeypatch: pytest.MonkeyPatch, finished: RunReport, old_results: Path
) -> None:
    arguments = ("run", str(finished.twin), f"--results-dir={old_results}", "--verify=structure")
    assert code_of(monkeypatch, *arguments) == 0
    assert {file.name: file.read_text() for file in old_results.iterdir()} == dict(finished.results)


@pytest.mark.parametrize(
    "arguments",
    [
        ("run", "app"),
        ("run",),
        ("run", "quay.io/app", "--level=0"),
        ("run", "quay.io/app", "--platform=amd64"),
        ("run", "quay.io/app", "--authfile=/does/not/exist"),
        ("run", "quay.io/app", "--ca-file=/does/not/exist"),
        ("index", "app", "--to=quay.io/app:1"),
        ("index", "quay.io/app"),
    ],
)
@pytest.mark.parametrize("how", ["option", "variable"])
def test_whatever_is_wrong_with_a_run_it_leaves_no_results_of_an_earlier_one(
    monkeypatch: pytest.MonkeyPatch, old_results: Path, arguments: tuple[str, ...], how: str
) -> None:
    if how == "variable":
        monkeypatch.setenv("RECOMPRESS_RESULTS_DIR", str(old_results))
    else:
        arguments = (*arguments, f"--results-dir={old_results}")
    assert code_of(monkeypatch, *arguments) == 2
    assert list(old_results.iterdir()) == []


def test_who_asks_the_shell_to_complete_a_command_keeps_the_results(old_results: Path) -> None:
    arguments = ["run", f"--results-dir={old_results}", "quay.io/app"]
    group = typer.main.get_command(cli.app)
    with group.make_context("recompress", list(arguments), resilient_parsing=True) as context:
        name, run, rest = group.resolve_command(context, arguments)  # type: ignore[attr-defined]
        run.make_context(name, rest, parent=context, resilient_parsing=True)
    assert sorted(file.name for file in old_results.iterdir()) == sorted(OLD)


def test_an_error_shows_no_characters_that_control_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(monkeypatch, "run", "app\x1b]0;title\x07\u202e") == 2
    assert capsys.readouterr().err.strip().isprintable()
