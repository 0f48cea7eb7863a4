"""The step of a Tekton Task as `docker run`: the same arguments, environment, user, limits and mounts.

For tests, and as a command for the demo:

    python3 -m tests.taskrun --work DIR [options] PARAM=VALUE…

An array parameter is given once per element. What it cannot express, it refuses, so that nothing in
the Task goes untested unnoticed.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TASK = Path(__file__).parent.parent / "task.yaml"

_MEMORY_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_STEP_KEYS = {
    "name",
    "image",
    "command",
    "args",
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
}

Params = Mapping[str, str | Sequence[str]]


@dataclass(frozen=True, slots=True)
class TaskRun:
    """A step that is ready to run."""

    command: list[str]
    results_dir: Path
    home: Path

    def results(self) -> dict[str, str]:
        """The results that are there, by name."""
        return {
            file.name: file.read_text()
            for file in sorted(self.results_dir.iterdir())
            if not file.name.startswith(".")
        }


def task_run(
    params: Params,
    work: Path,
    *,
    image: str | None = None,
    ca: bytes | None = None,
    docker_config: bytes | None = None,
    service_account: bytes | None = None,
    docker_options: Sequence[str] = (),
    task_file: Path = TASK,
) -> TaskRun:
    """Make the command that runs the Task's step, with its directories below `work`.

    `work` has to be a path that is the same for the container engine. `ca` is the content of the
    ConfigMap's key, `docker_config` that of config.json in the workspace, `service_account` that of
    the credentials that Tekton puts in the home directory. Without them, none of these is bound.
    """
    spec = yaml.safe_load(task_file.read_text())["spec"]
    (step,) = spec["steps"]
    _refuse_unknown("the step", step, _STEP_KEYS)
    values = _values(spec["params"], params)

    results, home = _empty_dir(work / "results"), _empty_dir(work / "home")
    mounts = [_mount(results, "/tekton/results"), _mount(home, "/tekton/home")]
    if service_account is not None:
        _credentials(home, service_account, step["securityContext"]["runAsUser"])

    (workspace,) = spec["workspaces"]
    path = f"/workspace/{workspace['name']}" if docker_config is not None else ""
    values[f"workspaces.{workspace['name']}.path"] = path
    if docker_config is not None:
        directory = _projected(work / "workspace", {"config.json": docker_config})
        mounts.append(_mount(directory, path, read_only=workspace["readOnly"]))

    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    for mount in step["volumeMounts"]:
        directory = _volume(work / mount["name"], volumes[mount["name"]], ca)
        mounts.append(_mount(directory, mount["mountPath"], read_only=mount.get("readOnly", False)))

    (entrypoint,) = step["command"]
    return TaskRun(
        [
            "docker",
            "run",
            "--rm",
            *docker_options,
            *_security(step["securityContext"]),
            *_limits(step["computeResources"]["limits"]),
            *mounts,
            *(
                f"--env={variable['name']}={_substitute(variable['value'], values)}"
                for variable in step["env"]
            ),
            f"--entrypoint={entrypoint}",
            image or step["image"],
            *_arguments(step["args"], values),
        ],
        results,
        home,
    )


def _values(declared: list[dict[str, Any]], given: Params) -> dict[str, str | Sequence[str]]:
    _refuse_unknown("the parameters", given, {param["name"] for param in declared})
    values: dict[str, str | Sequence[str]] = {}
    for param in declared:
        name = param["name"]
        value = given[name] if name in given else param.get("default")
        if value is None:
            raise ValueError(f"the Task's parameter {name} needs a value")
        if (param["type"] == "string") != isinstance(value, str):
            raise TypeError(f"the Task's parameter {name} is of type {param['type']}")
        values[f"params.{name}"] = value
    return values


def _arguments(templates: list[str], values: Mapping[str, str | Sequence[str]]) -> list[str]:
    arguments: list[str] = []
    for template in templates:
        if array := re.fullmatch(r"\$\((params\.[\w-]+)\[\*\]\)", template):
            arguments += values[array[1]]
        else:
            arguments.append(_substitute(template, values))
    return arguments


def _substitute(template: str, values: Mapping[str, str | Sequence[str]]) -> str:
    def value(variable: re.Match[str]) -> str:
        found = values[variable[1]]
        if not isinstance(found, str):
            raise TypeError(f"{variable[0]} is an array, and {template} has room for a string")
        return found

    return re.sub(r"\$\(([^()]+)\)", value, template)


def _security(context: Mapping[str, Any]) -> list[str]:
    _refuse_unknown("the securityContext", context, _SECURITY_KEYS)
    if context["seccompProfile"] != {"type": "RuntimeDefault"}:
        raise ValueError("only the seccomp profile RuntimeDefault is what docker run does by itself")
    if context["runAsNonRoot"] and context["runAsUser"] == 0:
        raise ValueError("runAsNonRoot, and runAsUser is 0")
    return [
        f"--user={context['runAsUser']}:{context['runAsGroup']}",
        *(f"--cap-drop={capability}" for capability in context["capabilities"]["drop"]),
        *([] if context["allowPrivilegeEscalation"] else ["--security-opt=no-new-privileges"]),
        *(["--read-only"] if context["readOnlyRootFilesystem"] else []),
    ]


def _limits(limits: Mapping[str, str]) -> list[str]:
    memory, unit = int(limits["memory"][:-2]), limits["memory"][-2:]
    size = memory * _MEMORY_UNITS[unit]
    # Docker refuses more CPUs than there are. Pods have no swap.
    cpus = min(float(limits["cpu"]), os.cpu_count() or 1)
    return [f"--cpus={cpus:g}", f"--memory={size}", f"--memory-swap={size}"]


def _volume(directory: Path, volume: Mapping[str, Any], ca: bytes | None) -> Path:
    if "emptyDir" in volume:
        return _empty_dir(directory)
    config_map = volume["configMap"]
    if ca is None and not config_map["optional"]:
        raise ValueError(f"the ConfigMap of {volume['name']} is not optional")
    (item,) = config_map["items"]
    return _projected(directory, {} if ca is None else {item["path"]: ca})


def _empty_dir(directory: Path) -> Path:
    directory.mkdir(parents=True)
    # As the kubelet makes it. mkdir's mode would be cut by the umask.
    directory.chmod(0o777)
    return directory


def _projected(directory: Path, files: Mapping[str, bytes]) -> Path:
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
        raise ValueError(f"in {where} of the Task: unknown {', '.join(sorted(unknown))}")


def main() -> int:
    """Run the step, showing the command first; its exit status is ours."""
    parser = argparse.ArgumentParser(prog="taskrun", description="Run the step of task.yaml with Docker.")
    parser.add_argument("--work", type=Path, required=True, help="directory for results, home and volumes")
    parser.add_argument("--image", help="another image than the Task's")
    parser.add_argument("--ca", type=Path, help="what the trusted-ca ConfigMap holds")
    parser.add_argument("--docker", action="append", default=[], help="a further option of docker run")
    parser.add_argument("params", nargs="+", metavar="PARAM=VALUE")
    options = parser.parse_args()

    arrays = {
        param["name"]
        for param in yaml.safe_load(TASK.read_text())["spec"]["params"]
        if param["type"] == "array"
    }
    params: dict[str, str | list[str]] = {}
    for name, value in (param.split("=", 1) for param in options.params):
        if name in arrays:
            params[name] = [*params.get(name, []), value]
        else:
            params[name] = value

    run = task_run(
        params,
        options.work,
        image=options.image,
        ca=options.ca.read_bytes() if options.ca else None,
        docker_options=options.docker,
    )
    print(re.sub(r" ('?--\w)", r" \\\n    \1", shlex.join(run.command)), "\n", file=sys.stderr)
    return subprocess.run(run.command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
