"""How skopeo is called and understood, with small scripts in its place.

That the real skopeo does what is thought of it here is for the integration tests.
"""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

import pytest

from recompress import skopeo
from recompress.errors import SkopeoUnusable, Unavailable
from recompress.reference import Digest, Reference, Repository
from recompress.skopeo import LayerEnd, LayerEvent, LayerProgress, SkopeoFailed
from recompress.workspace import Workspace

DIGEST = Digest.of(b"source")
SOURCE = Reference(Repository("quay.io", "org/app"), "1", DIGEST)
PUSHED = Digest.of(b"pushed")
FIRST, SECOND = "c224c8f61792", "a08d95acd5be"

# What skopeo 1.22 wrote to a terminal for an image of two layers.
TERMINAL = (
    "Getting image source signatures\r\n"
    f"Copying blob {FIRST} [============>-------------------------] 17.0MiB / 50.5MiB | 232.3 MiB/s\r\n"
    f"Copying blob {SECOND} done   | \r\n"
    "\x1b[2A\x1b[J"
    f"Copying blob {FIRST} [==================================>---] 46.5MiB / 50.5MiB | 943.1 MiB/s\r\n"
    f"Copying blob {SECOND} done   | \r\n"
    "\x1b[2A\x1b[J"
    f"Copying blob {FIRST} done   | \r\n"
    f"Copying blob {SECOND} done   | \r\n"
    "Copying config 7a241b00bc done   | \r\n"
    "\x1b[1A\x1b[JCopying config 7a241b00bc done   | \r\n"
    "Writing manifest to image destination\r\n"
)

UP = "\x1b[1A\x1b[J"


@pytest.fixture
def space(tmp_path: Path) -> Workspace:
    return Workspace(
        tmp_path,
        os.memfd_create("auth.json"),
        tmp_path / "certs.d",
        tmp_path / "policy.json",
        True,
        {"PATH": os.environ["PATH"]},
    )


def script(space: Workspace, text: str) -> list[str]:
    return ["sh", "-c", f"cd {shlex.quote(str(space.directory))}; {text}"]


def says(text: str) -> str:
    return f"printf %s {shlex.quote(text)}"


class Heard:
    def __init__(self) -> None:
        self.events: list[LayerEvent] = []

    def __call__(self, event: LayerEvent) -> None:
        self.events.append(event)


def probe() -> None:
    with skopeo.probing() as check:
        check()


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    program = tmp_path / "skopeo"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_a_skopeo_with_the_force_flag_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, '[ "$*" = "copy --help" ] && echo "  --dest-force-compress-format  force"')
    probe()


def test_a_skopeo_without_the_force_flag_is_refused_with_the_version_that_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, 'echo "  --dest-compress-format FORMAT"')
    with pytest.raises(SkopeoUnusable, match=r"no --dest-force-compress-format.*skopeo 1\.21 or newer"):
        probe()


def test_no_skopeo_is_refused_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SkopeoUnusable, match=r"cannot be run \(No such file.*install skopeo 1\.21 or newer"):
        probe()


def test_a_skopeo_that_cannot_be_run_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "")
    (tmp_path / "skopeo").write_bytes(b"\x7fELF of another machine")
    # Alone: a program that cannot be run is looked for further on.
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SkopeoUnusable):
        probe()


def test_the_command_forces_zstd_chunked_and_pushes_without_a_tag(space: Workspace) -> None:
    command = skopeo.copy_command(SOURCE, Repository("quay.io", "to/app"), space, None, 3)
    assert "--dest-compress-format=zstd:chunked" in command
    assert "--dest-force-compress-format" in command
    assert "--format=oci" in command
    assert "--image-parallel-copies=3" in command
    assert not any("level" in argument for argument in command)
    assert command[-2:] == [
        f"docker://quay.io/org/app@{DIGEST}",
        "docker://quay.io/to/app@@unknown-digest@@",
    ]


def test_a_level_is_handed_on(space: Workspace) -> None:
    assert "--dest-compress-level=9" in skopeo.copy_command(SOURCE, SOURCE.repository, space, 9, 1)


@pytest.mark.parametrize("verify", [True, False])
def test_certificates_are_verified_on_both_sides_or_on_none(tmp_path: Path, verify: bool) -> None:
    space = Workspace(tmp_path, 0, tmp_path / "c", tmp_path / "p", verify, {})
    command = skopeo.copy_command(SOURCE, SOURCE.repository, space, None, 1)
    assert f"--src-tls-verify={str(verify).lower()}" in command
    assert f"--dest-tls-verify={str(verify).lower()}" in command


def test_a_skopeo_that_draws_its_bars_but_does_not_get_on_is_ended_and_tried_again(space: Workspace) -> None:
    bar = says(f"Copying blob {FIRST} [=>---] 17.0MiB / 50.5MiB\r\n")
    command = script(space, f"echo $$ > pid; while :; do {bar}; sleep 0.01; done")
    with pytest.raises(SkopeoFailed, match=r"made no progress for 0\.2 s") as failed:
        skopeo.copy(command, space, Heard(), 0.2)
    assert failed.value.temporary
    with pytest.raises(ProcessLookupError):
        os.kill(int((space.directory / "pid").read_text()), 0)


def test_a_skopeo_that_says_nothing_at_all_is_ended_as_well(
    space: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(skopeo, "_POLL_SECONDS", 0.01)
    with pytest.raises(SkopeoFailed, match="made no progress"):
        skopeo.copy(script(space, "exec sleep 60"), space, Heard(), 0.2)


def test_a_skopeo_that_gets_on_may_take_longer_than_it_may_stand_still(space: Workspace) -> None:
    bars = "; ".join(
        f"{says(f'Copying blob {FIRST} [>] {n}.0KiB / 9.0KiB' + chr(10))}; sleep 0.2" for n in range(6)
    )
    copied = skopeo.copy(script(space, f"{bars}; echo {PUSHED} > digest"), space, Heard(), 1.0)
    assert copied.digest == PUSHED


def test_a_skopeo_whose_speed_alone_changes_gets_on(space: Workspace) -> None:
    # Of a layer of gigabytes skopeo tells a tenth of one, which can take longer than it may stand still.
    bars = "; ".join(
        f"{says(f'{UP}Copying blob {FIRST} [>] 1.2GiB / 3.4GiB | {97 + n % 3}.6 KiB/s' + chr(10))}; sleep 0.2"
        for n in range(9)
    )
    copied = skopeo.copy(script(space, f"{bars}; echo {PUSHED} > digest"), space, Heard(), 1.0)
    assert copied.digest == PUSHED


def test_a_skopeo_that_draws_the_same_speed_again_and_again_does_not_get_on(space: Workspace) -> None:
    # The same layer twice, as an image may have it.
    bars = says(
        f"{UP}Copying blob {FIRST} [>] 1.2GiB / 3.4GiB | 97.6 KiB/s\r\n"
        f"Copying blob {FIRST} [>] 1.0GiB / 3.4GiB | 98.6 KiB/s\r\n"
        f"Copying blob {SECOND} done   | \r\n"
    )
    with pytest.raises(SkopeoFailed, match=r"made no progress for 0\.2 s"):
        skopeo.copy(script(space, f"while :; do {bars}; sleep 0.01; done"), space, Heard(), 0.2)


@pytest.mark.parametrize(
    ("number", "told"), [(9, "was killed, most likely because memory ran out"), (6, "signal 6")]
)
def test_a_skopeo_that_was_killed_is_told_so(space: Workspace, number: int, told: str) -> None:
    with pytest.raises(SkopeoFailed, match=told):
        skopeo.copy(script(space, f"kill -{number} $$"), space, Heard())


def test_what_skopeo_says_of_its_layers_is_told(space: Workspace) -> None:
    heard = Heard()
    copied = skopeo.copy(script(space, f"{says(TERMINAL)}; echo {PUSHED} > digest"), space, heard)
    assert copied.digest == PUSHED
    assert set(copied.seconds) == {FIRST, SECOND}
    assert heard.events == [
        LayerProgress(FIRST, 17 * 2**20),
        LayerProgress(SECOND, 0),
        LayerEnd(SECOND, was_there=False),
        LayerProgress(FIRST, 46 * 2**20 + 2**19),
        LayerEnd(FIRST, was_there=False),
    ]


@pytest.mark.parametrize(
    ("line", "event"),
    [
        (f"Copying blob {FIRST} [>-----] 0.0b / 50.5MiB | 0.0 b/s", LayerProgress(FIRST, 0)),
        (f"Copying blob {FIRST} [>-----] 512.0b / 1.5KiB | 0.0 b/s", LayerProgress(FIRST, 512)),
        (f"Copying blob {FIRST} [>-----] 1.5KiB / 2.0KiB", LayerProgress(FIRST, 1536)),
        (f"Copying blob {FIRST} [>-----] 1.5GiB / 2.0GiB", LayerProgress(FIRST, 3 * 2**29)),
        (f"Copying blob sha256:{FIRST}{'0' * 52}", LayerProgress(FIRST, 0)),
        (f"Copying blob {FIRST} skipped: already exists  ", LayerEnd(FIRST, was_there=True)),
    ],
)
def test_every_form_of_a_layers_line_is_understood(space: Workspace, line: str, event: LayerEvent) -> None:
    heard = Heard()
    skopeo.copy(script(space, f"{says(line)}; echo {PUSHED} > digest"), space, heard)
    assert heard.events == [event]


def test_a_layer_that_is_done_at_first_sight_is_told_to_start_as_well(space: Workspace) -> None:
    heard = Heard()
    line = f"\x1b[1mCopying blob {FIRST} done\x1b[0m"
    skopeo.copy(script(space, f"{says(line)}; echo {PUSHED} > digest"), space, heard)
    assert heard.events == [LayerProgress(FIRST, 0), LayerEnd(FIRST, was_there=False)]


@pytest.mark.parametrize("line", ["", "Copying config 7a241b00bc done", "Copying blob xyz", "warning: \xff"])
def test_other_lines_are_passed_over(space: Workspace, line: str) -> None:
    heard = Heard()
    skopeo.copy(script(space, f"{says(line)}; echo {PUSHED} > digest"), space, heard)
    assert heard.events == []


def test_skopeo_is_given_a_wide_terminal_or_it_would_say_nothing(space: Workspace) -> None:
    command = script(space, f"test -t 1 && stty size <&1 > size; echo {PUSHED} > digest")
    skopeo.copy(command, space, Heard())
    assert (space.directory / "size").read_text().split()[1] == "300"


def test_a_failure_is_told_with_skopeos_last_words(space: Workspace) -> None:
    words = r'time="2025-11-24T18:00:00Z" level=fatal msg="writing blob: \"broken\" pipe"'
    with pytest.raises(skopeo.SkopeoFailed) as raised:
        skopeo.copy(script(space, f"{says(words)} >&2; exit 125"), space, Heard())
    assert str(raised.value) == 'skopeo failed with exit status 125: writing blob: "broken" pipe'
    assert raised.value.temporary


@pytest.mark.parametrize(
    "words",
    [
        'invalid proxy address "http://me:se/cr?et@proxy.test:1": parse "http://me:se/cr?et@proxy.test:1"',
        "Put https://me:secret@storage.test/a?signature=secret: EOF",
    ],
)
def test_what_may_be_secret_in_skopeos_words_is_not_told(space: Workspace, words: str) -> None:
    with pytest.raises(skopeo.SkopeoFailed) as raised:
        skopeo.copy(script(space, f"{says(words)} >&2; exit 1"), space, Heard())
    assert ".test" in str(raised.value)
    for secret in ("me:", "se/", "et@", "secret"):
        assert secret not in str(raised.value)


def test_a_failure_without_words_is_told_as_well(space: Workspace) -> None:
    with pytest.raises(skopeo.SkopeoFailed, match="exit status 1: it wrote no message"):
        skopeo.copy(script(space, "exit 1"), space, Heard())


def test_an_endless_complaint_is_cut(space: Workspace) -> None:
    with pytest.raises(skopeo.SkopeoFailed) as raised:
        skopeo.copy(script(space, "head -c 100000 /dev/zero | tr '\\0' x >&2; exit 1"), space, Heard())
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize("digest", ["", "sha256:short"])
def test_a_success_without_a_digest_is_none(space: Workspace, digest: str) -> None:
    with pytest.raises(Unavailable, match="did not write the digest of what it pushed"):
        skopeo.copy(script(space, f"echo {digest} > digest"), space, Heard())


def test_skopeo_gone_between_the_probe_and_the_copy_is_told(space: Workspace) -> None:
    with pytest.raises(SkopeoUnusable):
        skopeo.copy([str(space.directory / "skopeo")], space, Heard())


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Stop(BaseException):
    pass


@pytest.mark.parametrize("first", ["", "trap '' TERM;"], ids=["polite", "stubborn"])
def test_when_the_run_is_ended_skopeo_is_ended_first(
    space: Workspace, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    monkeypatch.setattr(skopeo, "_GRACE_SECONDS", 0.2)

    def stop(_: LayerEvent) -> None:
        raise Stop

    command = script(
        space, f"{first} echo $$ > pid; echo Copying blob {FIRST} done; while :; do sleep 0.05; done"
    )
    with pytest.raises(Stop):
        skopeo.copy(command, space, stop)
    assert not is_running(int((space.directory / "pid").read_text()))


def test_a_signal_ends_the_wait_for_a_silent_skopeo(space: Workspace) -> None:
    def on_signal(*_: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, on_signal)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with pytest.raises(Stop):
            skopeo.copy(script(space, "echo $$ > pid; exec sleep 600"), space, Heard())
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert not is_running(int((space.directory / "pid").read_text()))
