"""Every way this project fails, with the exit code of the command line.

RecompressError
├── UsageError            2   bad reference, no digest, bad option
├── Refused               3   the registry refused: authentication or authorisation
├── NotFound              4   no such repository, manifest or blob
│   └── Vanished          4   nor what this run has pushed or read before
├── Unsupported           5   cannot be recompressed; prune: orphans cannot be found or deleted
│   └── Artifact          5   it is no image: an SBOM, a chart, a signature
├── VerificationFailed    6   what was pushed is not what it must be; no results
├── Unavailable           7   registry or network kept failing after all tries
│   ├── TimedOut          7   the time for the whole run ran out
│   └── SkopeoFailed      7   skopeo ended with an error (skopeo.py)
├── SkopeoUnusable        8   skopeo is missing or too old
└── UnknownCache              skopeo's cache has an unexpected form: no layer is reused (blobcache.py)

An error is one line: what is wrong, with which image, and what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class RecompressError(Exception):
    """The root of all errors that the command line turns into an exit code.

    `temporary` says whether trying again can help, `retry_after` is the number of seconds that
    the registry asked to be left alone for.
    """

    exit_code = 1

    def __init__(self, message: str, *, temporary: bool = False, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.temporary = temporary
        self.retry_after = retry_after


class UsageError(RecompressError):
    """The command line, an environment variable or a reference in it is wrong."""

    exit_code = 2


class Refused(RecompressError):
    """The registry answered 401 or 403, or there are no credentials that it takes.

    `once_more` says that a second try can help, and a third cannot.
    """

    exit_code = 3

    def __init__(
        self,
        message: str,
        *,
        temporary: bool = False,
        retry_after: float | None = None,
        once_more: bool = False,
    ) -> None:
        super().__init__(message, temporary=temporary, retry_after=retry_after)
        self.once_more = once_more


class NotFound(RecompressError):
    """The registry has no such repository, manifest or blob."""

    exit_code = 4


class Vanished(NotFound):
    """The registry does not have what this run has pushed to it, or read from it, before.

    At first that passes: it takes a moment until all of a registry has what a part of it took.
    """


class Unsupported(RecompressError):
    """The image is of a kind that has no zstd:chunked twin, or the registry cannot do what is asked."""

    exit_code = 5


class Artifact(Unsupported):
    """What is there is an artifact, not an image (OCI image specification 1.1, artifacts-guidance.md)."""


class VerificationFailed(RecompressError):
    """Bytes from the registry are not what their digest, descriptor or config says."""

    exit_code = 6


class Unavailable(RecompressError):
    """The registry or the network failed."""

    exit_code = 7


class TimedOut(Unavailable):
    """The time for the whole run ran out."""


class SkopeoUnusable(RecompressError):
    """skopeo is not there, or has no --dest-force-compress-format."""

    exit_code = 8


NOTHING_THERE = (NotFound, Refused, Unsupported, VerificationFailed)
"""What reading a manifest raises where nothing usable is there. Some registries refuse what is not there."""


@contextmanager
def about(
    what: str,
    caught: type[Exception] | tuple[type[Exception], ...],
    raised: type[RecompressError] | None = None,
) -> Iterator[None]:
    """Put `what`, the subject, before the message of an error of type `caught`.

    It is raised as `raised`, or as what it was.
    """
    try:
        yield
    except caught as error:
        kind = raised or type(error)
        raise kind(f"{what}: {error}") from None
