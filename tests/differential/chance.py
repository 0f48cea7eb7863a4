"""Examples by Hypothesis, all at once: a client pulls fifty images in little more time than one."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

T = TypeVar("T")


def examples(make: Callable[[random.Random], T], by: str, count: int) -> list[T]:
    """About so many examples, some of them the same; Hypothesis makes their choices, by the seed `by`.

    Call it once for many: the first ones are simple. What is wrong is not made smaller by Hypothesis, which
    knows of choices only and takes hundreds of attempts, but by tests.differential.shrinking.
    """
    found: list[T] = []

    @seed(by)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.randoms(use_true_random=False).map(make))
    def collect(example: T) -> None:
        found.append(example)

    collect()
    return found
