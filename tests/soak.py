"""Many runs with random faults and kills against a real registry; a wrong outcome is one too many.

    python3 -m tests.soak [--runs N] [--jobs N] [--seed N] [--minutes N]

It runs in the tests' container (`make soak`), against Debian's CNCF Distribution 2.8 and, where
hack/distribution3.sh has built it, in turns against Distribution 3. The same seed gives the same faults,
though not the same moments. What is wrong: an exit code that the fault cannot explain, results without
success, a tag on anything but a proven twin, a source that has changed, a file or a process that is left, no
end at all.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from recompress.reference import Digest
from tests.fake_registry import error_answer
from tests.http_server import Answer, Request
from tests.integration.command import Outcome
from tests.integration.faults import BROKEN, ENDPOINTS, PASSING, is_at
from tests.integration.proxy import Fault, Proxy, proxy_to
from tests.integration.registries import DISTRIBUTION_3, Registry, distribution_3, running
from tests.integration.scene import CLEAN_NEW, CLEAN_OLD, NEW, OLD, Scene, clean_twin

SIGNALS = {"SIGTERM": (15, (0, 143, -15)), "SIGINT": (2, (0, 130, -2)), "SIGKILL": (9, (0, -9))}
PERMANENT = {
    "401 for ever": (error_answer(401, "UNAUTHORIZED", "no"), (0, 3, 7)),
    "403 for ever": (error_answer(403, "DENIED", "no"), (0, 3, 7)),
    "404 for ever": (error_answer(404, "UNKNOWN", "gone"), (0, 4, 7)),
    "503 for ever": (error_answer(503, "BUSY", "later"), (0, 7)),
    "garbage for ever": (Answer(200, b"\x00garbage"), (0, 3, 4, 5, 6, 7)),
}
"""What an endpoint may answer to every request, and the exit codes that this explains."""


@dataclass
class Plan:
    """What happens to one run, and which exit codes are then right."""

    name: str
    codes: tuple[int, ...]
    fault: Fault
    signal: int | None = None
    after: float = 0.0
    options: tuple[str, ...] = ("--attempts=10",)


def some_requests(chance: float, most: int, dice: random.Random, endpoints: list[str]) -> Fault:
    """Chooses requests by chance, at these endpoints and so many at most; None where one is left alone."""
    lock, left = threading.Lock(), [most]

    def choose(request: Request) -> Answer | None:
        with lock:
            hit = left[0] > 0 and any(is_at(e, request) for e in endpoints) and dice.random() < chance
            left[0] -= hit
        return Answer() if hit else None

    return choose


def plan(dice: random.Random, proxy: Proxy) -> Plan:
    """What happens, by the dice."""
    endpoints = dice.sample(list(ENDPOINTS), dice.randint(1, 4))
    hit = some_requests(dice.choice((0.3, 0.6, 1.0)), dice.randint(1, 5), dice, endpoints)
    match dice.choice(
        ("nothing", "broken", "broken", "passing", "passing", "for ever", "time", *SIGNALS, *SIGNALS)
    ):
        case "nothing":
            return Plan("nothing", (0,), lambda _: None)
        case "broken":
            kind = dice.choice(list(BROKEN))
            right = (0, 6) if kind == "Content-Length too small" else (0,)
            return Plan(kind, right, lambda r: BROKEN[kind](proxy.forward(r)) if hit(r) else None)
        case "passing":
            kind = dice.choice(list(PASSING))
            if kind == "upload unknown":
                endpoints[:] = ["the bytes of an upload", "the end of an upload"]
            return Plan(kind, (0,), lambda r: PASSING[kind] if hit(r) else None)
        case "for ever":
            kind = dice.choice(list(PERMANENT))
            answer, codes = PERMANENT[kind]
            # A registry that says it has put a tag where it has not is beyond help.
            at = next(
                e for e in (*endpoints, "a blob") if (kind, e) != ("garbage for ever", "the twin's tag")
            )
            return Plan(kind, codes, lambda r: answer if is_at(at, r) else None, options=("--attempts=2",))
        case "time":
            slow = dice.choice(endpoints)
            fault: Fault = lambda r: BROKEN["slow"](proxy.forward(r)) if is_at(slow, r) else None  # noqa: E731
            return Plan("too little time", (0, 7), fault, options=(f"--timeout={dice.randint(1, 3)}",))
        case name:
            number, by_signal = SIGNALS[name]
            kind = dice.choice(list(BROKEN)[:3])
            fault = lambda r: BROKEN[kind](proxy.forward(r)) if hit(r) else None  # noqa: E731
            return Plan(name, by_signal, fault, number, dice.uniform(0.0, 4.0))


@dataclass(frozen=True, slots=True)
class Ground:
    """What all runs stand on: the registries, each with the twins as they must be."""

    registries: tuple[tuple[Registry, tuple[Digest, Digest]], ...]
    directory: Path
    seed: int
    deadline: float


def one(ground: Ground, number: int) -> tuple[str, str, str]:
    """One run: what happened to it, how it ended, and what is wrong with that, if anything."""
    if time.monotonic() > ground.deadline:
        return "no time left", "not run", ""
    dice = random.Random(f"{ground.seed}/{number}")
    registry, twins = ground.registries[number % len(ground.registries)]
    with proxy_to(registry) as proxy:
        work = ground.directory / str(number)
        scene = Scene(registry, f"soak/{number}", proxy.host, work, *twins).prepare()
        chosen = plan(dice, proxy)
        proxy.fault = chosen.fault
        process = scene.start(*chosen.options)
        if chosen.signal:
            timer = threading.Timer(chosen.after, process.send_signal, (chosen.signal,))
            timer.start()
        err = "it did not end"
        try:
            outcome: Outcome = scene.ended(process)
            err = outcome.err
            wrong = "" if outcome.code in chosen.codes else f"exit code {outcome.code}"
        except (AssertionError, subprocess.TimeoutExpired):
            process.kill()
            wrong = traceback.format_exc(limit=-1)[:2000]
        finally:
            if chosen.signal:
                timer.cancel()
    if wrong:
        wrong = f"run {number}, {chosen.name}: {wrong}\n{err}"
    return chosen.name, str(process.returncode), wrong


def main() -> int:
    """Run them all; 1 if an outcome was wrong."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--minutes", type=float, default=30)
    options = parser.parse_args()
    print(f"{options.runs} runs, {options.jobs} at a time, seed {options.seed}", flush=True)
    began = time.monotonic()
    endings: Counter[tuple[str, str]] = Counter()
    wrongs: list[str] = []
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        registries = [stack.enter_context(running())]
        if DISTRIBUTION_3.exists():
            registries.append(stack.enter_context(distribution_3(directory)))
        print(f"{len(registries)} registries", flush=True)
        twins = ((clean_twin(r, CLEAN_OLD, OLD), clean_twin(r, CLEAN_NEW, NEW)) for r in registries)
        grounds = tuple(zip(registries, twins, strict=True))
        ground = Ground(grounds, directory, options.seed, began + 60 * options.minutes)
        with ThreadPoolExecutor(options.jobs) as pool:
            for done, (name, code, wrong) in enumerate(
                pool.map(lambda number: one(ground, number), range(options.runs)), 1
            ):
                endings[name, code] += 1
                if wrong:
                    wrongs.append(wrong)
                    print(wrong, flush=True)
                if done % 25 == 0:
                    print(f"{done} runs, {len(wrongs)} wrong outcomes", flush=True)
    for (name, code), count in sorted(endings.items()):
        print(f"{count:5}  {name:28} {'done' if code == '0' else f'exit code {code}'}")
    not_run = sum(count for (_, code), count in endings.items() if code == "not run")
    print(
        f"{options.runs - not_run} runs in {time.monotonic() - began:.0f} s, seed {options.seed}, "
        f"{len(wrongs)} wrong outcomes"
    )
    return 1 if wrongs or not_run else 0


if __name__ == "__main__":
    sys.exit(main())
