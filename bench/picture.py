"""The picture: bytes that podman fetches for a second version, gzip and zstd:chunked side by side, as SVG.

It stands on the page as an image, so it has colours for dark and for light pages by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

PLACE = Path(__file__).parent.parent / "docs/second-version.svg"

_GROUPS = (
    ("rebuilt", "The same Containerfile built again"),
    ("patched", "4 KB of a program and one file of the application changed"),
)
_WIDTH, _HEIGHT = 720, 206
_LEFT, _LONGEST, _BAR, _STEP = 112, 480, 22, 28

_STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.gzip { fill: #8c959f; }
.chunked { fill: #0969da; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .gzip { fill: #6e7681; }
  .chunked { fill: #4493f8; }
}"""


def drawn(gzip: Mapping[str, int], chunked: Mapping[str, int]) -> str:
    """The picture as text; `gzip` and `chunked` are bytes by the name of the second version."""
    longest = max(size for sizes in (gzip, chunked) for version, size in sizes.items() if version != "first")
    said = []
    parts = []
    top = 44
    for version, title in _GROUPS:
        parts.append(_text(0, top, title))
        for number, (name, kind, sizes) in enumerate(
            (("gzip", "gzip", gzip), ("zstd:chunked", "chunked", chunked))
        ):
            length = max(2, round(_LONGEST * sizes[version] / longest))
            parts.append(_bar(top + 12 + number * _STEP, name, kind, length, megabytes(sizes[version])))
            said.append(f"{name} {megabytes(sizes[version])}")
        top += 96
    title = "Bytes that podman fetches for a second version of an image"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" '
        f'height="{_HEIGHT}" role="img" aria-label="{title}: {", ".join(said)}">\n'
        f"<style>{_STYLE}\n</style>\n" + "\n".join([_text(0, 16, title, "title"), *parts]) + "\n</svg>\n"
    )


def _bar(top: int, name: str, kind: str, length: int, size: str) -> str:
    middle = top + _BAR - 6
    return "\n".join(
        (
            _text(0, middle, name),
            f'<rect class="{kind}" x="{_LEFT}" y="{top}" width="{length}" height="{_BAR}" rx="3"/>',
            _text(_LEFT + length + 8, middle, size),
        )
    )


def _text(left: int, bottom: int, words: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text x="{left}" y="{bottom}"{attribute}>{words}</text>'


def megabytes(size: int) -> str:
    """Bytes in megabytes, with three digits or so."""
    return f"{size / 1e6:,.{2 if size < 1e7 else 1 if size < 1e9 else 0}f} MB"
