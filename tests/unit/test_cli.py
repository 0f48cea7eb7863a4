from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from recompress import __version__, cli
from recompress.errors import (
    NotFound,
    RecompressError,
    Refused,
    SkopeoUnusable,
    TimedOut,
    Unavailable,
    Unsupported,
    UsageError,
    VerificationFailed,
)
from recompress.manifest import Platform
from recompress.reference import Digest, Reference
from recompress.registry.transport import Tls
from recompress.report import RunReport
from recompress.run import RunOptions
from recompress.sbom import Policy
from recompress.signals import Terminated

DIGEST = Digest.of(b"source")
IMAGE = f"quay.io/org/app:1@{DIGEST}"
SBOM = f"quay.io/org/app@{Digest.of(b'{}')}"


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in os.environ:
        if name.startswith(("RECOMPRESS_", "REGISTRY_AUTH_FILE")):
            monkeypatch.delenv(name)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGALRM)}
    handlers = logging.root.handlers[:]
    yield
    logging.root.handlers[:] = handlers
    logging.getLogger("recompress").setLevel(logging.NOTSET)
    for number, handler in before.items():
        signal.signal(number, handler)


class Ended:
    def __init__(self, code: object, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Command = Callable[..., Ended]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line in this process."""

    def call(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["recompress", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Ended(ended.value.code or 0, captured.out, captured.err)

    return call


class Stop(Exception):
    """So far and no further: what the command line made of its arguments has been seen."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What `run` was called with; it does nothing."""
    seen: list[Any] = []

    def run(*arguments: Any) -> NoReturn:
        seen.extend(arguments)
        raise Stop

    monkeypatch.setattr("recompress.run.run", run)
    return seen


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(*_: Any) -> RunReport:
        raise error

    monkeypatch.setattr("recompress.run.run", run)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("what is wrong"), 2),
        (Refused("what is wrong"), 3),
        (NotFound("what is wrong"), 4),
        (Unsupported("what is wrong"), 5),
        (VerificationFailed("what is wrong"), 6),
        (Unavailable("what is wrong"), 7),
        (TimedOut("what is wrong"), 7),
        (SkopeoUnusable("what is wrong"), 8),
    ],
)
def test_each_error_has_its_exit_code_and_one_line(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: RecompressError, code: int
) -> None:
    raising(monkeypatch, error)
    ended = command("run", IMAGE)
    assert ended.code == code
    assert ended.err == "error: what is wrong\n"
    assert ended.out == ""


def test_an_error_of_several_lines_is_told_in_one(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, NotFound("what\nis\n  wrong"))
    assert command("run", IMAGE).err == "error: what is wrong\n"


def test_a_bug_is_one_line_as_well_and_exit_1(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, KeyError("layers"))
    ended = command("run", IMAGE)
    assert ended.code == 1
    assert ended.err == "error: this is a bug: KeyError: 'layers'; --debug shows where\n"


def test_a_stack_trace_is_shown_only_with_debug(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, NotFound("what is wrong"))
    assert "Traceback" not in command("run", IMAGE).err
    ended = command("run", IMAGE, "--debug")
    assert ended.code == 4
    assert "Traceback" in ended.err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Terminated(), 143, "error: terminated by a signal; no results were written\n"),
        (KeyboardInterrupt(), 130, "error: interrupted; no results were written\n"),
    ],
)
def test_a_signal_has_the_exit_code_that_shells_give_it(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    raising(monkeypatch, error)
    ended = command("run", IMAGE)
    assert (ended.code, ended.err) == (code, line)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("run",),
        ("run", IMAGE, "--no-such-option"),
        ("run", IMAGE, "--level", "0"),
        ("run", IMAGE, "--level", "high"),
        ("run", IMAGE, "--jobs", "0"),
        ("run", IMAGE, "--attempts", "0"),
        ("run", IMAGE, "--timeout", "0"),
        ("run", IMAGE, "--timeout", "inf"),
        ("run", IMAGE, "--timeout", "nan"),
        ("run", IMAGE, "--timeout", "1e300"),
        ("run", IMAGE, "--output", "xml"),
        ("run", IMAGE, "--verify", "nothing"),
        ("run", IMAGE, "--platform", "amd64"),
        ("run", IMAGE, "--to", "app"),
        ("run", IMAGE, "--to", IMAGE),
        ("run", IMAGE, "--ca-file", "/does/not/exist"),
        ("run", IMAGE, "--authfile", "/does/not/exist"),
        # Names that the system refuses to look for.
        ("run", IMAGE, "--ca-file", "x" * 300),
        ("run", IMAGE, "--authfile", "x" * 300),
        ("run", IMAGE, "--results-dir", "x" * 300),
        ("run", IMAGE, "--reuse-from", "app"),
        ("run", IMAGE, "--sbom", "maybe"),
        ("run", IMAGE, "--sbom-from", "app"),
        ("run", IMAGE, "--sbom-from", "quay.io/org/app"),
        ("run", IMAGE, "--sbom-from", IMAGE),
        ("run", "--", IMAGE, "--sbom-from", "quay.io/org/app:1"),
        ("run", "--", IMAGE, "--sbom-from", SBOM, "--sbom-from", SBOM),
        ("run", "--", IMAGE, "--sbom-from", "--sbom-from", SBOM),
        ("run", "--", IMAGE, SBOM, "--sbom-from", ""),
        ("run", "--", "--sbom-from", SBOM),
        ("index", IMAGE, "--to", "quay.io/org/app:1", "--sbom", "maybe"),
        ("run", "app"),
        ("inspect", "app"),
        ("prune",),
        ("prune", "app"),
        ("prune", "quay.io/org/app:1"),
        ("prune", IMAGE),
        ("prune", "quay.io/org/app", "--source", IMAGE),
        ("prune", "quay.io/org/app", "quay.io/org/other"),
        ("no-such-command",),
    ],
)
def test_a_wrong_command_line_is_exit_2_and_no_work(
    command: Command, asked: list[Any], arguments: tuple[str, ...]
) -> None:
    ended = command(*arguments)
    assert ended.code == 2
    assert ended.out == "" or not arguments
    assert "Traceback" not in ended.err
    assert asked == []


@pytest.mark.parametrize("name", ["LEVEL", "JOBS", "ATTEMPTS", "TIMEOUT", "OUTPUT", "VERIFY", "TLS_VERIFY"])
def test_a_wrong_environment_variable_is_exit_2_and_named(
    command: Command, asked: list[Any], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(f"RECOMPRESS_{name}", "nonsense")
    monkeypatch.setenv("COLUMNS", "200")
    ended = command("run", IMAGE)
    assert ended.code == 2
    assert f"RECOMPRESS_{name}" in ended.err
    assert asked == []


def options_of(asked: list[Any]) -> RunOptions:
    options = asked[0]
    assert isinstance(options, RunOptions)
    return options


def test_the_options_reach_the_run(command: Command, asked: list[Any], tmp_path: Path) -> None:
    (tmp_path / "auth.json").write_text("{}")
    (tmp_path / "ca.pem").touch()
    command(
        "run", IMAGE, "--platform", "linux/arm/v7", "--to", "quay.io/to/app:2", "--level", "9", "--jobs", "3",
        "--results-dir", str(tmp_path), "--authfile", str(tmp_path / "auth.json"),
        "--ca-file", str(tmp_path / "ca.pem"), "--no-tls-verify", "--attempts", "2",
        "--verify", "structure",
    )  # fmt: skip
    options = options_of(asked)
    assert options.image == Reference.parse(IMAGE)
    assert options.platform == Platform("linux", "arm", "v7")
    assert options.to == Reference.parse("quay.io/to/app:2")
    assert (options.level, options.jobs) == (9, 3)
    connection = asked[1]
    assert connection.auth_files == (tmp_path / "auth.json",)
    assert connection.tls == Tls(False, (tmp_path / "ca.pem",))
    assert connection.attempts == 2


def test_every_option_can_be_an_environment_variable(
    command: Command, asked: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "auth.json").write_text("{}")
    (tmp_path / "ca.pem").touch()
    variables = {
        "PLATFORM": "linux/arm/v7",
        "TO": "quay.io/to/app:2",
        "LEVEL": "9",
        "JOBS": "3",
        "RESULTS_DIR": str(tmp_path),
        "AUTHFILE": str(tmp_path / "auth.json"),
        "CA_FILE": str(tmp_path / "ca.pem"),
        "TLS_VERIFY": "false",
        "ATTEMPTS": "2",
        "NO_REUSE": "true",
        "VERIFY": "structure",
        "REUSE_FROM": "quay.io/org/a quay.io/org/b:1",
        "SBOM": "require",
        "SBOM_FROM": f"{SBOM} quay.io/org/b@{DIGEST}",
    }
    for name, value in variables.items():
        monkeypatch.setenv(f"RECOMPRESS_{name}", value)
    command("run", IMAGE)
    options = options_of(asked)
    assert options.platform == Platform("linux", "arm", "v7")
    assert options.to == Reference.parse("quay.io/to/app:2")
    assert (options.level, options.jobs) == (9, 3)
    assert not options.reuse
    assert options.reuse_from == (Reference.parse("quay.io/org/a"), Reference.parse("quay.io/org/b:1"))
    assert (options.sbom, options.sbom_from) == (Policy.REQUIRE, frozenset({Digest.of(b"{}"), DIGEST}))
    connection = asked[1]
    assert connection.auth_files == (tmp_path / "auth.json",)
    assert connection.tls == Tls(False, (tmp_path / "ca.pem",))
    assert connection.attempts == 2


def test_an_empty_environment_variable_is_as_none(
    command: Command, asked: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The parameter of a Task that nobody sets is an empty string.
    for name in ("PLATFORM", "TO", "LEVEL", "JOBS", "CA_FILE", "AUTHFILE", "TIMEOUT", "RESULTS_DIR",
                 "REUSE_FROM", "SBOM", "SBOM_FROM", "VERIFY", "OUTPUT", "TLS_VERIFY", "ATTEMPTS",
                 "DEBUG"):  # fmt: skip
        monkeypatch.setenv(f"RECOMPRESS_{name}", "")
    command("run", IMAGE)
    options = options_of(asked)
    assert (options.platform, options.to, options.level) == (None, None, None)
    assert options.jobs >= 1
    assert options.reuse_from == ()
    assert (options.sbom, options.sbom_from) == (Policy.AUTO, frozenset())
    assert asked[1].tls == Tls()
    assert asked[1].attempts == 5


@pytest.mark.parametrize(
    ("arguments", "images", "sboms"),
    [
        ((), (), ()),
        (("quay.io/org/a",), ("quay.io/org/a",), ()),
        (("--sbom-from",), (), ()),
        (("quay.io/org/a", "--sbom-from"), ("quay.io/org/a",), ()),
        (("--sbom-from", SBOM), (), (Digest.of(b"{}"),)),
        (
            ("quay.io/org/a", IMAGE, "--sbom-from", SBOM, f"quay.io/org/b@{DIGEST}"),
            ("quay.io/org/a", IMAGE),
            (Digest.of(b"{}"), DIGEST),
        ),
    ],
)
def test_behind_the_image_a_literal_parts_images_from_sboms_as_a_task_hands_them_over(
    command: Command,
    asked: list[Any],
    arguments: tuple[str, ...],
    images: tuple[str, ...],
    sboms: tuple[Digest, ...],
) -> None:
    command("run", "--", IMAGE, *arguments)
    options = options_of(asked)
    assert options.image == Reference.parse(IMAGE)
    assert options.reuse_from == tuple(map(Reference.parse, images))
    assert options.sbom_from == frozenset(sboms)


def test_options_and_arguments_name_sboms_together(command: Command, asked: list[Any]) -> None:
    command(
        "run", "--sbom=none", f"--sbom-from={SBOM}", "--", IMAGE, "--sbom-from", f"quay.io/org/b@{DIGEST}"
    )
    assert options_of(asked).sbom is Policy.NONE
    assert options_of(asked).sbom_from == {Digest.of(b"{}"), DIGEST}


def test_a_directory_of_certificates_is_all_that_are_in_it(
    command: Command, asked: list[Any], tmp_path: Path
) -> None:
    for name in ("b.pem", "a.crt", "readme.txt"):
        (tmp_path / name).touch()
    command("run", IMAGE, "--ca-file", str(tmp_path), "--verify=structure")
    assert asked[1].tls.ca_files == (tmp_path / "a.crt", tmp_path / "b.pem")


def test_without_a_choice_certificates_are_verified(command: Command, asked: list[Any]) -> None:
    command("run", IMAGE)
    assert asked[1].tls == Tls(verify=True, ca_files=())


def test_certificates_that_are_not_verified_are_warned_of(command: Command, asked: list[Any]) -> None:
    ended = command("run", IMAGE, "--no-tls-verify")
    assert "WARNING: TLS certificates are not verified: this is for tests only\n" in ended.err


def test_the_version_is_told(command: Command) -> None:
    ended = command("--version")
    assert (ended.code, ended.out) == (0, f"recompress {__version__}\n")


@pytest.mark.parametrize("command_name", ["run", "inspect", "prune"])
def test_help_names_the_environment_variable_of_each_option(
    command: Command, monkeypatch: pytest.MonkeyPatch, command_name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    ended = command(command_name, "--help")
    assert ended.code == 0
    for name in ("AUTHFILE", "CA_FILE", "TLS_VERIFY", "ATTEMPTS", "TIMEOUT", "OUTPUT", "DEBUG"):
        assert f"RECOMPRESS_{name}" in ended.out


def test_the_installed_command_runs() -> None:
    program = [sys.executable, "-c", "from recompress.cli import main; main()", "run", "app"]
    ended = subprocess.run(program, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == (
        "error: 'app' has no registry: write it out, as in quay.io/org/app or docker.io/library/app\n"
    )
