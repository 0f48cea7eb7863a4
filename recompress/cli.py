"""The command line: options and environment in, report on stdout, exit code out."""

from __future__ import annotations

import errno
import logging
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from recompress import __version__, log, plan, results, signals, streams
from recompress import index as indexing
from recompress import inspect as inspecting
from recompress import prune as pruning
from recompress import run as running
from recompress import verify as verifying
from recompress.errors import RecompressError, UsageError, VerificationFailed
from recompress.jobs import default_jobs
from recompress.manifest import Platform
from recompress.printable import visible
from recompress.progress import reporter
from recompress.proving import Provers
from recompress.reference import Digest, Reference, Repository
from recompress.registry import Connection, Tls, auth_files
from recompress.report import IndexReport, RunReport
from recompress.run import RunOptions
from recompress.sbom import Policy
from recompress.showing import Output, show

_TERMINATED = 128 + 15
_INTERRUPTED = 128 + 2
_BUG = 1
_USAGE = UsageError.exit_code
_SBOM_FROM = "--sbom-from"
_LONGEST_TIMEOUT = 365 * 24 * 60 * 60
"""No timer goes to infinity."""

app = typer.Typer(
    name="recompress",
    help="Push the zstd:chunked twin of a gzip image manifest, and prove that it is the same image.",
    no_args_is_help=True,
    # Help texts are text: os/arch[/variant] is no markup.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


def _emptied(context: typer.Context, directory: Path | None) -> Path | None:
    """Take away the results of an earlier run: whatever this one ends in, they are not its own."""
    if directory and not context.resilient_parsing:
        with _errors_as_exit_codes(debug=False):
            results.check_directory(directory)
    return directory


def _a_number(seconds: float | None) -> float | None:
    if seconds is not None and math.isnan(seconds):
        # It is neither too small nor too large.
        raise typer.BadParameter(f"{seconds} is not a number of seconds.")
    return seconds


PartialPullsOption = Annotated[
    PartialPulls,
    typer.Option(
        envvar="RECOMPRESS_PARTIAL_PULLS",
        help="Where the registry's answers make partial pulls fail. require: exit 5. warn: a warning, for "
        "those whose clients never pull partially.",
    ),
]
SbomOption = Annotated[
    Policy,
    typer.Option(
        envvar="RECOMPRESS_SBOM",
        help="auto: the twin gets an SBOM where IMAGE has one. require: exit 5 where not. none: no SBOM.",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        envvar="RECOMPRESS_JOBS", min=1, max=32, help="Layers at a time. Default: the CPUs, at most 6."
    ),
]
ResultsDir = Annotated[
    Path | None,
    typer.Option(
        envvar="RECOMPRESS_RESULTS_DIR",
        # Before all other options, for one of those may be wrong.
        is_eager=True,
        callback=_emptied,
        help="Where the Tekton results are written.",
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
    int, typer.Option(envvar="RECOMPRESS_ATTEMPTS", min=1, max=20, help="Tries per operation.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        envvar="RECOMPRESS_TIMEOUT",
        min=1,
        max=_LONGEST_TIMEOUT,
        callback=_a_number,
        help="Seconds for the whole run.",
    ),
]
OutputFormat = Annotated[Output, typer.Option(envvar="RECOMPRESS_OUTPUT", help="The report, on stdout.")]
Debug = Annotated[bool, typer.Option(envvar="RECOMPRESS_DEBUG", help="Log requests, show stack traces.")]


@app.command()
def run(
    image: Annotated[str, typer.Argument(help="The image, as registry/repository[:tag]@sha256:…")],
    more_reuse_from: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REUSE_FROM",
            help="The same as --reuse-from, in a form that the array parameter of a Task expands to; behind "
            f"-- and a literal {_SBOM_FROM}, the same as that.",
        ),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(
            envvar="RECOMPRESS_PLATFORM", help="os/arch[/variant]: which entry of an index, else a guard."
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(
            envvar="RECOMPRESS_TO",
            metavar="REPO[:TAG]",
            help="Where to push. Default: the source's repository, tag sha256-<hex>.zstd-chunked.",
        ),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(envvar="RECOMPRESS_LEVEL", min=1, max=20, help="Compression level. Default: skopeo's."),
    ] = None,
    jobs: Jobs = None,
    reuse_from: Annotated[
        list[str] | None,
        typer.Option(
            envvar="RECOMPRESS_REUSE_FROM",
            metavar="IMAGE",
            help="Another image to look for zstd:chunked layers in. May be given several times.",
        ),
    ] = None,
    no_reuse: Annotated[
        bool, typer.Option("--no-reuse", envvar="RECOMPRESS_NO_REUSE", help="Compress every layer afresh.")
    ] = False,
    verify: Annotated[
        Verify,
        typer.Option(
            envvar="RECOMPRESS_VERIFY",
            help="content: every layer is read and proven, fresh and reused ones. structure: only manifests "
            "and tables of contents; sound where only trusted pipelines can push to the repository.",
        ),
    ] = Verify.CONTENT,
    if_impossible: Annotated[
        IfImpossible,
        typer.Option(
            envvar="RECOMPRESS_IF_IMPOSSIBLE",
            help="Where there can be no twin. fail: exit 5. keep: a warning, and the results name IMAGE.",
        ),
    ] = IfImpossible.FAIL,
    partial_pulls: PartialPullsOption = PartialPulls.REQUIRE,
    oci_twin: Annotated[
        bool,
        typer.Option(
            "--oci-twin",
            envvar="RECOMPRESS_OCI_TWIN",
            help="Also push the gzip image's manifest as OCI, so that an index can hold both.",
        ),
    ] = False,
    sbom: SbomOption = Policy.AUTO,
    sbom_from: Annotated[
        list[str] | None,
        typer.Option(
            envvar="RECOMPRESS_SBOM_FROM",
            metavar="REPO@sha256:…",
            help="Take no other SBOM than this one, named by the digest of its JSON. May be given several "
            "times. Default: the one that the registry has for IMAGE.",
        ),
    ] = None,
    results_dir: ResultsDir = None,
    authfile: AuthFile = None,
    ca_file: CaFile = None,
    tls_verify: TlsVerify = True,
    attempts: Attempts = 5,
    timeout: Timeout = None,
    output: OutputFormat = Output.TEXT,
    debug: Debug = False,
) -> None:
    """Push the zstd:chunked twin of IMAGE and prove it."""
    with _errors_as_exit_codes(debug), signals.ended_by_signal_or_deadline(timeout):
        jobs = jobs or default_jobs()
        behind, sboms = _parted(more_reuse_from or [])
        options = RunOptions(
            image=Reference.parse(image),
            platform=_platform(platform),
            to=_destination(to),
            level=level,
            jobs=jobs,
            reuse=not no_reuse,
            reuse_from=tuple(map(Reference.parse, (*(reuse_from or ()), *behind))),
            oci_twin=oci_twin,
            keep_impossible=if_impossible is IfImpossible.KEEP,
            require_partial_pulls=partial_pulls is PartialPulls.REQUIRE,
            environment=dict(os.environ),
            sbom=sbom,
            sbom_from=frozenset(map(_sbom, (*(sbom_from or ()), *sboms))),
        )
        connection = _connection(authfile, ca_file, tls_verify, attempts)
        # In this order: provers are forked, and a reporter starts a thread.
        with _provers(verify, jobs, connection) as provers, reporter() as progress:
            report = running.run(options, connection, provers, progress)
        _hand_out(report, output, results_dir)


@app.command()
def inspect(
    image: Annotated[str, typer.Argument(help="The image or index, by tag or digest.")],
    authfile: AuthFile = None,
    ca_file: CaFile = None,
    tls_verify: TlsVerify = True,
    attempts: Attempts = 5,
    timeout: Timeout = None,
    output: OutputFormat = Output.TEXT,
    debug: Debug = False,
) -> None:
    """Show platforms, layers and compression of IMAGE, changing nothing."""
    with _errors_as_exit_codes(debug), signals.ended_by_signal_or_deadline(timeout):
        reference = Reference.parse(image)
        connection = _connection(authfile, ca_file, tls_verify, attempts)
        with connection.client(reference.repository) as client:
            report = inspecting.inspect(client, reference)
        show(report, output)


@app.command()
def verify(
    source: Annotated[str, typer.Argument(help="The gzip image, as registry/repository[:tag]@sha256:…")],
    result: Annotated[str, typer.Argument(help="Its twin, in the same form.")],
    platform: Annotated[
        str | None, typer.Option(envvar="RECOMPRESS_PLATFORM", help="Which entry of an index.")
    ] = None,
    partial_pulls: PartialPullsOption = PartialPulls.REQUIRE,
    jobs: Jobs = None,
    authfile: AuthFile = None,
    ca_file: CaFile = None,
    tls_verify: TlsVerify = True,
    attempts: Attempts = 5,
    timeout: Timeout = None,
    output: OutputFormat = Output.TEXT,
    debug: Debug = False,
) -> None:
    """Prove that RESULT holds exactly what SOURCE holds, and that its tables of contents do not lie."""
    with _errors_as_exit_codes(debug), signals.ended_by_signal_or_deadline(timeout):
        jobs = jobs or default_jobs()
        references = Reference.parse(source), Reference.parse(result)
        connection = _connection(authfile, ca_file, tls_verify, attempts)
        # In this order: provers are forked, and a reporter starts a thread.
        with Provers(jobs, connection) as provers, reporter() as progress:
            images = []
            for reference, is_twin in zip(references, (False, True), strict=True):
                progress.step(f"reading {reference}")
                with connection.client(reference.repository) as client:
                    image = plan.resolve(client, reference, _platform(platform), is_twin=is_twin)
                images.append(image)
            report = verifying.compare(
                connection,
                provers,
                *images,
                jobs=jobs,
                require_partial_pulls=partial_pulls is PartialPulls.REQUIRE,
                reporter=progress,
            )
        show(report, output)
        if report.all_failures:
            raise VerificationFailed(f"{result} is not the zstd:chunked twin of {source}")


@app.command()
def index(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Manifests or indexes, each with its digest.")
    ],
    to: Annotated[
        str, typer.Option(envvar="RECOMPRESS_TO", metavar="REPO:TAG", help="What the index is called.")
    ],
    sbom: Annotated[
        Policy,
        typer.Option(
            envvar="RECOMPRESS_SBOM",
            help="auto, require: the index gets an SBOM that lists its images. none: it gets none.",
        ),
    ] = Policy.AUTO,
    results_dir: ResultsDir = None,
    authfile: AuthFile = None,
    ca_file: CaFile = None,
    tls_verify: TlsVerify = True,
    attempts: Attempts = 5,
    timeout: Timeout = None,
    output: OutputFormat = Output.TEXT,
    debug: Debug = False,
) -> None:
    """Push an index of IMAGEs that serves old and new clients: gzip first, annotated zstd behind."""
    with _errors_as_exit_codes(debug), signals.ended_by_signal_or_deadline(timeout):
        reference = Reference.parse(to)
        references = tuple(map(Reference.parse, images))
        connection = _connection(authfile, ca_file, tls_verify, attempts)
        with connection.client(reference.repository) as client:
            report = indexing.assemble(
                client,
                reference,
                references,
                is_task=results_dir is not None,
                has_sbom=sbom is not Policy.NONE,
            )
        _hand_out(report, output, results_dir)


@app.command()
def prune(
    repository: Annotated[str, typer.Argument(help="Where the twins are, as registry/repository.")],
    source: Annotated[
        list[str] | None,
        typer.Option(
            envvar="RECOMPRESS_SOURCE",
            metavar="REPOSITORY",
            help="Another repository where their sources may be. May be given several times.",
        ),
    ] = None,
    # No variable: what deletes is said where it is done.
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the orphans instead of listing them.")
    ] = False,
    authfile: AuthFile = None,
    ca_file: CaFile = None,
    tls_verify: TlsVerify = True,
    attempts: Attempts = 5,
    timeout: Timeout = None,
    output: OutputFormat = Output.TEXT,
    debug: Debug = False,
) -> None:
    """List the tags of twins in REPOSITORY whose source image is gone, or delete them."""
    with _errors_as_exit_codes(debug), signals.ended_by_signal_or_deadline(timeout):
        name, *others = map(_repository, (repository, *(source or ())))
        connection = _connection(authfile, ca_file, tls_verify, attempts)
        show(pruning.prune(connection, name, others, delete=delete), output)


def _version(asked: bool) -> None:
    if asked:
        print(f"recompress {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point of the command."""
    app()


@contextmanager
def _errors_as_exit_codes(debug: bool) -> Iterator[None]:
    log.to_stderr(debug)
    try:
        if sys.stdout is None:
            raise UsageError("standard output is closed, so the report cannot be written")
        yield
    except RecompressError as error:
        _fail(f"error: {error}", error.exit_code, debug)
    except signals.Terminated:
        _fail("error: terminated by a signal; no results were written", _TERMINATED, debug)
    except KeyboardInterrupt:
        _fail("error: interrupted; no results were written", _INTERRUPTED, debug)
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            full = f"{tempfile.gettempdir()} is full: {error.strerror}"
            _fail(f"error: {full}; give it more space, or name another place in TMPDIR", _USAGE, debug)
        _fail(f"error: this is a bug: {type(error).__name__}: {error}; --debug shows where", _BUG, debug)


def _fail(message: str, exit_code: int, debug: bool) -> None:
    if debug:
        logging.getLogger(__name__).exception("failed")
    # The error is the last line.
    log.no_more()
    streams.say(visible(" ".join(message.split())))
    raise typer.Exit(exit_code)


def _hand_out(report: RunReport | IndexReport, output: Output, results_dir: Path | None) -> None:
    """Print the report and write the results: these last, for once they are there a run has succeeded."""

    def tell() -> None:
        show(report, output)
        signals.too_late_to_end()

    if results_dir:
        results.write(results_dir, report.results, before=tell)
    else:
        tell()


def _connection(authfile: Path | None, ca_file: Path | None, tls_verify: bool, attempts: int) -> Connection:
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


def _provers(verify: Verify, jobs: int, connection: Connection) -> AbstractContextManager[Provers | None]:
    return Provers(jobs, connection) if verify is Verify.CONTENT else nullcontext()


def _platform(text: str | None) -> Platform | None:
    if text is None:
        return None
    try:
        return Platform.parse(text)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _repository(text: str) -> Repository:
    reference = Reference.parse(text)
    if reference.tag or reference.digest:
        raise UsageError(f"{text}: name a repository, without a tag and without a digest")
    return reference.repository


def _parted(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The images and the SBOMs behind IMAGE: Tekton cannot repeat an option for an array."""
    match arguments.count(_SBOM_FROM):
        case 0:
            return arguments, []
        case 1:
            at = arguments.index(_SBOM_FROM)
            return arguments[:at], arguments[at + 1 :]
        case _:
            # One of them is an element of an array, and what follows it could be either.
            raise UsageError(f"{_SBOM_FROM} stands twice among the arguments: it is no image and no SBOM")


def _sbom(text: str) -> Digest:
    reference = Reference.parse(text)
    if reference.digest is None or reference.tag:
        raise UsageError(f"--sbom-from {text}: name an SBOM as REPO@sha256:…, by the digest of its JSON")
    return reference.digest


def _destination(text: str | None) -> Reference | None:
    if text is None:
        return None
    destination = Reference.parse(text)
    if destination.digest:
        raise UsageError(f"--to {text}: a digest cannot be chosen, give a repository with or without a tag")
    return destination
