"""What is known of SBOMs: SPDX, CycloneDX, package URLs. Bytes in, bytes out; nothing of registries or runs.

The rest of the package uses the names below and no others (tests/unit/test_walls.py).
"""

from recompress.sbom_document.document import (
    MAX_SBOM_BYTES,
    Derived,
    SbomFormat,
    derive,
    is_same,
    of_index,
)

__all__ = ["MAX_SBOM_BYTES", "Derived", "SbomFormat", "derive", "is_same", "of_index"]
