"""A Task's step as `docker run`: arguments, environment, user, limits, volumes, as in a pod of Tekton's.

What it cannot express, it refuses, so that nothing in a Task goes untested unnoticed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.tekton import resources, results
from tests.tekton.resources import Task
from tests.tekton.variables import Refused, Value, expand, substitute

Files = Mapping[str, bytes]
"""The keys of a ConfigMap or Secret, with their contents."""

IMAGE_USER = 65532
"""The task image's own user: that of a step which names none, unless the cluster chooses one."""

_MEMORY_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_STEP_KEYS = {
    "name",
    "image",
    "command",
    "args",
    "script",
    "env",
    "computeResources",
    "securityContext",
    "volumeMounts",
}
_SECURITY_KEYS = {
    "runAsNonRoot",
    "runAsUser",
    "runAsGroup",
    "allowPrivilegeEscalation",
    "readOnlyRootFilesystem",
    "capabilities",
    "seccompProfile",
    "appArmorProfile",
}
_PREAMBLE = "#!/bin/sh\nset -e\n"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a step finds around it.

    `images` are run in place of those that a step names, `service_account` is the content of the
    Docker config that Tekton makes of its secrets. `user` is the one that OpenShift's restricted-v2, or a pod
    template, gives a step that names none; its group is 0.
    """

    images: Mapping[str, str] = field(default_factory=dict)
    config_maps: Mapping[str, Files] = field(default_factory=dict)
    service_account: bytes | None = None
    user: int | None = None
    docker_options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A step that is ready to run."""

    task: Task
    command: list[str]
    results_dir: Path
    home: Path

    def results(self) -> dict[str, str]:
        """The results that are there, by name; results.ResultsTooLarge where they would not travel."""
        found = results.read(self.results_dir, self.task.results)
        results.check_objects(found, self.task.objects)
        results.message(found)
        return found


def prepare(
    task: Task, params: Mapping[str, Value], workspaces: Mapping[str, Files], work: Path, cluster: Cluster
) -> TaskRun:
    """Make the command that runs the step, with its directories below `work`.

    `work` has to be a path that is the same for the container engine. `workspaces` are those that
    are bound, each to a Secret.
    """
    step = task.step
    _refuse_unknown("the step", step, _STEP_KEYS)
    values: dict[str, Value] = {f"params.{k}": v for k, v in resources.values(task.params, params).items()}
    values |= {f"results.{name}.path": f"/tekton/results/{name}" for name in task.results}

    results_dir, home = _empty_dir(work / "results"), _empty_dir(work / "home")
    mounts = [_mount(results_dir, "/tekton/results"), _mount(home, "/tekton/home")]
    security = step.get("securityContext", {})
    if cluster.service_account is not None:
        _credentials(home, cluster.service_account, security.get("runAsUser", cluster.user or IMAGE_USER))

    _refuse_unknown("the workspaces", workspaces, {workspace.name for workspace in task.workspaces})
    for workspace in task.workspaces:
        if (files := workspaces.get(workspace.name)) is not None:
            path = f"/workspace/{workspace.name}"
            directory = _projected(work / f"workspace-{workspace.name}", files)
            mounts.append(_mount(directory, path, read_only=workspace.read_only))
        elif workspace.optional:
            path = ""
        else:
            raise Refused(f"the workspace {workspace.name} is not bound")
        values[f"workspaces.{workspace.name}.path"] = path
        values[f"workspaces.{workspace.name}.bound"] = "true" if path else "false"

    for mount in step.get("volumeMounts", []):
        _refuse_unknown("a volumeMount", mount, {"name", "mountPath", "readOnly"})
        directory = _volume(work / mount["name"], task.volumes[mount["name"]], values, cluster)
        mounts.append(_mount(directory, mount["mountPath"], read_only=mount.get("readOnly", False)))

    entrypoint, arguments = _program(step, values, work)
    if "script" in step:
        mounts.append(_mount(work / "scripts", "/tekton/scripts", read_only=True))
    image = substitute(step["image"], values)
    environment = [_variable(variable, values) for variable in step.get("env", [])]
    return TaskRun(
        task,
        [
            "docker",
            "run",
            "--rm",
            *cluster.docker_options,
            *_security(security, cluster.user),
            *_limits(step.get("computeResources", {}).get("limits", {})),
            *mounts,
            *environment,
            f"--entrypoint={entrypoint}",
            cluster.images.get(image, image),
            *arguments,
        ],
        results_dir,
        home,
    )


def _program(step: Mapping[str, Any], values: Mapping[str, Value], work: Path) -> tuple[str, list[str]]:
    arguments = expand(step.get("args", []), values)
    if "script" in step:
        if "command" in step:
            raise Refused("a step has a script or a command, not both")
        script = substitute(step["script"], values)
        file = work / "scripts/script-0"
        file.parent.mkdir()
        file.write_text(script if script.startswith("#!") else _PREAMBLE + script)
        file.chmod(0o755)
        return "/tekton/scripts/script-0", arguments
    entrypoint, *more = expand(step["command"], values)
    return entrypoint, [*more, *arguments]


def _variable(variable: Mapping[str, Any], values: Mapping[str, Value]) -> str:
    _refuse_unknown("an environment variable", variable, {"name", "value"})
    return f"--env={variable['name']}={substitute(variable['value'], values)}"


def _security(context: Mapping[str, Any], chosen_user: int | None) -> list[str]:
    """As Kubernetes has it by default: no seccomp filter, and the engine's usual capabilities.

    Stricter than Tekton by default: with its flag set-security-context no step may run as root that does not
    say so.
    """
    _refuse_unknown("the securityContext", context, _SECURITY_KEYS)
    user = context.get("runAsUser", chosen_user)
    if user == 0 and context.get("runAsNonRoot") is not False:
        raise Refused("runAsUser is 0, and runAsNonRoot is not false")
    options: list[str] = []
    if user is not None:
        options.append(f"--user={user}:{context.get('runAsGroup', 0)}")
    capabilities = context.get("capabilities", {})
    _refuse_unknown("the capabilities", capabilities, {"add", "drop"})
    options += [f"--cap-drop={capability}" for capability in capabilities.get("drop", [])]
    options += [f"--cap-add={capability}" for capability in capabilities.get("add", [])]
    if not context.get("allowPrivilegeEscalation", True):
        options.append("--security-opt=no-new-privileges")
    if context.get("readOnlyRootFilesystem"):
        options.append("--read-only")
    if not _is_runtime_default(context.get("seccompProfile", {"type": "Unconfined"})):
        options.append("--security-opt=seccomp=unconfined")
    if not _is_runtime_default(context.get("appArmorProfile", {"type": "RuntimeDefault"})):
        options.append("--security-opt=apparmor=unconfined")
    return options


def _is_runtime_default(profile: Mapping[str, str]) -> bool:
    _refuse_unknown("a profile", profile, {"type"})
    return {"RuntimeDefault": True, "Unconfined": False}[profile["type"]]


def _limits(limits: Mapping[str, str]) -> list[str]:
    _refuse_unknown("the limits", limits, {"cpu", "memory"})
    options: list[str] = []
    if cpu := limits.get("cpu"):
        # Docker refuses more CPUs than there are.
        options.append(f"--cpus={min(float(cpu), os.cpu_count() or 1):g}")
    if memory := limits.get("memory"):
        size = int(memory[:-2]) * _MEMORY_UNITS[memory[-2:]]
        # Pods have no swap.
        options += [f"--memory={size}", f"--memory-swap={size}"]
    return options


def _volume(
    directory: Path, volume: Mapping[str, Any], values: Mapping[str, Value], cluster: Cluster
) -> Path:
    _refuse_unknown("a volume", volume, {"name", "emptyDir", "configMap"})
    if "emptyDir" in volume:
        return _empty_dir(directory)
    config_map = volume["configMap"]
    _refuse_unknown("a ConfigMap volume", config_map, {"name", "optional", "items"})
    name = substitute(config_map["name"], values)
    found = cluster.config_maps.get(name, {})
    files: dict[str, bytes] = {}
    for item in config_map["items"]:
        key = substitute(item["key"], values)
        if key in found:
            files[item["path"]] = found[key]
        elif not config_map.get("optional"):
            raise Refused(f"the ConfigMap {name} has no {key}, and is not optional")
    return _projected(directory, files)


def _empty_dir(directory: Path) -> Path:
    directory.mkdir(parents=True)
    # As the kubelet makes it. mkdir's mode would be cut by the umask.
    directory.chmod(0o777)
    return directory


def _projected(directory: Path, files: Files) -> Path:
    """A ConfigMap's or Secret's volume, as the kubelet lays it out: files are links to links."""
    version = directory / "..2025_01_01_00_00_00.000000000"
    version.mkdir(parents=True)
    version.chmod(0o755)
    directory.chmod(0o755)
    (directory / "..data").symlink_to(version.name)
    for name, content in files.items():
        (version / name).write_bytes(content)
        (version / name).chmod(0o644)
        (directory / name).symlink_to(Path("..data") / name)
    return directory


def _credentials(home: Path, content: bytes, user: int) -> None:
    """What Tekton does with a service account's secrets before it starts the step."""
    file = home / ".docker/config.json"
    file.parent.mkdir(mode=0o700)
    file.write_bytes(content)
    file.chmod(0o600)
    for path in (file.parent, file):
        os.chown(path, user, user)


def _mount(source: Path, target: str, *, read_only: bool = False) -> str:
    return f"--volume={source.absolute()}:{target}" + (":ro" if read_only else "")


def _refuse_unknown(where: str, given: Mapping[str, Any], known: set[str]) -> None:
    if unknown := set(given) - known:
        raise Refused(f"in {where}: unknown {', '.join(sorted(unknown))}")
