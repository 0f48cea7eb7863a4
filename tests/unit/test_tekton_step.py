"""A Task's step becomes the `docker run` that does what a pod of Tekton's would do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.taskrun import task_run
from tests.tekton import step
from tests.tekton.resources import ROOT, ParamSpec, Task, WorkspaceSpec, load_task
from tests.tekton.results import ResultsTooLarge
from tests.tekton.step import Cluster, TaskRun
from tests.tekton.variables import Refused, Value

IMAGE = f"registry.example.com/app@sha256:{'0' * 64}"


def task(workspaces: tuple[WorkspaceSpec, ...] = (), volume: Any = None, **more: Any) -> Task:
    params = (ParamSpec("P", False, "p"), ParamSpec("L", True, ["a", "b"]))
    volumes = {"v": {"name": "v", **(volume or {})}}
    return Task("t", params, ("R",), workspaces, {"name": "s", "image": "i", **more}, volumes)


def prepare(
    work: Path, made: Task, params: Mapping[str, Value] | None = None, cluster: Cluster | None = None
) -> TaskRun:
    return step.prepare(made, params or {}, {}, work, cluster or Cluster())


def options(run: TaskRun) -> list[str]:
    """Those that do not depend on where the directories are."""
    end = next(n for n, word in enumerate(run.command) if word.startswith("--entrypoint"))
    return [word for word in run.command[3:end] if not word.startswith("--volume")]


def mounted(run: TaskRun, target: str) -> Path:
    words = [word.removeprefix("--volume=").split(":") for word in run.command if word.startswith("--volume")]
    return next(Path(source) for source, where, *_ in words if where == target)


def test_the_task_s_step_runs_with_the_rights_limits_and_environment_that_task_yaml_names(
    tmp_path: Path,
) -> None:
    run = task_run(
        {"IMAGE": IMAGE, "LEVEL": "3", "REUSE_FROM": ["x", "y"], "SBOM_FROM": ["s", "t"]}, tmp_path
    )
    asked = options(run)
    assert asked[:3] == ["--cap-drop=ALL", "--security-opt=no-new-privileges", "--read-only"]
    assert not any(option.startswith("--user") for option in asked)
    assert "--env=RECOMPRESS_LEVEL=3" in asked
    assert "--env=DOCKER_CONFIG=" in asked
    assert not any("seccomp" in option for option in asked)
    tail = run.command[run.command.index("--entrypoint=recompress") :]
    assert tail[1:] == [
        load_task(ROOT / "task.yaml").step["image"],
        *("run", "--", IMAGE, "x", "y", "--sbom-from", "s", "t"),
    ]


def test_command_and_arguments_become_entrypoint_and_arguments(tmp_path: Path) -> None:
    made = task(command=["c", "$(params.P)"], args=["$(params.L[*])", "z"])
    run = prepare(tmp_path, made, {"P": "--option"})
    assert run.command[-6:] == ["--entrypoint=c", "i", "--option", "a", "b", "z"]


def test_a_script_is_a_file_with_tekton_s_preamble_where_it_has_none(tmp_path: Path) -> None:
    run = prepare(tmp_path / "1", task(script="echo $(params.P) > $(results.R.path)"))
    assert run.command[-2:] == ["--entrypoint=/tekton/scripts/script-0", "i"]
    script = mounted(run, "/tekton/scripts") / "script-0"
    assert script.read_text() == "#!/bin/sh\nset -e\necho p > /tekton/results/R"
    own = prepare(tmp_path / "2", task(script="#!/bin/bash\ntrue"))
    assert (mounted(own, "/tekton/scripts") / "script-0").read_text() == "#!/bin/bash\ntrue"


def test_without_a_security_context_a_step_has_what_kubernetes_gives_it(tmp_path: Path) -> None:
    assert options(prepare(tmp_path, task(command=["c"]))) == ["--security-opt=seccomp=unconfined"]


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        ({"runAsUser": 7}, "--user=7:0"),
        ({"capabilities": {"add": ["SETFCAP"]}}, "--cap-add=SETFCAP"),
        ({"appArmorProfile": {"type": "Unconfined"}}, "--security-opt=apparmor=unconfined"),
    ],
)
def test_a_security_context_becomes_options(tmp_path: Path, context: dict[str, Any], expected: str) -> None:
    assert expected in options(prepare(tmp_path, task(command=["c"], securityContext=context)))


@pytest.mark.parametrize(
    ("context", "user"), [({}, 1000680000), ({"runAsUser": 0, "runAsNonRoot": False}, 0)]
)
def test_the_user_that_a_cluster_chose_is_that_of_a_step_which_names_none(
    tmp_path: Path, context: dict[str, Any], user: int
) -> None:
    made = task(command=["c"], securityContext=context)
    assert f"--user={user}:0" in options(prepare(tmp_path, made, cluster=Cluster(user=1000680000)))


def test_the_task_image_has_the_user_that_is_expected_of_it() -> None:
    assert f"\nUSER {step.IMAGE_USER}:{step.IMAGE_USER}\n" in (ROOT / "Containerfile").read_text()


def object_results(tmp_path: Path, value: str) -> dict[str, str]:
    run = prepare(tmp_path, replace(task(command=["c"]), objects={"R": ("uri", "digest")}))
    (run.results_dir / "R").write_text(value)
    return run.results()


def test_an_object_result_is_json_with_all_its_keys(tmp_path: Path) -> None:
    value = '{"uri": "u", "digest": "d"}'
    assert object_results(tmp_path, value) == {"R": value}


@pytest.mark.parametrize("value", ["u", "[]", '{"uri": "u", "digest": 1}', '{"uri": "u"}'])
def test_any_other_object_result_fails_the_run(tmp_path: Path, value: str) -> None:
    with pytest.raises((AssertionError, ValueError)):
        object_results(tmp_path, value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"workingDir": "/"},
        {"script": "x"},
        {"securityContext": {"privileged": True}},
        {"securityContext": {"runAsUser": 0}},
        {"securityContext": {"runAsNonRoot": True, "runAsUser": 0}},
        {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "x"}}},
        {"env": [{"name": "A", "valueFrom": {}}]},
        {"env": [{"name": "A", "value": "$(params.OTHER)"}]},
        {"computeResources": {"limits": {"ephemeral-storage": "1Gi"}}},
        {"volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "x"}]},
    ],
    ids=json.dumps,
)
def test_what_cannot_be_run_as_tekton_would_is_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        prepare(tmp_path, task(volume={"emptyDir": {}}, command=["c"], **wrong))


def test_a_config_map_is_found_by_the_name_and_key_of_parameters(tmp_path: Path) -> None:
    config_map = {
        "name": "$(params.P)",
        "optional": True,
        "items": [{"key": "ca-bundle.crt", "path": "ca.crt"}],
    }
    mounts = [{"name": "v", "mountPath": "/v", "readOnly": True}]
    made = task(volume={"configMap": config_map}, command=["c"], volumeMounts=mounts)
    cluster = Cluster(config_maps={"mine": {"ca-bundle.crt": b"PEM", "other": b""}})
    there = mounted(prepare(tmp_path / "1", made, {"P": "mine"}, cluster), "/v")
    assert (there / "ca.crt").read_bytes() == b"PEM"
    missing = mounted(prepare(tmp_path / "2", made, {"P": "yours"}, cluster), "/v")
    assert [file.name for file in missing.iterdir() if not file.name.startswith("..")] == []
    needed = replace(made, volumes={"v": {"name": "v", "configMap": {**config_map, "optional": False}}})
    with pytest.raises(Refused, match="not optional"):
        prepare(tmp_path / "3", needed, {"P": "yours"}, cluster)


def test_a_workspace_that_is_not_bound_is_an_empty_path_or_refused(tmp_path: Path) -> None:
    environment = [{"name": "W", "value": "$(workspaces.w.path) $(workspaces.w.bound)"}]
    optional = task((WorkspaceSpec("w", True, True),), command=["c"], env=environment)
    bound = step.prepare(optional, {}, {"w": {"config.json": b"{}"}}, tmp_path / "1", Cluster())
    assert "--env=W=/workspace/w true" in bound.command
    assert (mounted(bound, "/workspace/w") / "config.json").read_bytes() == b"{}"
    assert "--env=W= false" in prepare(tmp_path / "2", optional).command
    with pytest.raises(Refused, match="not bound"):
        prepare(tmp_path / "3", replace(optional, workspaces=(WorkspaceSpec("w", False, True),)))


def test_results_beyond_the_termination_message_fail_the_run(tmp_path: Path) -> None:
    run = prepare(tmp_path, task(command=["c"]))
    (run.results_dir / "R").write_text("x" * 4096)
    with pytest.raises(ResultsTooLarge):
        run.results()
