"""The tables, in Markdown, and the picture, drawn from the results.

    python3 -m bench.tables [--write] [RESULTS]

Prints all tables. With --write each one goes into the documents, between the lines <!-- bench: NAME --> and
<!-- /bench -->, and the picture is drawn. It needs nothing but Python.
"""

from __future__ import annotations

import argparse
import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from bench import picture, results
from bench.picture import megabytes

_ROOT = Path(__file__).parent.parent
_RESULTS = _ROOT / "build/bench/results.json"
DOCUMENTS = ("README.md", "bench/README.md", "docs/design.md", "docs/reference.md")
_BLOCK = re.compile(r"(<!-- bench: (?P<name>[a-z-]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)
_MIB = 2**20

Figures = dict[str, Any]
Lines = list[str]


def runs(found: Figures) -> Lines:
    """Runs beside bare skopeo, with what they are to reach."""
    seconds: dict[str, list[float]] = found["seconds"]
    bare = "skopeo, first"

    def row(what: str, case: str, against: str, aim: float) -> Sequence[str]:
        mine, other = statistics.median(seconds[case]), statistics.median(seconds[against])
        faster = aim > 2
        ratio = other / mine if faster else mine / other
        reached = ratio >= aim if faster else ratio <= aim
        words = f"{ratio:.1f} times faster" if faster else f"{ratio:.2f} times the time"
        aims = f"at least {aim:g}" if faster else f"at most {aim:.2f}"
        spread = f"{mine:.2f} s ({min(seconds[case]):.2f} to {max(seconds[case]):.2f})"
        compared = f"{'bare skopeo' if against == bare else '`--verify structure`'}, {other:.2f} s"
        return what, spread, compared, words, aims + ("" if reached else ", **missed**")

    image = f"an image of {megabytes(found['size'])} as gzip, level: skopeo's default or as it says"
    return [
        *_caption(found, image),
        *_table(
            ("case", "recompress (spread)", "compared with", "ratio", "aim"),
            [
                row("first run, `--verify structure`", "structure, first", bare, 1.10),
                row("first run, content proven", "content, first", "structure, first", 1.03),
                row("the same, level 3", "content, first, low level", "structure, first, low level", 1.12),
                row(
                    "first run, everything but `/app` from a base with a twin",
                    "content, from a base",
                    bare,
                    12,
                ),
                row("same image again, content proven", "content, again", bare, 20),
                row("same image again, `--verify structure`", "structure, again", bare, 60),
                row("one small layer changed, content proven", "content, changed", bare, 15),
            ],
        ),
    ]


def speed(found: Figures) -> Lines:
    """The same, in short."""
    seconds = {case: statistics.median(times) for case, times in found["seconds"].items()}
    bare = seconds["skopeo, first"]
    rows = (
        ("first run", "content, first"),
        ("first run, on a base that has a twin", "content, from a base"),
        ("one small layer changed", "content, changed"),
        ("the same image again", "content, again"),
        ("the same image again, `--verify structure`", "structure, again"),
    )
    return [
        *_caption(found, f"an image of {megabytes(found['size'])} as gzip"),
        *_table(
            ("", "`recompress run`", "bare `skopeo copy`"),
            [(what, f"{seconds[case]:.1f} s", f"{bare:.1f} s") for what, case in rows],
        ),
    ]


def memory(found: Figures) -> Lines:
    """The peaks of memory."""
    names = {
        "skopeo, first": "bare skopeo",
        "content, first": "first run",
        "content, again": "same image again",
    }
    rows = [(what, *_memory(found["memory"][case])) for case, what in names.items()]
    title = f"peak memory (PSS, MiB), {found['made']['jobs']} layers at a time"
    return _table((title, "recompress and its provers", "skopeo", "together"), rows)


def proof(found: Figures) -> Lines:
    """The proof alone."""
    one, tiny, several = (statistics.median(found[what]) for what in ("one", "tiny", "several"))
    size, cpus = found["ordinary"]["uncompressed"] / 1e6, found["cpus"]

    def row(what: str, reached: float, aim: float, unit: str) -> Sequence[str]:
        return (
            what,
            f"{reached:,.0f} {unit}",
            f"at least {aim:,.0f}" + ("" if reached >= aim else ", **missed**"),
        )

    entries = found["ordinary"]["entries"]
    return [
        *_caption(
            found,
            f"a layer of {size:.0f} MB in {entries:,} files, and one of {found['tiny_entries']:,} files",
        ),
        *_table(
            ("`prove_layer`, from memory", "speed", "aim"),
            [
                row("one layer of ordinary files", size / one, 450, "MB/s"),
                row("one layer of files of 1 KB", found["tiny_entries"] / tiny, 36_000, "entries/s"),
                row(f"{cpus} layers at once, for each CPU", size / several, 240, "MB/s"),
            ],
        ),
    ]


def levels(found: Figures) -> Lines:
    """What a level costs."""

    def name(group: list[int | None]) -> str:
        numbers = [level for level in group if level is not None]
        text = f"{numbers[0]} to {numbers[-1]}" if len(numbers) > 1 else f"{numbers[0]}"
        return f"{text}, the default" if None in group else text

    def row(level: Figures) -> Sequence[str]:
        pulled = (megabytes(level["pulled"][version]) for version in ("first", "patched", "rebuilt"))
        return (
            name(level["levels"]),
            f"{statistics.median(level['seconds']):.1f} s",
            megabytes(level["size"]),
            *pulled,
        )

    first, patched, rebuilt = (
        megabytes(found["gzip_pulled"][version]) for version in ("first", "patched", "rebuilt")
    )
    gzip = ("gzip", "", megabytes(found["size"]), first, patched, rebuilt)
    headings = ("`--level`", "first run", "size", "first pull", "pull after a patch", "pull after a rebuild")
    return [
        *_caption(found, f"an image of {megabytes(found['size'])} as gzip"),
        *_table(headings, [*map(row, found["levels"]), gzip]),
    ]


def second_version(found: Figures) -> Lines:
    """What a second version costs podman to pull."""
    names = {
        "rebuilt": "the same Containerfile built again: little but times differs",
        "patched": "4 KB of a program and one file of the application changed",
    }
    gzip, chunked = found["gzip_pulled"], _default(found)["pulled"]
    rows = [
        (
            what,
            megabytes(gzip[version]),
            megabytes(chunked[version]),
            f"{gzip[version] / chunked[version]:.0f} times less",
        )
        for version, what in names.items()
    ]
    return _table(("bytes that podman fetches for a second version", "gzip", "zstd:chunked", ""), rows)


def peers(found: Figures) -> Lines:
    """Other tools, on an ordinary image."""
    rows = [_peer(name, tool) for name, tool in found["tools"].items()]
    headings = (
        "tool",
        "first",
        "again",
        "size",
        "pulled partially",
        "image ID",
        "lost",
        "`recompress verify`",
    )
    image = (
        f"an OCI image of {found['layers']} layers, {megabytes(found['size'])} as gzip; each tool's own level"
    )
    return [*_caption(found, image), *_table(headings, rows)]


def peers_docker(found: Figures) -> Lines:
    """Other tools, on an image that is not ordinary."""
    rows = [(name, *_made(tool["docker"], 2)) for name, tool in found["tools"].items() if "docker" in tool]
    headings = ("tool", "pulled partially", "image ID", "lost", "`recompress verify`")
    return _table(headings, rows)


def large(found: Figures) -> Lines:
    """What is large, beside bare skopeo."""

    def rows() -> Iterable[Sequence[str]]:
        for name, case in found["cases"].items():
            for which, what in (("skopeo", "bare skopeo"), ("first", "first run"), ("again", "again")):
                size = megabytes(case["uncompressed"]) if which == "skopeo" else ""
                title = name if which == "skopeo" else ""
                yield title, size, what, f"{case[which]['seconds']:.1f} s", *_memory(case[which])

    headings = ("", "uncompressed", "", "seconds", "recompress, MiB", "skopeo, MiB", "together, MiB")
    return [*_caption(found, f"level {found['level']}, one try"), *_table(headings, list(rows()))]


def maxprocs(found: Figures) -> Lines:
    """skopeo's memory by GOMAXPROCS and CPU limit."""
    limits = sorted({case["cpus"] for case in found["cases"]})
    numbers = list(dict.fromkeys(case["maxprocs"] for case in found["cases"]))
    cell = {(case["cpus"], case["maxprocs"]): f"{case['rss'] / _MIB:.0f}" for case in found["cases"]}
    rows = [(number or "not set", *(cell[limit, number] for limit in limits)) for number in numbers]
    return [
        *_caption(found, f"an image of {megabytes(found['size'])} as gzip, one try"),
        *_table(("skopeo's peak memory (RSS, MiB), GOMAXPROCS", *(f"`--cpus={n}`" for n in limits)), rows),
    ]


TABLES: dict[str, tuple[str, Callable[[Figures], Lines]]] = {
    "runs": ("runs", runs),
    "speed": ("runs", speed),
    "memory": ("runs", memory),
    "proof": ("proof", proof),
    "levels": ("versions", levels),
    "second-version": ("versions", second_version),
    "peers": ("peers", peers),
    "peers-docker": ("peers", peers_docker),
    "large": ("large", large),
    "maxprocs": ("maxprocs", maxprocs),
}
"""By the name that stands in the documents: the benchmark that it is of, and the table."""


def written(document: str, found: results.Results) -> str:
    """A document with the tables of what was measured in their places; other ones stay as they are."""

    def block(match: re.Match[str]) -> str:
        benchmark, table = TABLES[match["name"]]
        if benchmark not in found:
            return match[0]
        return f"{match[1]}" + "\n".join(table(found[benchmark])) + f"\n{match[3]}"

    return _BLOCK.sub(block, document)


def main() -> None:
    """Print the tables, and put them where they belong."""
    parser = argparse.ArgumentParser(prog="tables", description=__doc__)
    parser.add_argument("results", nargs="?", type=Path, default=_RESULTS)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    found = results.load(arguments.results)
    known = [(name, table(found[of])) for name, (of, table) in TABLES.items() if of in found]
    print("\n\n".join(f"{name}:\n\n" + "\n".join(lines) for name, lines in known))
    if arguments.write:
        _write(found)


def _write(found: results.Results) -> None:
    for document in (_ROOT / name for name in DOCUMENTS):
        if document.exists():
            document.write_text(written(document.read_text(), found))
    if "versions" in found:
        picture.PLACE.write_text(
            picture.drawn(found["versions"]["gzip_pulled"], _default(found["versions"])["pulled"])
        )


def _default(found: Figures) -> Figures:
    (level,) = (level for level in found["levels"] if None in level["levels"])
    assert isinstance(level, dict)  # noqa: S101 # as versions.py writes it
    return level


def _peer(name: str, tool: Figures) -> Sequence[str]:
    if "missing" in tool:
        return name, f"{tool['missing']} was not there", *[""] * 6
    first, again = (f"{statistics.median(tool[which]):.1f} s" for which in ("first", "again"))
    return name, first, again, megabytes(tool["oci"]["size"]), *_made(tool["oci"], 3)


def _made(made: Figures, layers: int) -> Sequence[str]:
    partially = made["pulled_partially"]
    pulled = "podman cannot pull it" if partially is None else f"{partially} of {layers} layers"
    verdict = made["verify"]
    words = "; ".join(dict.fromkeys(map(_in_short, verdict["failures"])))
    return (
        pulled,
        "kept" if made["keeps_image_id"] else "another",
        ", ".join(made["lost"]) or "nothing",
        f"exit {verdict['code']}" + (f": {words}" if words else ""),
    )


def _in_short(failure: str) -> str:
    """What is wrong, without what it is wrong with."""
    return re.sub(r" sha256:[0-9a-f]{64}| at offset [0-9]+", "", failure.rpartition(": ")[2])


def _memory(peak: Figures) -> Sequence[str]:
    return tuple(f"{peak[what] / _MIB:.0f}" for what in ("recompress", "skopeo", "together"))


def _caption(found: Figures, what: str) -> Lines:
    made = found["made"]
    rounds = f"medians of up to {made['rounds']} rounds, " if made["rounds"] > 1 else "one round, "
    tools = f"skopeo {made['skopeo']}, podman {made['podman']}, {made['date']}"
    return [f"{made['cpus']} CPUs, {rounds}{what}; {tools}.", ""]


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Lines:
    dashes = ["---"] * len(headings)
    return ["| " + " | ".join(row) + " |" for row in (headings, dashes, *rows)]


if __name__ == "__main__":
    main()
