"""Every command through every personality of a registry, and the table of what came of it.

    python3 -m tests.registries FILE

It runs in the tests' container (`make registries`). tests/integration/test_registries.py compares.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from tests import images
from tests.integration.command import Outcome, recompress
from tests.integration.personalities import PERSONALITIES, Personality
from tests.integration.proxy import Proxy, proxy_to
from tests.integration.registries import Registry, running

IMAGE = images.gzip_image({"a": b"a" * 1000})
COMMANDS = ("run", "run again", "verify", "inspect", "index", "index --twins", "verify INDEX", "prune")
HEADINGS = ("registry", "what it does", *COMMANDS, "tags in the end")
HEAD = """\
# Registries

Registries answer in ways that the specification does not provide for. Each row is one such habit, by public
reports: a real registry (CNCF Distribution) behind a proxy that answers like that. Every command runs against
each. A cell is the exit code and, in brackets, how often something was tried again. `run again` is a retry of
the same run, as a Task is retried. The tags in the end are those of the twin, of the cache for later runs, of
the index, and of its SBOM.

The table is made by the tests (`make registries`), which also check it. tests/integration/personalities.py
says where each habit was reported, and with which answers; the next report is one more class there.

"""
TAIL = """
A current zot and CNCF Distribution 3 were tried as well and work as the first row does.

Where HEAD leads to a URL that is signed for GET, skopeo itself gives up, and its message is shown: configure
the registry otherwise, as with Distribution's `redirect: disable`.

What lasts is an error: 404 and 412 after all tries are exit 4 and 3, with what to do; a 401 is tried once
more with another token, and only where there was one. `registries.conf` is not followed: recompress and
skopeo both speak to the registry that is named.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """What came of the commands, and which tags there are in the end."""

    kind: type[Personality]
    outcomes: tuple[Outcome | None, ...]
    tags: tuple[str, ...]

    def __str__(self) -> str:
        return line(self.kind.name, self.kind.known, *map(_cell, self.outcomes), ", ".join(self.tags))


def line(*cells: str) -> str:
    """A row of the table."""
    return f"| {' | '.join(cells)} |"


def row(kind: type[Personality], proxy: Proxy, registry: Registry, repository: str) -> Row:
    """Run every command through a proxy that has this personality."""
    registry.push(repository, IMAGE)
    proxy.fault = kind(proxy)
    image = f"{proxy.host}/{repository}@{IMAGE.digest}"
    fixed = ("--no-tls-verify", "--output=json", f"--attempts={kind.attempts}")
    run = ("run", image, *fixed, "--jobs=1")
    first, second = recompress(*run), recompress(*run)
    inspected = recompress("inspect", image, *fixed)
    verified = indexed = with_twins = verified_index = None
    if second.code == 0:
        twin = f"{proxy.host}/{repository}@{second.report['twin_digest']}"
        verified = recompress("verify", image, twin, *fixed, "--jobs=1")
        index = f"{proxy.host}/{repository}:index"
        indexed = recompress("index", image, twin, f"--to={index}", *fixed)
        with_twins = recompress("index", "--twins", image, f"--to={index}", *fixed, "--jobs=1")
        verified_index = recompress("verify", index, *fixed, "--jobs=1")
    pruned = recompress("prune", f"{proxy.host}/{repository}", *fixed)
    tags = tuple(sorted(map(_short, registry.tags(repository))))
    outcomes = (first, second, verified, inspected, indexed, with_twins, verified_index, pruned)
    return Row(kind, outcomes, tags)


def document(rows: list[Row]) -> str:
    """docs/registries.md."""
    table = [line(*HEADINGS), line(*["---"] * len(HEADINGS)), *map(str, rows)]
    return HEAD + "\n".join(table) + "\n" + TAIL


def _cell(outcome: Outcome | None) -> str:
    if outcome is None:
        return "-"
    tries = outcome.err.count("; try ")
    return f"{outcome.code} ({tries})" if tries else str(outcome.code)


def _short(tag: str) -> str:
    if tag == f"sha256-{IMAGE.digest.hex}.zstd-chunked":
        return "twin"
    if tag.endswith(".sbom"):
        return "sbom"
    return "cache" if tag.startswith("zstd-chunked-cache-") else tag


def main() -> None:
    """Write the document to the file that is named."""
    rows = []
    with running() as registry:
        for number, kind in enumerate(PERSONALITIES):
            with proxy_to(registry) as proxy:
                rows.append(row(kind, proxy, registry, f"registries/{number}"))
    Path(sys.argv[1]).write_text(document(rows))


if __name__ == "__main__":
    main()
