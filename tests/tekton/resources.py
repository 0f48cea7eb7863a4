"""A Task or a Pipeline, read from YAML. A field that the harness would not act on is refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.tekton.variables import Refused, Value

ROOT = Path(__file__).parent.parent.parent
"""The repository."""


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """A parameter that a Task or Pipeline declares."""

    name: str
    is_array: bool
    default: Value | None


@dataclass(frozen=True, slots=True)
class WorkspaceSpec:
    """A workspace that a Task or Pipeline declares."""

    name: str
    optional: bool
    read_only: bool


@dataclass(frozen=True, slots=True)
class Task:
    """A Task of one step, which is all that this repository has: results share 4,096 bytes with steps.

    `objects` are those of its results that are of type object, with the keys that they must have.
    """

    name: str
    params: tuple[ParamSpec, ...]
    results: tuple[str, ...]
    workspaces: tuple[WorkspaceSpec, ...]
    step: Mapping[str, Any]
    volumes: Mapping[str, Mapping[str, Any]]
    objects: Mapping[str, Collection[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class When:
    """A condition: the input has to be among the values, or with `notin` to be none of them."""

    input: str
    operator: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PipelineTask:
    """An entry of a Pipeline. `task` is the name of the Task that it refers to."""

    name: str
    task: str
    params: Mapping[str, Value]
    matrix: Mapping[str, Value]
    workspaces: Mapping[str, str]
    run_after: tuple[str, ...]
    retries: int
    when: tuple[When, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A Pipeline; its results are templates."""

    name: str
    params: tuple[ParamSpec, ...]
    workspaces: tuple[WorkspaceSpec, ...]
    tasks: tuple[PipelineTask, ...]
    results: Mapping[str, str]


def load_task(path: Path) -> Task:
    """Read a Task."""
    name, spec = _spec(path, "Task")
    _only(f"Task {name}", spec, {"description", "params", "results", "workspaces", "steps", "volumes"})
    (step,) = spec["steps"]
    results = spec.get("results", [])
    return Task(
        name,
        _params(spec),
        tuple(result["name"] for result in results),
        _workspaces(spec),
        step,
        {volume["name"]: volume for volume in spec.get("volumes", [])},
        {result["name"]: keys for result in results if (keys := _properties(result))},
    )


def load_pipeline(path: Path) -> Pipeline:
    """Read a Pipeline."""
    name, spec = _spec(path, "Pipeline")
    _only(f"Pipeline {name}", spec, {"description", "params", "results", "workspaces", "tasks"})
    for result in spec.get("results", []):
        _only(f"a result of Pipeline {name}", result, {"name", "type", "description", "value"})
    return Pipeline(
        name,
        _params(spec),
        _workspaces(spec),
        tuple(pipeline_task(task) for task in spec["tasks"]),
        {result["name"]: result["value"] for result in spec.get("results", [])},
    )


def pipeline_task(document: Mapping[str, Any]) -> PipelineTask:
    """Read an entry of a Pipeline's tasks."""
    name = document["name"]
    known = {"name", "taskRef", "params", "matrix", "workspaces", "runAfter", "retries", "displayName"}
    _only(f"pipeline task {name}", document, known | {"when"})
    matrix = document.get("matrix", {})
    _only(f"the matrix of {name}", matrix, {"params"})
    bound = document.get("workspaces", [])
    for workspace in bound:
        _only(f"a workspace of {name}", workspace, {"name", "workspace"})
    return PipelineTask(
        name,
        _task_name(document["taskRef"]),
        _given(document.get("params", [])),
        _given(matrix.get("params", [])),
        {workspace["name"]: workspace["workspace"] for workspace in bound},
        tuple(document.get("runAfter", [])),
        document.get("retries", 0),
        tuple(_when(name, condition) for condition in document.get("when", [])),
    )


def values(declared: Collection[ParamSpec], given: Mapping[str, Value]) -> dict[str, Value]:
    """The value of every declared parameter: as given, else its default.

    Tekton overlooks a parameter that is not declared. Here it is refused: it is a slip of the pen.
    """
    if unknown := given.keys() - {param.name for param in declared}:
        raise Refused(f"there is no parameter {', '.join(sorted(unknown))}")
    found: dict[str, Value] = {}
    for param in declared:
        value = given.get(param.name, param.default)
        if value is None:
            raise Refused(f"missing value for the parameter {param.name}, which has no default")
        if isinstance(value, str) == param.is_array:
            raise Refused(f"the parameter {param.name} is of type {'array' if param.is_array else 'string'}")
        found[param.name] = value
    return found


def _spec(path: Path, kind: str) -> tuple[str, Mapping[str, Any]]:
    document = yaml.safe_load(path.read_text())
    _only(str(path), document, {"apiVersion", "kind", "metadata", "spec"})
    if (document["apiVersion"], document["kind"]) != ("tekton.dev/v1", kind):
        raise Refused(f"{path} is no {kind} of tekton.dev/v1")
    return document["metadata"]["name"], document["spec"]


def _when(name: str, condition: Mapping[str, Any]) -> When:
    where = f"a condition of {name}"
    _only(where, condition, {"input", "operator", "values"})
    if condition["operator"] not in ("in", "notin"):
        raise Refused(f"{where}: operator {condition['operator']} is not valid")
    expected = _value(where, condition["values"])
    if isinstance(expected, str):
        raise Refused(f"{where}: the values are an array")
    return When(str(condition["input"]), condition["operator"], tuple(expected))


def _task_name(reference: Mapping[str, Any]) -> str:
    """The Task that a reference means: by its name, or by what a resolver is asked for."""
    if "resolver" not in reference:
        _only("taskRef", reference, {"name", "kind"})
        return str(reference["name"])
    _only("taskRef", reference, {"resolver", "params"})
    asked = _given(reference["params"])
    wanted = {
        "cluster": {"kind", "name", "namespace"},
        "bundles": {"kind", "name", "bundle"},
        "git": {"url", "revision", "pathInRepo"},
    }[reference["resolver"]]
    if asked.keys() != wanted or asked.get("kind", "task") != "task":
        raise Refused(f"the {reference['resolver']} resolver takes {', '.join(sorted(wanted))}")
    if reference["resolver"] == "git":
        return load_task(ROOT / str(asked["pathInRepo"])).name
    return str(asked["name"])


def _params(spec: Mapping[str, Any]) -> tuple[ParamSpec, ...]:
    return tuple(_param(param) for param in spec.get("params", []))


def _param(param: Mapping[str, Any]) -> ParamSpec:
    _only("a parameter", param, {"name", "type", "default", "description"})
    default = _value(param["name"], param["default"]) if "default" in param else None
    kind = param.get("type") or ("array" if isinstance(default, list) else "string")
    if kind not in ("string", "array"):
        raise Refused(f"the parameter {param['name']} is of type {kind}")
    if default is not None and isinstance(default, list) != (kind == "array"):
        raise Refused(f"the default of {param['name']} is not of type {kind}")
    return ParamSpec(param["name"], kind == "array", default)


def _given(params: Collection[Mapping[str, Any]]) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for param in params:
        _only("a parameter", param, {"name", "value"})
        if param["name"] in found:
            raise Refused(f"the parameter {param['name']} is given twice")
        found[param["name"]] = _value(param["name"], param["value"])
    return found


def _value(name: str, value: object) -> Value:
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(v, str) for v in value)):
        return value
    raise Refused(f"the value of {name} is neither a string nor an array of strings: quote it")


def _properties(result: Mapping[str, Any]) -> Collection[str]:
    """The keys of a result of type object; none of one of type string."""
    where = f"the result {result['name']}"
    _only(where, result, {"name", "type", "description", "properties"})
    properties = result.get("properties", {})
    if result.get("type", "string") not in ("string", "object"):
        raise Refused(f"{where}: neither a string nor an object")
    if bool(properties) != (result.get("type") == "object"):
        raise Refused(f"{where}: an object result must specify its properties, and no other has any")
    if any(schema != {"type": "string"} for schema in properties.values()):
        raise Refused(f"{where}: the values of an object are of type string")
    return tuple(properties)


def _workspaces(spec: Mapping[str, Any]) -> tuple[WorkspaceSpec, ...]:
    known = {"name", "optional", "readOnly", "description"}
    for workspace in spec.get("workspaces", []):
        _only("a workspace", workspace, known)
    return tuple(
        WorkspaceSpec(w["name"], w.get("optional", False), w.get("readOnly", False))
        for w in spec.get("workspaces", [])
    )


def _only(where: str, given: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(given) - known:
        raise Refused(f"in {where}: unknown {', '.join(sorted(unknown))}")
