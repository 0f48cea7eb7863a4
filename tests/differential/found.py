"""The images and forgeries that were wrong once, each as small as it was still wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from recompress.reference import Digest
from tests.differential.forging import Forgery, forge
from tests.differential.layers import Image
from tests.differential.pulls import Laboratory, Stack, gzip_image, stack_of
from tests.images import HandmadeImage

_DATA = Path(__file__).parent.parent / "data/differential"
_FORGERIES = _DATA / "forgeries"
_MOVE = "  When this is mended, move it to {}, under a name that says what it is."
T = TypeVar("T")


def _by_name(directory: Path, suffix: str, read: Callable[[Path, str], T]) -> dict[str, T]:
    names = dict.fromkeys(file.name.partition(".")[0] for file in sorted(directory.glob(f"*{suffix}")))
    return {name: read(directory, name) for name in names}


def _stack(directory: Path, name: str) -> Stack:
    return tuple(file.read_bytes() for file in sorted(directory.glob(f"{name}.*.tar")))


def _forgery(directory: Path, name: str) -> tuple[Stack, HandmadeImage]:
    stack = _stack(directory, name)
    layers = tuple(file.read_bytes() for file in sorted(directory.glob(f"{name}.*.layer")))
    manifest = (directory / f"{name}.manifest.json").read_bytes()
    return stack, HandmadeImage(manifest, gzip_image(stack).config, layers)


FOUND = _by_name(_DATA, ".tar", _stack)
"""The layers of the images as tar streams, by what is odd in them."""

FORGED = _by_name(_FORGERIES, ".tar", _forgery)
"""The forgeries, with the layers of the image that each is of, by what is changed."""


def write_image(directory: Path, image: Image) -> None:
    """Write the layers to files, and show what is in them."""
    name = Digest.of(b"".join(stack_of(image))).hex[:12]
    _write_layers(directory, name, image)
    print(_MOVE.format("tests/data/differential"), flush=True)


def write_forgery(directory: Path, laboratory: Laboratory, forgery: Forgery) -> None:
    """Write the layers of the image, those of its forgery and the manifest to files, and show them."""
    made = forge(laboratory, forgery)
    name = f"forgery-{made.digest.hex[:12]}"
    (directory / f"{name}.manifest.json").write_bytes(made.manifest)
    for number, blob in enumerate(made.layers):
        (directory / f"{name}.{number}.layer").write_bytes(blob)
    print("  Changed:", *forgery.changes, sep="\n    ")
    _write_layers(directory, name, forgery.image)
    print(_MOVE.format("tests/data/differential/forgeries"), flush=True)


def _write_layers(directory: Path, name: str, image: Image) -> None:
    for number, layer in enumerate(image):
        file = directory / f"{name}.{number}.tar"
        file.write_bytes(layer.stream)
        print(f"  {file}", *layer.entries, sep="\n    ")
