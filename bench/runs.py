"""Runs beside bare skopeo, and their memory.

Each round runs every case once, one after the other, so that what changes on the machine changes for all of
them; what counts are the medians and their ratios.
"""

from __future__ import annotations

from dataclasses import asdict

from bench.processes import peak, run, say, timed
from bench.setting import Figures, Setting
from bench.sources import Source, Sources, four_layers

LOW_LEVEL = 3
_STRUCTURE = "--verify=structure"


def runs(setting: Setting) -> Figures:
    """Seconds of each case in each round, and peaks of memory."""
    sources = four_layers(setting)
    say("giving the base a twin")
    run(["recompress", "run", sources.base.reference, "--no-tls-verify", f"--jobs={setting.jobs}"])
    seconds: dict[str, list[float]] = {}
    for number in range(setting.rounds):
        say(f"round {number + 1} of {setting.rounds}")
        for case, command in _cases(setting, sources, number).items():
            seconds.setdefault(case, []).append(took := timed(command))
            say(f"  {case}: {took:.2f} s")
    return {"size": sources.first.size, "seconds": seconds, "memory": _memory(setting, sources.first)}


def _cases(setting: Setting, sources: Sources, number: int) -> dict[str, list[str]]:
    """The commands of a round. Bare skopeo takes the other images for as much work as the first one."""
    first, changed = sources.first.reference, sources.changed.reference
    annotated = sources.annotated.reference

    def to(name: str) -> str:
        return setting.repository(f"{name}-{number}")

    recompress = setting.recompress
    return {
        "skopeo, first": setting.skopeo(first, to("skopeo")),
        "structure, first": recompress(first, to("structure"), _STRUCTURE),
        "content, first": recompress(first, to("content")),
        "structure, again": recompress(first, to("structure"), _STRUCTURE),
        "content, again": recompress(first, to("content")),
        "content, from a base": recompress(annotated, to("from-base")),
        "content, changed": recompress(changed, to("content")),
        "structure, first, low level": recompress(first, to("low-structure"), _STRUCTURE, level=LOW_LEVEL),
        "content, first, low level": recompress(first, to("low-content"), level=LOW_LEVEL),
    }


def _memory(setting: Setting, first: Source) -> Figures:
    to = setting.repository("memory")
    commands = {
        "skopeo, first": setting.skopeo(first.reference, f"{to}-skopeo"),
        "content, first": setting.recompress(first.reference, to),
        "content, again": setting.recompress(first.reference, to),
    }
    return {case: asdict(peak(command)) for case, command in commands.items()}
