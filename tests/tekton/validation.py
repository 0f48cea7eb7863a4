"""What Tekton refuses in a Pipeline before anything runs, and the order that its references make."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import chain

from tests.tekton.resources import ParamSpec, Pipeline, PipelineTask, Task, When
from tests.tekton.variables import Refused, Value, is_one_variable, variables

Tasks = Mapping[str, Task]
"""The Tasks that a Pipeline may refer to, by name."""


def check(pipeline: Pipeline, tasks: Tasks) -> None:
    """Raise Refused for a Pipeline that Tekton would not run, or that rests on what it puts up with."""
    names = [task.name for task in pipeline.tasks]
    if len(set(names)) != len(names):
        raise Refused(f"Pipeline {pipeline.name} has two tasks of one name")
    for task in pipeline.tasks:
        _check_task(pipeline, task, tasks)
    for name, template in pipeline.results.items():
        for variable, is_array in variables(template):
            _check_result(f"result {name}", pipeline, tasks, variable, is_array)
            if is_array:
                # Only the controller finds that out, after the tasks have run.
                raise Refused(f"result {name}: a result of the Pipeline cannot be made of a matrix's")
    ordered(pipeline)


def ordered(pipeline: Pipeline) -> dict[str, set[str]]:
    """By task, those that have to end before it, in an order in which they can run."""
    before = {task.name: set(task.run_after) | {r for r, _ in references(task)} for task in pipeline.tasks}
    done: dict[str, set[str]] = {}
    while len(done) < len(before):
        ready = [name for name in before if name not in done and before[name] <= done.keys()]
        if not ready:
            raise Refused(f"the tasks of Pipeline {pipeline.name} wait for each other")
        done |= {name: before[name] for name in ready}
    return done


def references(task: PipelineTask) -> Iterator[tuple[str, str]]:
    """The results that a task takes: which task's, and which."""
    for value in _values(task):
        for variable, _ in variables(value):
            if variable.startswith("tasks."):
                yield _result(variable)


def _check_task(pipeline: Pipeline, task: PipelineTask, tasks: Tasks) -> None:
    where = f"task {task.name}"
    if task.task not in tasks:
        raise Refused(f"{where}: there is no Task {task.task}")
    declared = {param.name: param for param in tasks[task.task].params}
    if both := task.params.keys() & task.matrix.keys():
        raise Refused(f"{where}: {', '.join(both)} in params and in matrix")
    if unknown := (task.params.keys() | task.matrix.keys()) - declared.keys():
        raise Refused(f"{where}: Task {task.task} has no parameter {', '.join(sorted(unknown))}")
    for param in declared.values():
        if param.default is None and param.name not in task.params.keys() | task.matrix.keys():
            raise Refused(f"{where}: missing value for the parameter {param.name}")
    for name, value in task.params.items():
        _check_type(where, declared[name], is_array=_is_array(value))
        _check_variables(where, pipeline, tasks, value)
    for name, value in task.matrix.items():
        if declared[name].is_array or not _is_array(value):
            raise Refused(f"{where}: the matrix hands {name} single strings out of an array")
        _check_variables(where, pipeline, tasks, value)
    if unknown := set(task.run_after) - {other.name for other in pipeline.tasks}:
        raise Refused(f"{where}: runAfter {', '.join(sorted(unknown))}, which is not there")
    for condition in task.when:
        _check_when(f"a condition of {task.name}", pipeline, tasks, condition)
    _check_workspaces(where, pipeline, task, tasks[task.task])


def _check_when(where: str, pipeline: Pipeline, tasks: Tasks, condition: When) -> None:
    for text in (condition.input, *condition.values):
        if any(is_array for _, is_array in variables(text)):
            raise Refused(f"{where}: {text!r} is an array, and a condition compares strings")
        _check_variables(where, pipeline, tasks, text)


def _check_type(where: str, param: ParamSpec, *, is_array: bool) -> None:
    if is_array != param.is_array:
        raise Refused(
            f"{where}: the parameter {param.name} is of type {'array' if param.is_array else 'string'}"
        )


def _check_variables(where: str, pipeline: Pipeline, tasks: Tasks, value: Value) -> None:
    params = {f"params.{param.name}": param.is_array for param in pipeline.params}
    for variable, is_array in variables(value):
        if variable.startswith("tasks."):
            _check_result(where, pipeline, tasks, variable, is_array)
        elif params.get(variable) is not is_array:
            raise Refused(
                f"{where}: no parameter of the Pipeline is {'an array' if is_array else 'a string'} "
                f"called $({variable})"
            )
    for text in [value] if isinstance(value, str) else value:
        if any(is_array for _, is_array in variables(text)) and not is_one_variable(text):
            raise Refused(f"{where}: the array is not alone in {text!r}")


def _check_result(where: str, pipeline: Pipeline, tasks: Tasks, variable: str, is_array: bool) -> None:
    name, result = _result(variable)
    producer = next((task for task in pipeline.tasks if task.name == name), None)
    if producer is None or producer.task not in tasks:
        raise Refused(f"{where}: $({variable}) is of a task that is not there")
    if result not in tasks[producer.task].results:
        raise Refused(f"{where}: {result} is not a named result returned by task {name}")
    if result in tasks[producer.task].objects:
        raise Refused(f"{where}: $({variable}) is an object, and taken whole: no matrix aggregates it")
    if is_array != bool(producer.matrix):
        raise Refused(
            f"{where}: $({variable}): a matrixed task can only be consumed in aggregate, using [*], "
            "and a string result of any other only without"
        )


def _check_workspaces(where: str, pipeline: Pipeline, task: PipelineTask, definition: Task) -> None:
    there = {workspace.name: workspace for workspace in pipeline.workspaces}
    wanted = {workspace.name: workspace for workspace in definition.workspaces}
    for name, bound in task.workspaces.items():
        if name not in wanted or bound not in there:
            raise Refused(f"{where}: the workspace {name} or {bound} is not declared")
        if there[bound].optional and not wanted[name].optional:
            raise Refused(f"{where}: {bound} is optional, and Task {definition.name} requires it")
    if missing := {name for name, w in wanted.items() if not w.optional} - task.workspaces.keys():
        raise Refused(f"{where}: the workspace {', '.join(missing)} is not bound")


def _result(variable: str) -> tuple[str, str]:
    match variable.split("."):
        case ["tasks", task, "results", result]:
            return task, result
    raise Refused(f"$({variable}) is not a result of a task")


def _is_array(value: Value) -> bool:
    return isinstance(value, list) or any(is_array for _, is_array in variables(value))


def _values(task: PipelineTask) -> Iterator[Value]:
    """All that variables can stand in."""
    yield from task.params.values()
    yield from task.matrix.values()
    for condition in task.when:
        yield from (condition.input, *condition.values)


def unused(pipeline: Pipeline) -> Collection[str]:
    """Parameters that a Pipeline declares and does not use."""
    values = chain.from_iterable(_values(task) for task in pipeline.tasks)
    used = {variable for value in values for variable, _ in variables(value)}
    return {param.name for param in pipeline.params if f"params.{param.name}" not in used}
