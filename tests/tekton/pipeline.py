"""A PipelineRun: each task when those before it have succeeded, a matrix in parallel, retries, results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from tests.tekton import matrix, resources, validation
from tests.tekton.resources import Pipeline, PipelineTask, Task
from tests.tekton.validation import Tasks
from tests.tekton.variables import Refused, Value, replace, substitute, variables


@dataclass(frozen=True, slots=True)
class Ended:
    """How a TaskRun ended. `out` and `log` are what its step printed on stdout and stderr."""

    succeeded: bool
    results: Mapping[str, str]
    log: str = ""
    out: str = ""


Start = Callable[[str, Task, Mapping[str, Value], frozenset[str]], Ended]
"""Runs one TaskRun: its name, its Task, parameters, and the workspaces that are bound."""


@dataclass(slots=True)
class PipelineRun:
    """What became of a Pipeline. `runs` has every try, by the name of the TaskRun."""

    runs: dict[str, list[Ended]] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    results: dict[str, Value] = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether every task did."""
        return not self.failed

    @property
    def log(self) -> str:
        """All that was printed, for the message of a test that fails."""
        return "\n".join(
            f"--- {name}, try {number}: {'succeeded' if ended.succeeded else 'failed'}\n{ended.log}"
            for name, tries in self.runs.items()
            for number, ended in enumerate(tries, start=1)
        )


def run(
    pipeline: Pipeline,
    tasks: Tasks,
    start: Start,
    params: Mapping[str, Value],
    workspaces: frozenset[str] = frozenset(),
) -> PipelineRun:
    """Run a Pipeline. Refused where Tekton would not start it."""
    validation.check(pipeline, tasks)
    _check_bound(pipeline, workspaces)
    values: dict[str, Value] = {
        f"params.{name}": value for name, value in resources.values(pipeline.params, params).items()
    }
    result = PipelineRun()
    before = validation.ordered(pipeline)
    waiting = {task.name: task for task in pipeline.tasks}
    ended: set[str] = set()
    running: dict[Future[Mapping[str, Value]], PipelineTask] = {}
    with ThreadPoolExecutor(len(pipeline.tasks)) as pool:
        while True:
            for name in [n for n in waiting if before[n] <= ended and not result.failed]:
                task = waiting.pop(name)
                work = _Work(task, tasks[task.task], start, workspaces, result)
                running[pool.submit(work.run, dict(values))] = task
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(future)
                values |= future.result()
                ended.add(task.name)
    result.skipped += waiting
    for name, template in pipeline.results.items():
        # A PipelineRun that failed has the results that are of tasks that did not.
        if all(variable in values for variable, _ in variables(template)):
            result.results[name] = replace(template, values)
    return result


@dataclass(frozen=True, slots=True)
class _Work:
    """One task of a PipelineRun."""

    entry: PipelineTask
    task: Task
    start: Start
    workspaces: frozenset[str]
    result: PipelineRun

    def run(self, values: Mapping[str, Value]) -> Mapping[str, Value]:
        """Run it in all its TaskRuns; what later tasks can refer to."""
        if not self._is_wanted(values):
            self.result.skipped.append(self.entry.name)
            return {}
        fixed = {name: replace(value, values) for name, value in self.entry.params.items()}
        arrays: dict[str, list[str]] = {}
        for name, value in self.entry.matrix.items():
            array = replace(value, values)
            assert isinstance(array, list)
            arrays[name] = array
        combinations = matrix.fan_out(arrays)
        if not combinations:
            self.result.skipped.append(self.entry.name)
            return {}
        names = matrix.run_names(self.entry.name, len(combinations), is_matrix=bool(arrays))
        with ThreadPoolExecutor(len(names)) as pool:
            tries = list(pool.map(self._run_one, names, ({**fixed, **c} for c in combinations)))
        last = {name: ended[-1] for name, ended in zip(names, tries, strict=True)}
        self.result.runs |= dict(zip(names, tries, strict=True))
        if not all(ended.succeeded for ended in last.values()):
            self.result.failed.append(self.entry.name)
            return {}
        found: Mapping[str, Value]
        if arrays:
            found = matrix.aggregate({name: ended.results for name, ended in last.items()})
        else:
            found = last[self.entry.name].results
        return {f"tasks.{self.entry.name}.results.{name}": value for name, value in found.items()}

    def _is_wanted(self, values: Mapping[str, Value]) -> bool:
        """Whether all that it takes is there, and its conditions hold."""
        if any(name in self.result.skipped for name, _ in validation.references(self.entry)):
            return False
        return all(
            (substitute(c.input, values) in {substitute(value, values) for value in c.values})
            == (c.operator == "in")
            for c in self.entry.when
        )

    def _run_one(self, name: str, params: Mapping[str, Value]) -> list[Ended]:
        bound = frozenset(n for n, of in self.entry.workspaces.items() if of in self.workspaces)
        tries: list[Ended] = []
        while len(tries) <= self.entry.retries and not (tries and tries[-1].succeeded):
            attempt = f"{name}-try{len(tries) + 1}"
            tries.append(self.start(attempt, self.task, params, bound))
        return tries


def _check_bound(pipeline: Pipeline, workspaces: frozenset[str]) -> None:
    if unknown := workspaces - {workspace.name for workspace in pipeline.workspaces}:
        raise Refused(f"there is no workspace {', '.join(unknown)}")
    if missing := {w.name for w in pipeline.workspaces if not w.optional} - workspaces:
        raise Refused(f"the workspace {', '.join(missing)} is not bound")
