"""The step of task.yaml as `docker run`, for tests and, as a command, for the demo:

    python3 -m tests.taskrun --work DIR [options] PARAM=VALUE…

An array parameter is given once per element.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.tekton import step
from tests.tekton.resources import ROOT, load_task
from tests.tekton.step import Cluster, TaskRun
from tests.tekton.variables import Value

TASK = ROOT / "task.yaml"
Params = Mapping[str, Value]


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

    `ca` is the content of the ConfigMap's key, `docker_config` that of config.json in the workspace,
    `service_account` that of the credentials that Tekton puts in the home directory. Without them,
    none of these is bound.
    """
    task = load_task(task_file)
    return step.prepare(
        task,
        params,
        {} if docker_config is None else {"dockerconfig": {"config.json": docker_config}},
        work,
        Cluster(
            images={task.step["image"]: image or task.step["image"]},
            config_maps={} if ca is None else {"trusted-ca": {"ca-bundle.crt": ca}},
            service_account=service_account,
            docker_options=docker_options,
        ),
    )


def main() -> int:
    """Run the step, showing the command first; its exit status is ours."""
    parser = argparse.ArgumentParser(prog="taskrun", description="Run the step of task.yaml with Docker.")
    parser.add_argument("--work", type=Path, required=True, help="directory for results, home and volumes")
    parser.add_argument("--image", help="another image than the Task's")
    parser.add_argument("--ca", type=Path, help="what the trusted-ca ConfigMap holds")
    parser.add_argument("--docker", action="append", default=[], help="a further option of docker run")
    parser.add_argument("params", nargs="+", metavar="PARAM=VALUE")
    options = parser.parse_args()

    arrays = {param.name for param in load_task(TASK).params if param.is_array}
    params: dict[str, Value] = {}
    for name, value in (param.split("=", 1) for param in options.params):
        params[name] = [*params.get(name, []), value] if name in arrays else value

    run = task_run(
        params,
        options.work,
        image=options.image,
        ca=options.ca.read_bytes() if options.ca else None,
        docker_options=options.docker,
    )
    print(" \\\n    ".join(shlex.quote(word) for word in run.command), "\n", file=sys.stderr)
    return subprocess.run(run.command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
