"""What is known of one zstd:chunked layer, how it is proven, and why a layer of a source has none.

`prove_layer` and `check_source` take the bytes of a layer from wherever the caller has them; nothing in here
knows of registries, images or runs. The rest of the package uses the names below and no others
(tests/unit/test_walls.py).
"""

from recompress.layer.judging import judge_tables
from recompress.layer.layout import FOOTER_BYTES, LARGE_TOC_BYTES, Layout, Section, in_footer
from recompress.layer.partial import Verdict
from recompress.layer.proof import MAX_UNCOMPRESSED, LayerProof, prove_layer, prove_stream
from recompress.layer.source import check_source, uncompressed_digest

__all__ = [
    "FOOTER_BYTES",
    "LARGE_TOC_BYTES",
    "MAX_UNCOMPRESSED",
    "LayerProof",
    "Layout",
    "Section",
    "Verdict",
    "check_source",
    "in_footer",
    "judge_tables",
    "prove_layer",
    "prove_stream",
    "uncompressed_digest",
]
