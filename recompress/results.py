"""The Tekton results: one file each, written last, all or none, without a newline at the end."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from recompress.errors import UsageError
from recompress.reference import Digest, Repository

_NAMES = ("IMAGE_URL", "IMAGE_DIGEST", "IMAGE_REF", "OCI_IMAGE_REF", "SBOM_BLOB_URL", "IMAGES")


@dataclass(frozen=True, slots=True)
class Results:
    """What Tekton Chains signs (URL and digest), and what builds the index (references).

    `oci_twin` is the gzip image as an OCI manifest, where it was asked for; `sbom` the SBOM of the image, the
    document itself, where there is one.
    """

    repository: Repository
    tag: str | None
    digest: Digest
    oci_twin: Digest | None = None
    sbom: Digest | None = None

    def files(self) -> Mapping[str, str]:
        """File name and content of each result."""
        tag = f":{self.tag}" if self.tag else ""
        files = {
            "IMAGE_URL": f"{self.repository}{tag}",
            "IMAGE_DIGEST": str(self.digest),
            "IMAGE_REF": f"{self.repository}@{self.digest}",
        }
        if self.oci_twin:
            files["OCI_IMAGE_REF"] = f"{self.repository}@{self.oci_twin}"
        if self.sbom:
            files["SBOM_BLOB_URL"] = f"{self.repository}@{self.sbom}"
        return files


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
