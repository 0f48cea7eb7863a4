"""skopeo does the recompression and the upload; this builds its command, runs it, reads its output.

Its exit status is not trusted: it is 0 as well where nothing was recompressed (see
docs/design.md, "The silent no-op"). All that is taken from a run is the digest of the manifest
that it pushed, and that is read back and proven by others.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recompress.errors import SkopeoUnusable, Unavailable, UsageError
from recompress.reference import Digest, Reference, Repository
from recompress.workspace import Workspace

log = logging.getLogger(__name__)

_FORCE = "--dest-force-compress-format"
FORMAT_OPTIONS = ("--format=oci", "--dest-compress-format=zstd:chunked", _FORCE)
_PROBE_SECONDS = 30
_GRACE_SECONDS = 5
_STALL_SECONDS = 600.0
"""skopeo waits forever for a registry that says nothing. It may well say nothing for minutes, while it
puts together a layer of gigabytes."""

_POLL_SECONDS = 1.0
_FULL_BYTES = 16 * 1024
_SHOWN_ERROR_CHARACTERS = 600
_UNKNOWN_DIGEST = "@@unknown-digest@@"
"""containers/image, docker.UnknownDigestSuffix: push by the digest, whatever it will be, and no tag."""

_REDRAW = re.compile(r"\x1b\[\d+A")
"""Up by so many lines: all bars are drawn once more."""

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COPYING = re.compile(
    r"Copying blob (?:sha256:)?(?P<digest>[0-9a-f]{12})[0-9a-f]*"
    r"(?: +(?:\[[^\]]*\] (?P<done>[0-9.]+)(?P<unit>[KMGT]?i?[Bb]) /(?:[^|]*\|(?P<speed>[^|]*))?"
    r"|(?P<end>done|skipped: already exists)))?"
)
_REJECTED = "Source image rejected: "
"""containers/image, copy: what every policy that does not accept an image ends in."""
_MAY_PASS = re.compile(
    r"HTTP status: (?:429|5[0-9][0-9])\b|toomanyrequests|blob upload unknown|\bEOF$|timeout|"
    r"connection re(?:set|fused)|broken pipe"
)
"""Failures that pass, in the words of Go's standard library, containers/image and CNCF Distribution.

They say nothing about the outcome: a run whose skopeo fails so is only given all of its tries, even where the
same words come twice."""

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True, slots=True)
class Copied:
    """What a run of skopeo said: the digest it pushed, and seconds by the short digest of a layer."""

    digest: Digest
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class LayerProgress:
    """So many bytes of a layer are done; `layer` is the first twelve hex digits of its digest."""

    layer: str
    done: int


@dataclass(frozen=True, slots=True)
class LayerEnd:
    """A layer is at the destination, and `was_there` if nothing had to be done for that."""

    layer: str
    was_there: bool


LayerEvent = LayerProgress | LayerEnd


class SkopeoFailed(Unavailable):
    """skopeo ended with an error. The registry and the image say why, not skopeo's message.

    `words` is its last message, empty where it was killed or said nothing, and where the message is about a
    failure of the network or the registry that can happen again and pass.
    """

    def __init__(self, message: str, *, temporary: bool = False, words: str = "") -> None:
        super().__init__(message, temporary=temporary)
        self.words = words


@contextmanager
def probing(executable: str = "skopeo") -> Iterator[Callable[[], None]]:
    """Ask skopeo whether it can be made to recompress; what this yields waits for the answer.

    The flag came with skopeo 1.21.0. Without it skopeo takes the gzip blobs it finds at the
    destination and says nothing. Both raise SkopeoUnusable where skopeo is not there, or has no such flag.
    """
    try:
        process = subprocess.Popen(
            [executable, "copy", "--help"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    except OSError as error:
        raise _unusable(error) from None

    def check() -> None:
        try:
            answer, _ = process.communicate(timeout=_PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            raise SkopeoUnusable(f"skopeo gave no answer within {_PROBE_SECONDS} s") from None
        if _FORCE not in answer:
            raise SkopeoUnusable(
                f"this skopeo has no {_FORCE}, so it would keep the gzip layers and still exit with 0: "
                "install skopeo 1.21 or newer"
            )

    with process:
        try:
            yield check
        finally:
            process.kill()


def check_repository(repository: Repository) -> None:
    """Raise UsageError for a repository whose name skopeo cannot read."""
    if repository.registry.startswith("["):
        # containers/image 5.39, docker/reference: a host is a name, with a port.
        raise UsageError(
            f"{repository}: skopeo does not accept an IPv6 address in an image name; "
            f"give {repository.registry} a host name"
        )


def copy_command(
    source: Reference, destination: Repository, space: Workspace, level: int | None, jobs: int
) -> list[str]:
    """The command that pushes the zstd:chunked form of `source`, by digest, without a tag."""
    levels = [f"--dest-compress-level={level}"] if level is not None else []
    return _copy_command(source, destination, space, jobs, [*FORMAT_OPTIONS, *levels])


def exact_copy_command(source: Reference, destination: Repository, space: Workspace, jobs: int) -> list[str]:
    """The command that pushes `source` as it is, by its digest, without a tag."""
    return _copy_command(source, destination, space, jobs, ["--preserve-digests"])


def _copy_command(
    source: Reference, destination: Repository, space: Workspace, jobs: int, options: list[str]
) -> list[str]:
    verify = str(space.verify_tls).lower()
    return [
        "skopeo",
        "copy",
        f"--authfile=/proc/self/fd/{space.auth_file}",
        f"--policy={space.policy}",
        f"--src-tls-verify={verify}",
        f"--dest-tls-verify={verify}",
        f"--src-cert-dir={space.cert_dir}",
        f"--dest-cert-dir={space.cert_dir}",
        f"--image-parallel-copies={jobs}",
        *options,
        # A signature is of the source's manifest and holds for no other; skopeo refuses to go on
        # with one unless told so.
        "--remove-signatures",
        f"--digestfile={_digest_file(space)}",
        # skopeo takes no tag beside a digest.
        f"docker://{source.repository}@{source.digest}",
        f"docker://{destination}{_UNKNOWN_DIGEST}",
    ]


def copy(
    command: list[str],
    space: Workspace,
    on_layer: Callable[[LayerEvent], None],
    stall_seconds: float = _STALL_SECONDS,
) -> Copied:
    """Run a command of `copy_command` or `exact_copy_command` to its end.

    `on_layer` is called for each step that a layer makes, and once for its end. Raises SkopeoFailed
    with skopeo's last message, or if no layer makes progress for so many seconds. If this is left by an
    exception (a signal, the deadline), skopeo is ended first.
    """
    log.debug("running %s", " ".join(command))
    started: dict[str, float] = {}
    seconds: dict[str, float] = {}
    stderr_file = space.directory / "skopeo.stderr"
    with (
        stderr_file.open("wb") as stderr,
        _running(command, space, stderr.fileno()) as (process, terminal),
    ):
        for event in _events(terminal, stall_seconds):
            layer = event.layer
            if layer not in started:
                started[layer] = time.monotonic()
                if event == LayerEnd(layer, was_there=False):
                    # A small layer can be done at first sight.
                    on_layer(LayerProgress(layer, 0))
            if isinstance(event, LayerProgress):
                on_layer(event)
            elif layer not in seconds:
                seconds[layer] = time.monotonic() - started[layer]
                on_layer(event)
        status = process.wait()
    words = stderr_file.read_text(errors="replace").strip()
    if status:
        if _REJECTED in words:
            # The one verdict that is read from a message: neither the registry nor the image knows of it.
            raise SkopeoUnusable(
                f"the policy {space.policy} rejects the image ({_last_words(words)}): change it there, see "
                "containers-policy.json(5)"
            )
        if shutil.disk_usage(space.directory).free < _FULL_BYTES:
            # skopeo can't even say so: its words are kept there.
            raise UsageError(
                f"{_ending(status)}, and {space.directory.parent} is full: give it more space, "
                "or name another place in TMPDIR"
            )
        last = _last_words(words)
        message = f"{_ending(status)}: {last or 'it wrote no message'}"
        may_pass = status < 0 or _MAY_PASS.search(last)
        raise SkopeoFailed(message, temporary=True, words="" if may_pass else last)
    try:
        pushed = Digest.parse(_digest_file(space).read_text().strip())
    except (OSError, ValueError):
        raise SkopeoFailed("skopeo succeeded, but did not write the digest of what it pushed") from None
    return Copied(pushed, seconds)


def _unusable(error: OSError) -> SkopeoUnusable:
    return SkopeoUnusable(f"skopeo cannot be run ({error.strerror}): install skopeo 1.21 or newer")


@contextmanager
def _running(
    command: list[str], space: Workspace, stderr: int
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    # skopeo tells how far each layer is only to a terminal, so it is given one, wide enough that
    # no line is cut.
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 500, 300, 0, 0))
    try:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=theirs,
                stderr=stderr,
                env=dict(space.environment),
                pass_fds=(space.auth_file,),
            )
        except OSError as error:
            raise _unusable(error) from None
        finally:
            os.close(theirs)
        try:
            yield process, ours
        finally:
            _end(process)
    finally:
        os.close(ours)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _events(terminal: int, stall_seconds: float) -> Iterator[LayerEvent]:
    """What skopeo says of its layers, until it ends or no layer makes progress any more."""
    drawn: set[tuple[LayerEvent, str]] = set()
    before: set[tuple[LayerEvent, str]] = set()
    moved = time.monotonic()
    for lines in _lines(terminal):
        for line in lines:
            if _REDRAW.search(line):
                drawn, before = set(), drawn
            if (said := _event(line)) is None:
                continue
            # The bars are drawn again and again, whether they move or not. What is done is rounded, to 107 MB
            # in a layer of gigabytes, but the speed is an average over what came: it stays if nothing comes.
            if said not in drawn | before:
                moved = time.monotonic()
            drawn.add(said)
            yield said[0]
        if time.monotonic() - moved > stall_seconds:
            raise SkopeoFailed(f"skopeo made no progress for {stall_seconds:g} s", temporary=True)


def _lines(terminal: int) -> Iterator[list[str]]:
    """The lines that came since the last time, at least every _POLL_SECONDS, even if none did."""
    rest = ""
    while True:
        if not select.select([terminal], [], [], _POLL_SECONDS)[0]:
            yield []
            continue
        try:
            read = os.read(terminal, 65536)
        except OSError:
            # EIO: nobody has the other side of the terminal open any more.
            read = b""
        if not read:
            yield [rest]
            return
        *lines, rest = (rest + read.decode(errors="replace")).replace("\r", "\n").split("\n")
        yield lines


def _event(line: str) -> tuple[LayerEvent, str] | None:
    """What a line says of a layer, and at which speed; None for one that is about something else."""
    found = _COPYING.search(_ANSI.sub("", line))
    if found is None:
        return None
    if found["end"]:
        return LayerEnd(found["digest"], was_there=found["end"] != "done"), ""
    done = float(found["done"] or 0) * _UNITS[(found["unit"] or "")[:1].strip("bB")]
    return LayerProgress(found["digest"], int(done)), found["speed"] or ""


def _ending(status: int) -> str:
    match -status:
        case signal.SIGKILL:
            return "skopeo was killed, most likely because memory ran out (allow more of it, or lower --jobs)"
        case number if number > 0:
            return f"skopeo was ended by signal {number}"
    return f"skopeo failed with exit status {status}"


def _digest_file(space: Workspace) -> Path:
    return space.directory / "digest"


def _last_words(text: str) -> str:
    # logrus: time="…" level=fatal msg="…"; the last line is the reason.
    line = text.splitlines()[-1] if text else ""
    if found := re.search(r'msg="((?:[^"\\]|\\.)*)"', line):
        line = found[1].replace('\\"', '"')
    # As in the address of an upload that a registry names, or of a proxy.
    line = re.sub(r"(https?://)[^\s\"']*@", r"\1", line)
    # The query of an upload's URL is as good as a credential.
    return re.sub(r"\?[^\s\"']*", "", line)[-_SHOWN_ERROR_CHARACTERS:]
