"""The command line: options and environment in, report on stdout, exit code out."""

from __future__ import annotations

import errno
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from recompress import __version__, log, results, signals, streams
from recompress import index as indexing
from recompress import inspect as inspecting
from recompress import prune as pruning
from recompress import run as running
from recompress.errors import RecompressError, UsageError
from recompress.jobs import default_jobs
from recompress.options import (
    SBOM_FROM,
    Attempts,
    AuthFile,
    CaFile,
    Debug,
    IfImpossible,
    IfImpossibleOption,
    Jobs,
    Level,
    OutputFormat,
    PartialPulls,
    PartialPullsOption,
    SbomOption,
    Timeout,
    TlsVerify,
    Verify,
    connection_to,
    parsed_destination,
    parsed_platform,
    parsed_repository,
    parsed_sbom,
    parted,
    provers_for,
)
from recompress.printable import visible
from recompress.progress import reporter
from recompress.proving import Provers
from recompress.reference import Reference
from recompress.report import IndexReport, RunReport
from recompress.run import RunOptions
from recompress.sbom import Policy
from recompress.showing import Output, show
from recompress.twins import TwinsOptions, assemble_with_twins
from recompress.verifier import Verifier

_TERMINATED = 128 + 15
_INTERRUPTED = 128 + 2
_BUG = 1
_USAGE = UsageError.exit_code

app = typer.Typer(
    name="recompress",
    help="Push the zstd:chunked twin of a gzip image manifest, and prove that it is the same image.",
    no_args_is_help=True,
    # Help texts are text: os/arch[/variant] is no markup.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _emptied(context: typer.Context, directory: Path | None) -> Path | None:
    """Remove the results of an earlier run: however this one ends, they are not its own."""
    if directory and not context.resilient_parsing:
        with _errors_as_exit_codes(debug=False):
            results.check_directory(directory)
    return directory


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


@app.command()
def run(
    image: Annotated[str, typer.Argument(help="The image, as registry/repository[:tag]@sha256:…")],
    more_reuse_from: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="REUSE_FROM",
            help="More images as with --reuse-from, for the array parameter of a Task. After -- and a "
            f"literal {SBOM_FROM}: SBOMs, as with that option.",
        ),
    ] = None,
    platform: Annotated[
        str | None,
        typer.Option(
            envvar="RECOMPRESS_PLATFORM",
            help="os/arch[/variant]. Of an index: the entry to take. Of a single image: what it must be.",
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
    level: Level = None,
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
        bool,
        typer.Option("--no-reuse", envvar="RECOMPRESS_NO_REUSE", help="Compress every layer, reuse none."),
    ] = False,
    verify: Annotated[
        Verify,
        typer.Option(
            envvar="RECOMPRESS_VERIFY",
            help="content: every layer is read and proven, new and reused ones. structure: only manifests "
            "and tables of contents; safe only where only trusted pipelines can push to the repository.",
        ),
    ] = Verify.CONTENT,
    if_impossible: IfImpossibleOption = IfImpossible.FAIL,
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
            help="Use no other SBOM than this one, named by the digest of its JSON. May be given several "
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
        behind, sboms = parted(more_reuse_from or [])
        options = RunOptions(
            image=Reference.parse(image),
            platform=parsed_platform(platform),
            to=parsed_destination(to),
            level=level,
            jobs=jobs,
            reuse=not no_reuse,
            reuse_from=tuple(map(Reference.parse, (*(reuse_from or ()), *behind))),
            oci_twin=oci_twin,
            keep_impossible=if_impossible is IfImpossible.KEEP,
            require_partial_pulls=partial_pulls is PartialPulls.REQUIRE,
            environment=dict(os.environ),
            sbom=sbom,
            sbom_from=frozenset(map(parsed_sbom, (*(sbom_from or ()), *sboms))),
        )
        connection = connection_to(authfile, ca_file, tls_verify, attempts)
        # In this order: provers are forked, and a reporter starts a thread.
        with provers_for(verify, jobs, connection) as provers, reporter() as progress:
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
        connection = connection_to(authfile, ca_file, tls_verify, attempts)
        with connection.client(reference.repository) as client:
            report = inspecting.inspect(client, reference)
        show(report, output)


@app.command()
def verify(
    source: Annotated[
        str, typer.Argument(help="The gzip image, as registry/repository[:tag]@sha256:…, or an index.")
    ],
    result: Annotated[
        str | None,
        typer.Argument(help="Its twin, in the same form. Without it, every twin in the index is proven."),
    ] = None,
    platform: Annotated[
        str | None, typer.Option(envvar="RECOMPRESS_PLATFORM", help="Which entry of an index to take.")
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
    """Prove that RESULT holds exactly what SOURCE holds, and that its tables of contents agree with it.

    With SOURCE alone, an index: prove each twin in it against its gzip image.
    """
    with _errors_as_exit_codes(debug), signals.ended_by_signal_or_deadline(timeout):
        jobs = jobs or default_jobs()
        gzip, twin = Reference.parse(source), Reference.parse(result) if result is not None else None
        only = parsed_platform(platform)
        connection = connection_to(authfile, ca_file, tls_verify, attempts)
        # In this order: provers are forked, and a reporter starts a thread.
        with Provers(jobs, connection) as provers, reporter() as progress:
            verifier = Verifier(connection, provers, jobs, partial_pulls is PartialPulls.REQUIRE, progress)
            report = verifier.of_image(gzip, twin, only) if twin else verifier.of_index(gzip, only)
        show(report, output)
        report.check()


@app.command()
def index(
    images: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="Manifests or indexes, each with its digest.")
    ],
    to: Annotated[
        str, typer.Option(envvar="RECOMPRESS_TO", metavar="REPO:TAG", help="Where to push the index.")
    ],
    twins: Annotated[
        bool,
        typer.Option(
            "--twins",
            envvar="RECOMPRESS_TWINS",
            help="First make the zstd:chunked twins that are missing. The next four options apply to this.",
        ),
    ] = False,
    level: Level = None,
    jobs: Jobs = None,
    if_impossible: IfImpossibleOption = IfImpossible.FAIL,
    partial_pulls: PartialPullsOption = PartialPulls.REQUIRE,
    sbom: Annotated[
        Policy,
        typer.Option(
            envvar="RECOMPRESS_SBOM",
            help="auto, require: the index gets an SBOM that lists its images. none: no SBOM. With "
            "--twins it applies to the twins that are made as well, as in `run`.",
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
    """Push an index of IMAGEs that serves old and new clients: gzip first, then the annotated zstd."""
    with _errors_as_exit_codes(debug), signals.ended_by_signal_or_deadline(timeout):
        reference = Reference.parse(to)
        references = tuple(map(Reference.parse, images))
        connection = connection_to(authfile, ca_file, tls_verify, attempts)
        is_task = results_dir is not None
        if twins:
            jobs = jobs or default_jobs()
            options = TwinsOptions(
                level=level,
                jobs=jobs,
                keep_impossible=if_impossible is IfImpossible.KEEP,
                require_partial_pulls=partial_pulls is PartialPulls.REQUIRE,
                environment=dict(os.environ),
                sbom=sbom,
            )
            # In this order: provers are forked, and a reporter starts a thread.
            with Provers(jobs, connection) as provers, reporter() as progress:
                report = assemble_with_twins(
                    reference, references, options, connection, provers, progress, is_task=is_task
                )
        else:
            with connection.client(reference.repository) as client:
                report = indexing.assemble(
                    client, reference, references, is_task=is_task, has_sbom=sbom is not Policy.NONE
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
        name, *others = map(parsed_repository, (repository, *(source or ())))
        connection = connection_to(authfile, ca_file, tls_verify, attempts)
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
    """Print the report and write the results: these last: once they are there, the run has succeeded."""

    def print_report() -> None:
        show(report, output)
        signals.too_late_to_end()

    if results_dir:
        results.write(results_dir, report.results, before=print_report)
    else:
        print_report()
