"""The options of the command line, each with its environment variable, and what is made of their values."""

from __future__ import annotations

import logging
import math
import os
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from recompress.errors import UsageError
from recompress.manifest import Platform
from recompress.proving import Provers
from recompress.reference import Digest, Reference, Repository
from recompress.registry import Connection, Tls, auth_files
from recompress.sbom import Policy
from recompress.showing import Output

SBOM_FROM = "--sbom-from"
_LONGEST_TIMEOUT = 365 * 24 * 60 * 60
"""No timer can wait forever."""


class Verify(StrEnum):
    """How much is proven before a digest is handed out."""

    CONTENT = "content"
    STRUCTURE = "structure"


class IfImpossible(StrEnum):
    """What to do with an image that can have no twin."""

    FAIL = "fail"
    KEEP = "keep"


class PartialPulls(StrEnum):
    """What to do where a registry's answers break partial pulls."""

    REQUIRE = "require"
    WARN = "warn"


def _a_number(seconds: float | None) -> float | None:
    if seconds is not None and math.isnan(seconds):
        # It is neither too small nor too large.
        raise typer.BadParameter(f"{seconds} is not a number of seconds.")
    return seconds


PartialPullsOption = Annotated[
    PartialPulls,
    typer.Option(
        envvar="RECOMPRESS_PARTIAL_PULLS",
        help="What to do where the registry breaks partial pulls. require: exit 5. warn: a warning, for "
        "those whose clients never pull partially.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        envvar="RECOMPRESS_JOBS", min=1, max=32, help="Layers at a time. Default: the CPUs, at most 6."
    ),
]
Level = Annotated[
    int | None,
    typer.Option(
        envvar="RECOMPRESS_LEVEL",
        min=1,
        max=20,
        help="Compression level. skopeo knows four: 1-2, 3-5, 6-9, and 10-20, which is the default, the "
        "smallest and slowest. 3 is more than twice as fast, for 7 % more bytes.",
    ),
]
IfImpossibleOption = Annotated[
    IfImpossible,
    typer.Option(
        envvar="RECOMPRESS_IF_IMPOSSIBLE",
        help="What to do with an image that cannot have a twin. fail: exit 5. keep: a warning, and the "
        "results name the gzip image.",
    ),
]
SbomOption = Annotated[
    Policy,
    typer.Option(
        envvar="RECOMPRESS_SBOM",
        help="auto: the twin gets an SBOM if IMAGE has one. require: exit 5 if it has none. none: no SBOM.",
    ),
]
AuthFile = Annotated[
    Path | None,
    typer.Option(envvar="RECOMPRESS_AUTHFILE", help="Credentials file, as podman login writes it."),
]
CaFile = Annotated[
    Path | None,
    typer.Option(
        envvar="RECOMPRESS_CA_FILE",
        help="Certificates to trust besides the system's: a PEM file, or a directory of *.crt and *.pem.",
    ),
]
TlsVerify = Annotated[
    bool,
    typer.Option(
        envvar="RECOMPRESS_TLS_VERIFY", help="Check TLS certificates. Turning this off is for tests only."
    ),
]
Attempts = Annotated[
    int, typer.Option(envvar="RECOMPRESS_ATTEMPTS", min=1, max=20, help="How often to try an operation.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        envvar="RECOMPRESS_TIMEOUT",
        min=1,
        max=_LONGEST_TIMEOUT,
        callback=_a_number,
        help="Time limit for the whole run, in seconds.",
    ),
]
OutputFormat = Annotated[
    Output, typer.Option(envvar="RECOMPRESS_OUTPUT", help="Form of the report on stdout.")
]
Debug = Annotated[bool, typer.Option(envvar="RECOMPRESS_DEBUG", help="Log requests, show stack traces.")]


def connection_to(authfile: Path | None, ca_file: Path | None, tls_verify: bool, attempts: int) -> Connection:
    """How to reach registries; a warning where certificates are not verified. Raises UsageError."""
    if not tls_verify:
        logging.getLogger(__name__).warning("TLS certificates are not verified: this is for tests only")
    return Connection(
        auth_files(authfile, os.environ, os.getuid()), Tls(tls_verify, _ca_files(ca_file)), attempts
    )


def _ca_files(path: Path | None) -> tuple[Path, ...]:
    if path is None:
        return ()
    try:
        if path.is_dir():
            return tuple(sorted(file for file in path.iterdir() if file.suffix in (".crt", ".pem")))
        is_file = path.is_file()
    except OSError as error:
        raise UsageError(f"the CA file {path} cannot be read: {error.strerror}") from None
    if not is_file:
        raise UsageError(f"there is no CA file {path}")
    return (path,)


def provers_for(verify: Verify, jobs: int, connection: Connection) -> AbstractContextManager[Provers | None]:
    """Processes that prove layers by their content; none where the structure is enough."""
    return Provers(jobs, connection) if verify is Verify.CONTENT else nullcontext()


def parsed_platform(text: str | None) -> Platform | None:
    """The value of --platform. Raises UsageError."""
    if text is None:
        return None
    try:
        return Platform.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def parsed_repository(text: str) -> Repository:
    """A repository alone. Raises UsageError for a reference with a tag or a digest."""
    reference = Reference.parse(text)
    if reference.tag or reference.digest:
        raise UsageError(f"{text}: name a repository, without a tag and without a digest")
    return reference.repository


def parsed_destination(text: str | None) -> Reference | None:
    """The value of --to. Raises UsageError for one with a digest."""
    if text is None:
        return None
    destination = Reference.parse(text)
    if destination.digest:
        raise UsageError(f"--to {text}: a digest cannot be chosen: name a repository, with or without a tag")
    return destination


def parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The images and the SBOMs behind IMAGE: Tekton cannot repeat an option for an array."""
    match arguments.count(SBOM_FROM):
        case 0:
            return arguments, []
        case 1:
            at = arguments.index(SBOM_FROM)
            return arguments[:at], arguments[at + 1 :]
        case _:
            # One of them is an element of an array, and what follows it could be either.
            raise UsageError(f"{SBOM_FROM} appears twice among the arguments: it can separate them only once")


def parsed_sbom(text: str) -> Digest:
    """A value of --sbom-from. Raises UsageError."""
    reference = Reference.parse(text)
    if reference.digest is None or reference.tag:
        raise UsageError(f"--sbom-from {text}: name an SBOM as REPO@sha256:…, by the digest of its JSON")
    return reference.digest
