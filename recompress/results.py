"""The Tekton results: one file each, written last, all or none, without a newline at the end."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from recompress.errors import UsageError
from recompress.reference import Digest, Reference, Repository

_NAMES = (
    "IMAGE_URL",
    "IMAGE_DIGEST",
    "IMAGE_REF",
    "OCI_IMAGE_URL",
    "OCI_IMAGE_DIGEST",
    "OCI_IMAGE_REF",
    "SBOM_BLOB_URL",
    "SOURCE_ARTIFACT_INPUTS",
    "IMAGES",
)

_MOST_BYTES = 4096 - 256
"""The termination message of a Task has 4,096 bytes, and Tekton's own entries take some of them."""


@dataclass(frozen=True, slots=True)
class Named:
    """An image that results name: by its digest, and by a tag where one is on it."""

    repository: Repository
    tag: str | None
    digest: Digest

    def files(self, prefix: str = "") -> dict[str, str]:
        """What Tekton Chains signs (URL and digest), and what builds the index (reference)."""
        return {
            f"{prefix}IMAGE_URL": str(Reference(self.repository, self.tag)),
            f"{prefix}IMAGE_DIGEST": str(self.digest),
            f"{prefix}IMAGE_REF": str(Reference(self.repository, digest=self.digest)),
        }


@dataclass(frozen=True, slots=True)
class Results:
    """What a run hands out.

    `oci_image` is the gzip image as an OCI manifest, where it was asked for. `source` is the manifest that
    `image` was made of; None where `image` is the source itself. `sbom` is the SBOM of `image`, the document
    itself, where there is one.
    """

    image: Named
    oci_image: Named | None = None
    source: Named | None = None
    sbom: Digest | None = None

    def files(self) -> dict[str, str]:
        """File name and content of each result."""
        files = self.image.files()
        if self.oci_image:
            files |= self.oci_image.files("OCI_")
        if self.source:
            files["SOURCE_ARTIFACT_INPUTS"] = _artifact(self.source)
        if self.sbom:
            files["SBOM_BLOB_URL"] = str(Reference(self.image.repository, digest=self.sbom))
        return files


def _artifact(image: Named) -> str:
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

    Results of an earlier run are removed: a run that fails has no results.
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
