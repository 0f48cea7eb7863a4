"""The harness keeps Tekton's rules: what it lets pass, Tekton runs, and what Tekton refuses, it refuses."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from recompress.reference import Digest, Reference
from recompress.results import Named, Results
from tests.tekton import konflux, matrix, pipeline, resources, results, validation
from tests.tekton.pipeline import Ended
from tests.tekton.resources import ROOT, ParamSpec, Pipeline, Task, load_pipeline, load_task, pipeline_task
from tests.tekton.results import ResultsTooLarge
from tests.tekton.variables import Refused, Value, expand, substitute
from tests.tekton.variables import replace as replace_variables

TASKS = {
    task.name: task
    for task in map(
        load_task, (ROOT / "task.yaml", ROOT / "index-task.yaml", ROOT / "examples/build-image.yaml")
    )
}
PIPELINES = [load_pipeline(file) for file in sorted(ROOT.glob("examples/*-pipeline.yaml"))]
VALUES: dict[str, Value] = {"params.one": "1", "params.many": ["a", "b c"], "params.none": []}


# The files of this repository


def test_there_are_two_tasks_and_three_example_pipelines() -> None:
    assert TASKS.keys() == {"recompress", "recompress-index", "build-image"}
    assert [p.name for p in PIPELINES] == ["existing-index", "konflux", "multi-arch"]


@pytest.mark.parametrize("example", PIPELINES, ids=lambda p: p.name)
def test_tekton_runs_every_example(example: Pipeline) -> None:
    validation.check(example, konflux.beside(TASKS))
    assert not validation.unused(example)


@pytest.mark.parametrize("example", PIPELINES, ids=lambda p: p.name)
def test_no_matrix_of_an_example_is_a_product_and_no_digest_in_one_is_fixed(example: Pipeline) -> None:
    for entry in example.tasks:
        assert len(entry.matrix) < 2
        for value in (*entry.params.values(), *entry.matrix.values()):
            assert "sha256:" not in str(value)


@pytest.mark.parametrize("example", PIPELINES, ids=lambda p: p.name)
def test_every_index_of_an_example_has_the_gzip_images_before_their_twins(example: Pipeline) -> None:
    (index,) = (t for t in example.tasks if t.task in ("recompress-index", "build-image-index"))
    recompressed = next(t for t in example.tasks if t.name == "recompress")
    source = {**recompressed.params, **recompressed.matrix}["IMAGE"]
    assert index.params["IMAGES"] == [source, "$(tasks.recompress.results.IMAGE_REF[*])"]


def test_the_two_tasks_are_secured_alike() -> None:
    recompress, index = TASKS["recompress"], TASKS["recompress-index"]
    for key in ("image", "command", "securityContext", "volumeMounts"):
        assert recompress.step[key] == index.step[key]
    assert recompress.volumes == index.volumes
    assert recompress.workspaces == index.workspaces
    assert recompress.step["securityContext"] == {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


@pytest.mark.parametrize("name", ["recompress", "recompress-index"])
def test_both_tasks_ask_for_cpu_and_memory_and_have_limits(name: str) -> None:
    asked = TASKS[name].step["computeResources"]
    assert asked.keys() == {"requests", "limits"}
    assert all(part.keys() == {"cpu", "memory"} for part in asked.values())


@pytest.mark.parametrize("name", ["recompress", "recompress-index"])
def test_no_parameter_of_the_tasks_reaches_a_shell_or_an_option(name: str) -> None:
    step = TASKS[name].step
    assert "script" not in step
    before, after = step["args"][: step["args"].index("--")], step["args"][step["args"].index("--") :]
    assert "$" not in "".join(before)
    assert any("$(params." in argument for argument in after)


@pytest.mark.parametrize("name", ["recompress", "recompress-index"])
def test_every_parameter_of_the_tasks_is_used(name: str) -> None:
    task = TASKS[name]
    text = json.dumps([task.step, dict(task.volumes)])
    for param in task.params:
        assert f"$(params.{param.name}{'[*]' if param.is_array else ''})" in text


def readme_tasks() -> list[dict[str, Any]]:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "examples/README.md").read_text(), re.DOTALL)
    return [yaml.safe_load(block) for block in blocks]


def test_the_examples_by_resolver_are_entries_of_a_pipeline_that_tekton_runs() -> None:
    example = next(p for p in PIPELINES if p.name == "multi-arch")
    assert [t["taskRef"]["resolver"] for t in readme_tasks()] == ["cluster", "git", "bundles"]
    for entry in map(pipeline_task, readme_tasks()):
        others = tuple(task for task in example.tasks if task.name != entry.name)
        validation.check(replace(example, tasks=(*others, entry)), TASKS)


def with_sbom_from(example: Pipeline) -> Pipeline:
    """The example as its comment says to change it."""
    text = (ROOT / "examples/multi-arch-pipeline.yaml").read_text()
    (name, value) = re.findall(r"# - name: (SBOM_FROM)\n +#   value: (.*)\n", text)[0]
    entries = {task.name: task for task in example.tasks}
    recompress = entries["recompress"]
    more = {**recompress.params, name: yaml.safe_load(value)}
    return replace(example, tasks=tuple({**entries, "recompress": replace(recompress, params=more)}.values()))


def test_the_example_runs_with_the_sboms_of_a_build_task_that_makes_some() -> None:
    example = with_sbom_from(next(p for p in PIPELINES if p.name == "multi-arch"))
    with pytest.raises(Refused, match="not a named result"):
        validation.check(example, TASKS)
    build = TASKS["build-image"]
    validation.check(
        example, {**TASKS, "build-image": replace(build, results=(*build.results, "SBOM_BLOB_URL"))}
    )


# Variables


@pytest.mark.parametrize("form", ["$(params.one)", '$(params["one"])', "$(params['one'])"])
def test_a_string_is_put_into_a_string_in_any_notation(form: str) -> None:
    assert substitute(f"<{form}>{form}", VALUES) == "<1>1"


@pytest.mark.parametrize("text", ["$(date)", "$(</file)", "${PLATFORM}", "$(OTHER_VARIABLE)", "$$(params)"])
def test_what_is_the_shell_s_or_kubernetes_stays_as_it_is(text: str) -> None:
    assert substitute(text, VALUES) == text


def test_an_array_becomes_so_many_arguments_in_its_place() -> None:
    assert expand(["x", "$(params.many[*])", "$(params.none[*])", "y"], VALUES) == ["x", "a", "b c", "y"]


@pytest.mark.parametrize(
    "text",
    ["$(params.many)", "$(params.many[*])", "-$(params.many[*])", "$(params.other)", "$(tasks.t.results.r)"],
)
def test_arrays_and_unknown_variables_have_no_place_in_a_string(text: str) -> None:
    with pytest.raises(Refused):
        substitute(text, VALUES)


@pytest.mark.parametrize("text", ["-$(params.many[*])", "$(params.one[*])", "$(params.many[0])"])
def test_an_array_is_alone_in_its_element_and_taken_whole(text: str) -> None:
    with pytest.raises(Refused):
        expand([text], VALUES)


def test_a_string_that_is_a_whole_array_becomes_the_array() -> None:
    assert replace_variables("$(params.many[*])", VALUES) == ["a", "b c"]
    assert replace_variables(["$(params.one)", "$(params.many[*])"], VALUES) == ["1", "a", "b c"]


def test_a_value_is_not_looked_through_for_variables_again() -> None:
    assert substitute("$(params.a)", {"params.a": "$(params.b)", "params.b": "secret"}) == "$(params.b)"


# Parameters

DECLARED = (ParamSpec("TEXT", False, None), ParamSpec("LIST", True, []), ParamSpec("WORD", False, "w"))


def test_parameters_have_the_value_given_or_else_their_default() -> None:
    assert resources.values(DECLARED, {"TEXT": ""}) == {"TEXT": "", "LIST": [], "WORD": "w"}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "missing value for the parameter TEXT"),
        ({"TEXT": "a", "OTHER": "b"}, "no parameter OTHER"),
        ({"TEXT": ["a"]}, "TEXT is of type string"),
        ({"TEXT": "a", "LIST": "b"}, "LIST is of type array"),
    ],
)
def test_parameters_that_are_missing_unknown_or_of_the_wrong_type_are_refused(
    given: Mapping[str, Value], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        resources.values(DECLARED, given)


# Documents that are refused

TASK = """
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: t}
spec:
  params: [{name: a, default: x}]
  results: [{name: r}]
  steps: [{name: s, image: i, command: [c]}]
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("tekton.dev/v1", "tekton.dev/v1beta1"),
        ("kind: Task", "kind: Pipeline"),
        ("results: [{name: r}]", "results: [{name: r, type: array}]"),
        ("results: [{name: r}]", "results: [{name: r, type: object}]"),
        ("results: [{name: r}]", "results: [{name: r, properties: {k: {type: string}}}]"),
        ("results: [{name: r}]", "results: [{name: r, type: object, properties: {k: {type: array}}}]"),
        ("spec:", "spec:\n  sidecars: []"),
        ("default: x", "default: 1"),
        ("default: x", "type: array, default: x"),
        ("default: x", "type: object"),
        ("default: x", "enum: [x]"),
    ],
)
def test_a_task_with_what_the_harness_or_tekton_does_not_run_is_refused(
    tmp_path: Path, old: str, new: str
) -> None:
    file = tmp_path / "task.yaml"
    file.write_text(TASK)
    assert load_task(file).results == ("r",)
    file.write_text(TASK.replace(old, new))
    with pytest.raises(Refused):
        load_task(file)


# Matrix


def test_a_matrix_is_the_cartesian_product_in_which_the_first_parameter_changes_fastest() -> None:
    assert matrix.fan_out({"A": ["1", "2"], "B": ["x", "y"]}) == [
        {"A": "1", "B": "x"},
        {"A": "2", "B": "x"},
        {"A": "1", "B": "y"},
        {"A": "2", "B": "y"},
    ]


def test_a_matrix_of_an_empty_array_runs_nothing() -> None:
    assert matrix.fan_out({"A": ["1"], "B": []}) == []


def test_a_matrix_has_at_most_256_combinations() -> None:
    many = [str(number) for number in range(16)]
    assert len(matrix.fan_out({"A": many, "B": many})) == 256
    with pytest.raises(Refused):
        matrix.fan_out({"A": many, "B": [*many, "16"]})


def test_results_of_a_matrix_are_in_the_order_of_the_names_of_its_runs() -> None:
    names = matrix.run_names("t", 12, is_matrix=True)
    gathered = matrix.aggregate({name: {"R": name} for name in names})
    assert gathered["R"][:4] == ["t-0", "t-1", "t-10", "t-11"]


# Results


def test_results_of_4096_bytes_with_what_tekton_adds_travel_and_one_byte_more_does_not() -> None:
    room = 4096 - len(results.message({"R": ""}))
    assert len(results.message({"R": "x" * room})) == 4096
    with pytest.raises(ResultsTooLarge, match="above max allowed size 4096"):
        results.message({"R": "x" * (room + 1)})


def test_all_results_of_the_recompress_task_stay_below_3_kb_with_the_longest_names_there_are() -> None:
    digest = Digest.of(b"")
    repository = Reference.parse(f"registry.example.com:5000/{'x' * 229}").repository
    assert len(str(repository)) == 255
    longest = Named(repository, "t" * 128, digest)
    files = Results(longest, longest, longest, digest).files()
    assert files.keys() == set(TASKS["recompress"].results)
    assert len(results.message(files)) < 3 * 1024


def test_a_result_that_is_not_declared_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "R").write_text("value")
    assert results.read(tmp_path, ["R", "NOT_WRITTEN"]) == {"R": "value"}
    with pytest.raises(AssertionError, match="not declared"):
        results.read(tmp_path, ["NOT_WRITTEN"])


# Pipelines


def task(name: str, *params: ParamSpec) -> Task:
    return Task(name, params, ("R", "O"), (), {}, {}, {"O": ("key",)})


ONE, MANY = task("one", ParamSpec("P", False, "")), task("many", ParamSpec("L", True, []))
KNOWN = {"one": ONE, "many": MANY}


def made_of(*entries: dict[str, Any], **more: Any) -> Pipeline:
    params = (ParamSpec("TEXT", False, "t"), ParamSpec("LIST", True, ["x", "y"]))
    return replace(Pipeline("p", params, (), tuple(map(pipeline_task, entries)), {}), **more)


def entry(name: str, of: str = "one", **more: Any) -> dict[str, Any]:
    for key in ("params", "matrix"):
        if key in more:
            more[key] = [{"name": n, "value": v} for n, v in more[key].items()]
    if "matrix" in more:
        more["matrix"] = {"params": more["matrix"]}
    return {"name": name, "taskRef": {"name": of}, **more}


def when(text: str, *values: str, operator: str = "in") -> dict[str, Any]:
    return {"input": text, "operator": operator, "values": list(values)}


FANNED = entry("fanned", matrix={"P": "$(params.LIST[*])"})
PLAIN = entry("plain")


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (entry("t", "other"), "no Task other"),
        (entry("t", params={"Q": ""}), "has no parameter Q"),
        (entry("t", params={"P": ["a"]}), "P is of type string"),
        (entry("t", params={"P": "$(params.LIST[*])"}), "P is of type string"),
        (entry("t", "many", params={"L": "a"}), "L is of type array"),
        (entry("t", params={"P": "$(params.OTHER)"}), "a string called"),
        (entry("t", params={"P": "$(params.LIST)"}), "a string called"),
        (entry("t", "many", params={"L": ["$(params.TEXT[*])"]}), "an array called"),
        (entry("t", "many", params={"L": ["-$(params.LIST[*])"]}), "not alone"),
        (entry("t", params={"P": "a"}, matrix={"P": ["a"]}), "in params and in matrix"),
        (entry("t", matrix={"P": "a"}), "out of an array"),
        (entry("t", "many", matrix={"L": ["a"]}), "out of an array"),
        (entry("t", runAfter=["other"]), "runAfter other"),
        (entry("t", params={"P": "$(tasks.other.results.R)"}), "task that is not there"),
        (entry("t", params={"P": "$(tasks.plain.results.S)"}), "not a named result"),
        (entry("t", params={"P": "$(tasks.plain.status)"}), "not a result"),
        (entry("t", params={"P": "$(tasks.plain.results.O)"}), "is an object"),
        (entry("t", "many", params={"L": "$(tasks.fanned.results.O[*])"}), "is an object"),
        (entry("t", params={"P": "$(tasks.fanned.results.R)"}), "in aggregate"),
        (entry("t", "many", params={"L": ["$(tasks.plain.results.R[*])"]}), "only without"),
        (entry("t", runAfter=["t"]), "wait for each other"),
        (entry("plain"), "two tasks of one name"),
        (entry("t", workspaces=[{"name": "w", "workspace": "v"}]), "not declared"),
        (entry("t", when=[when("$(params.OTHER)")]), "a string called"),
        (entry("t", when=[when("$(tasks.plain.results.S)")]), "not a named result"),
        (entry("t", when=[when("$(params.LIST[*])")]), "a condition compares strings"),
        (entry("t", when=[when("", "$(params.LIST[*])")]), "a condition compares strings"),
    ],
)
def test_a_pipeline_that_tekton_would_not_run_is_refused(wrong: dict[str, Any], why: str) -> None:
    validation.check(made_of(FANNED, PLAIN), KNOWN)
    with pytest.raises(Refused, match=why):
        validation.check(made_of(FANNED, PLAIN, wrong), KNOWN)


@pytest.mark.parametrize("key", ["taskSpec", "timeout", "onError"])
def test_a_field_that_the_harness_would_not_act_on_is_refused(key: str) -> None:
    with pytest.raises(Refused, match=f"unknown {key}"):
        pipeline_task({**PLAIN, key: "x"})


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        (when("x", operator="is"), "operator is"),
        ({**when("x"), "values": "x"}, "an array"),
        ({**when("x"), "cel": "x"}, "unknown cel"),
    ],
)
def test_a_condition_that_the_harness_or_tekton_does_not_know_is_refused(
    condition: dict[str, Any], why: str
) -> None:
    with pytest.raises(Refused, match=why):
        pipeline_task({**PLAIN, "when": [condition]})


def test_a_result_of_a_pipeline_has_to_be_there() -> None:
    with pytest.raises(Refused, match="result OUT"):
        validation.check(made_of(PLAIN, results={"OUT": "$(tasks.plain.results.S)"}), KNOWN)


def test_a_result_of_a_pipeline_is_not_made_of_a_matrix() -> None:
    with pytest.raises(Refused, match="cannot be made of a matrix's"):
        validation.check(made_of(FANNED, results={"OUT": "$(tasks.fanned.results.R[*])"}), KNOWN)


def echo(name: str, _: Task, params: Mapping[str, Value], __: frozenset[str]) -> Ended:
    return Ended(True, {"R": f"{name.partition('-try')[0]}={params.get('P') or params.get('L')}"})


def test_results_flow_from_a_matrix_to_a_matrix_to_a_task() -> None:
    example = made_of(
        entry("last", "many", params={"L": ["$(tasks.fanned.results.R[*])", "$(tasks.next.results.R[*])"]}),
        entry("next", matrix={"P": "$(tasks.fanned.results.R[*])"}),
        FANNED,
        results={"OUT": "$(tasks.last.results.R)"},
    )
    ran = pipeline.run(example, KNOWN, echo, {})
    assert ran.succeeded
    assert ran.results["OUT"] == (
        "last=['fanned-0=x', 'fanned-1=y', 'next-0=fanned-0=x', 'next-1=fanned-1=y']"
    )
    assert list(ran.runs) == ["fanned-0", "fanned-1", "next-0", "next-1", "last"]


def test_the_instances_of_a_matrix_run_at_the_same_time() -> None:
    together = threading.Barrier(3)

    def start(*_: object) -> Ended:
        together.wait(30)
        return Ended(True, {})

    params: dict[str, Value] = {"LIST": ["x", "y", "z"]}
    assert pipeline.run(made_of(FANNED), KNOWN, start, params).succeeded


def failing(*names: str) -> Callable[..., Ended]:
    """Runs everything but the tries that are named."""
    return lambda name, *rest: Ended(False, {}) if name in names else echo(name, *rest)


def test_one_instance_that_fails_fails_the_pipeline_and_leaves_the_others_results_standing() -> None:
    consumer = entry("last", "many", params={"L": "$(tasks.fanned.results.R[*])"})
    outputs = {"A": "$(tasks.plain.results.R)", "B": "$(tasks.last.results.R)"}
    example = made_of(PLAIN, FANNED, consumer, results=outputs)
    ran = pipeline.run(example, KNOWN, failing("fanned-0-try1"), {})
    assert (ran.failed, ran.skipped) == (["fanned"], ["last"])
    assert ran.runs["fanned-1"] == [Ended(True, {"R": "fanned-1=y"})]
    assert ran.results.keys() <= {"A"}


def test_only_the_instance_that_failed_is_tried_again() -> None:
    example = made_of({**FANNED, "retries": 1})
    ran = pipeline.run(example, KNOWN, failing("fanned-0-try1"), {})
    assert ran.succeeded
    assert [(name, len(tries)) for name, tries in ran.runs.items()] == [("fanned-0", 2), ("fanned-1", 1)]


def test_what_waits_for_a_task_without_instances_is_skipped_too() -> None:
    example = made_of(FANNED, entry("next", matrix={"P": "$(tasks.fanned.results.R[*])"}))
    ran = pipeline.run(example, KNOWN, echo, {"LIST": []})
    assert ran.succeeded
    assert ran.skipped == ["fanned", "next"]
    assert ran.runs == {}


def test_a_task_whose_conditions_do_not_hold_is_skipped_with_what_takes_its_results_alone() -> None:
    false = [when("$(params.TEXT)", "t"), when("$(params.TEXT)", "$(params.TEXT)", operator="notin")]
    example = made_of(
        entry("skipped", when=false),
        entry("takes", params={"P": "$(tasks.skipped.results.R)"}),
        entry("waits", runAfter=["skipped"], when=[when("$(params.TEXT)", "s", "t")]),
    )
    ran = pipeline.run(example, KNOWN, echo, {})
    assert ran.succeeded
    assert ran.skipped == ["skipped", "takes"]
    assert list(ran.runs) == ["waits"]


@pytest.mark.parametrize(("operator", "skipped"), [("in", []), ("notin", ["last"])])
def test_a_task_waits_for_the_result_that_its_condition_is_on(operator: str, skipped: list[str]) -> None:
    last = entry("last", when=[when("$(tasks.plain.results.R)", "plain=x", operator=operator)])
    example = made_of(last, entry("plain", params={"P": "x"}))
    assert validation.ordered(example) == {"plain": set(), "last": {"plain"}}
    assert pipeline.run(example, KNOWN, echo, {}).skipped == skipped


def test_a_result_that_was_not_written_ends_the_run() -> None:
    example = made_of(PLAIN, entry("next", params={"P": "$(tasks.plain.results.R)"}))
    with pytest.raises(Refused, match="no variable"):
        pipeline.run(example, KNOWN, lambda *_: Ended(True, {}), {})


def test_a_workspace_that_is_not_optional_has_to_be_bound() -> None:
    required = resources.WorkspaceSpec("w", optional=False, read_only=False)
    with pytest.raises(Refused, match="not bound"):
        pipeline.run(made_of(PLAIN, workspaces=(required,)), KNOWN, echo, {})
    with pytest.raises(Refused, match="no workspace other"):
        pipeline.run(made_of(PLAIN), KNOWN, echo, {}, frozenset({"other"}))
