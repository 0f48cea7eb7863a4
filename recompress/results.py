"""The Tekton results: one file each, written last, all or none, without a newline at the end."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from recompress.errors import UsageError
from recompress.reference import Reference

_NAMES = (
    "IMAGE_URL",
    "IMAGE_DIGEST",
    "IMAGE_REF",
    "OCI_IMAGE_URL",
    "OCI_IMAGE_DIGEST",
    "OCI_IMAGE_REF",
    "SOURCE_ARTIFACT_INPUTS",
    "IMAGES",
)

_MOST_BYTES = 4096 - 256
"""The termination message of a Task has 4,096 bytes, and Tekton's own entries take some of them."""


@dataclass(frozen=True, slots=True)
class Results:
    """What a run hands out; each image has its digest, and a tag where one is on it.

    `oci_image` is the gzip image as an OCI manifest, where it was asked for. `source` is the manifest that
    `image` was made of; None where `image` is the source itself.
    """

    image: Reference
    oci_image: Reference | None = None
    source: Reference | None = None

    def files(self) -> dict[str, str]:
        """File name and content of each result."""
        files = _names("", self.image)
        if self.oci_image:
            files |= _names("OCI_", self.oci_image)
        if self.source:
            files["SOURCE_ARTIFACT_INPUTS"] = _artifact(self.source)
        return files


def _names(prefix: str, image: Reference) -> dict[str, str]:
    """What Tekton Chains signs (URL and digest), and what builds the index (reference)."""
    return {
        f"{prefix}IMAGE_URL": str(replace(image, digest=None)),
        f"{prefix}IMAGE_DIGEST": str(image.digest),
        f"{prefix}IMAGE_REF": str(replace(image, tag=None)),
    }


def _artifact(image: Reference) -> str:
    """An object result by which Tekton Chains learns of an artifact (docs/slsa-provenance.md there).

    The scheme is the one by which Chains names the images of steps among the materials.
    """
    return json.dumps(
        {"uri": f"oci://{image.repository}", "digest": str(image.digest)}, separators=(",", ":")
    )


def fit(files: Mapping[str, str]) -> bool:
    """Whether all these results can leave a Task, by the termination message of its container."""
    # How Tekton's entrypoint writes them (pkg/result, RunResult), in the order of its fields.
    message = [{"key": name, "value": value, "type": 1} for name, value in files.items()]
    return len(json.dumps(message, separators=(",", ":"))) <= _MOST_BYTES


def check_directory(directory: Path) -> None:
    """Raise UsageError unless results can be written there, before any work is done.

    Results of an earlier run are taken away: a run that fails has none.
    """
    try:
        if not directory.is_dir():
            raise UsageError(f"the results directory {directory} does not exist")
        with tempfile.TemporaryFile(dir=directory):
            pass
        for name in _NAMES:
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"the results directory {directory} cannot be written: {error.strerror}") from None


def write(directory: Path, files: Mapping[str, str], before: Callable[[], None] = lambda: None) -> None:
    """Write each file beside its place first and then move them all there.

    A reader sees whole files, and all of them or none. `before` is called when nothing is left but to move
    them: if it raises, there are none. Raises UsageError where the directory cannot be written.
    """
    moves: list[tuple[Path, Path]] = []
    try:
        for name, content in files.items():
            handle, temporary = tempfile.mkstemp(dir=directory, prefix=f".{name}.")
            moves.append((Path(temporary), directory / name))
            with os.fdopen(handle, "w") as file:
                file.write(content)
            # mkstemp makes files for their owner alone, and who reads results may be another user.
            os.chmod(temporary, 0o644)
        before()
        for written, place in moves:
            written.replace(place)
    except BaseException as error:
        for written, place in moves:
            if not written.exists():
                place.unlink(missing_ok=True)
            written.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise UsageError(f"the results cannot be written to {directory}: {error.strerror}") from None
        raise
