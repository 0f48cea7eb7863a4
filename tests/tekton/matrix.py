"""One PipelineTask with a matrix becomes many TaskRuns (docs/matrix.md of Tekton Pipelines)."""

from __future__ import annotations

from collections.abc import Mapping

from tests.tekton.variables import Refused

MOST_COMBINATIONS = 256
"""default-max-matrix-combinations-count of config-defaults."""


def fan_out(arrays: Mapping[str, list[str]]) -> list[dict[str, str]]:
    """The parameters of each TaskRun: the cartesian product, in Tekton's order.

    The first parameter changes fastest. None where an array is empty: then Tekton skips the task.
    """
    combinations: list[dict[str, str]] = [{}]
    for name, array in arrays.items():
        combinations = [{**combination, name: value} for value in array for combination in combinations]
    if len(combinations) > MOST_COMBINATIONS:
        raise Refused(f"a matrix of {len(combinations)} is more than the {MOST_COMBINATIONS} allowed")
    return combinations


def run_names(name: str, count: int, *, is_matrix: bool) -> list[str]:
    """The names of the TaskRuns."""
    return [f"{name}-{number}" for number in range(count)] if is_matrix and count > 1 else [name]


def aggregate(results: Mapping[str, Mapping[str, str]]) -> dict[str, list[str]]:
    """By result, the array of what all TaskRuns have of it.

    In the order of the TaskRuns' names: of twelve, name-10 and name-11 come before name-2.
    """
    gathered: dict[str, list[str]] = {}
    for run in sorted(results):
        for name, value in results[run].items():
            gathered.setdefault(name, []).append(value)
    return gathered
