"""What is known of one zstd:chunked layer, and how it is proven.

`prove_layer` takes the bytes of a layer from wherever the caller has them; nothing in here knows of
registries, images or runs. The rest of the package uses the names below and no others
(tests/unit/test_walls.py).
"""

from recompress.layer.layout import Layout, Section
from recompress.layer.proof import MAX_UNCOMPRESSED, LayerProof, prove_layer

__all__ = ["MAX_UNCOMPRESSED", "LayerProof", "Layout", "Section", "prove_layer"]
