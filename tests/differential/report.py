"""What a run has found, in numbers, and whether that is as it should be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recompress.layer import partial
from tests.differential.experiment import Result
from tests.differential.forging import Outcome
from tests.differential.mutants import missed
from tests.differential.pulls import Stack

ENOUGH = 2000
"""How many random layers, and forgeries; so many have to show of each rule that it cannot be taken out."""

MOST_FOR_NOTHING = 0.05
"""The largest part of the random layers that may be pulled in full for nothing."""


@dataclass(frozen=True, slots=True)
class Count:
    """How many layers came to what."""

    layers: int
    partially: int
    in_full: int
    for_nothing: int
    refused: int
    incomparable: int
    wrong: int

    @classmethod
    def of(cls, results: Iterable[Result]) -> Count:
        """Count the layers of images; all layers of an image that is no twin are no twins."""
        counter: Counter[str] = Counter()
        for result in results:
            counter["layers"] += result.layers
            if result.wrong or result.refused or result.incomparable:
                kind = "wrong" if result.wrong else "refused" if result.refused else "incomparable"
                counter[kind] += result.layers
                continue
            counter["partially"] += result.why_full.count(None)
            counter["for_nothing"] += len(result.for_nothing)
            counter["in_full"] += result.layers - result.why_full.count(None) - len(result.for_nothing)
        return cls(**{field: counter[field] for field in cls.__slots__})

    def __str__(self) -> str:
        parts = {
            "partially": self.partially,
            "in full": self.in_full,
            "in full for nothing": self.for_nothing,
            "refused": self.refused,
            "not comparable": self.incomparable,
            "WRONG": self.wrong,
        }
        return f"{self.layers} layers: " + ", ".join(f"{n} {what}" for what, n in parts.items() if n)


BUILDERS = ("docker", "BuildKit", "jib", "ko", "umoci, repack")
"""How the names of images begin whose layers are never refused, and never pulled in full for nothing."""


def verdict(
    found: Sequence[tuple[Stack, Result]], tools: Mapping[str, Result], outcomes: Sequence[Outcome]
) -> bool:
    """Tell what was found of random images, those of tools and forgeries; whether all is as it should be."""
    results = [result for _, result in found]
    of_all = [*results, *tools.values()]
    count, count_of_tools = Count.of(results), Count.of(tools.values())
    print(f"\nRandom: {count}\nBy tools: {count_of_tools}")
    _tell("In full for nothing, random", (_kind(why) for result in results for why in result.for_nothing))
    _tell("In full for nothing, by tools", (f"{n}: {w}" for n, r in tools.items() for w in r.for_nothing))
    _tell("Refused", (r.refused.rpartition(": ")[2] for r in of_all if r.refused))
    _tell("Not comparable", (_kind(r.incomparable) for r in of_all if r.incomparable))
    _tell("WRONG", (result.wrong for result in of_all if result.wrong))
    not_shown = missed(found)
    _tell("Rules that could be taken out without that it would be found", not_shown)
    judged = [outcome for outcome in outcomes if outcome.code is not None]
    proven = [outcome for outcome in judged if outcome.code == 0]
    wrong = [outcome for outcome in judged if outcome.wrong]
    print(f"\nForgeries: {len(judged)}, {len(proven)} of them proven, {len(wrong)} WRONG")
    _tell("Forgeries that are proven, by what was changed first", (outcome.changes[0] for outcome in proven))
    _tell("WRONG", (f"{', '.join(outcome.changes)}: {outcome.wrong}" for outcome in wrong))
    builders = [result for name, result in tools.items() if name.startswith(BUILDERS)]
    of_builders = Count.of(builders)
    return (
        not count.wrong
        and not count_of_tools.wrong
        and not wrong
        and not (of_builders.refused or of_builders.incomparable or of_builders.for_nothing)
        and count.for_nothing <= MOST_FOR_NOTHING * (count.layers - count.incomparable)
        and not (not_shown and count.layers >= ENOUGH)
    )


def _tell(title: str, lines: Iterable[str]) -> None:
    counted = Counter(lines).most_common()
    if counted:
        print(f"\n{title}:", *(f"{number:5}  {line}" for line, number in counted), sep="\n")


_WORDS = frozenset(Path(partial.__file__).read_text().split())


def _kind(reason: str) -> str:
    """A reason without what it names."""
    return " ".join(word if word in _WORDS else "…" for word in reason.partition(": ")[2].split())
