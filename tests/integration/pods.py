"""The TaskRuns of a Pipeline as containers of the host's engine, one each."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests import measured
from tests.integration.registries import Registry, labels
from tests.taskrun import TASK
from tests.tekton import step
from tests.tekton.pipeline import Ended
from tests.tekton.resources import ROOT, Pipeline, Task, load_pipeline, load_task
from tests.tekton.results import ResultsTooLarge
from tests.tekton.step import Cluster, Files
from tests.tekton.variables import Value

TASKS = {
    task.name: task
    for task in map(load_task, (TASK, ROOT / "index-task.yaml", ROOT / "examples/build-image.yaml"))
}
CHOSEN_USER = 1000680000
"""A user as OpenShift's restricted-v2 chooses one: in no passwd file, with the group 0."""

_IMAGES = {
    TASKS["recompress"].step["image"]: "localhost/recompress:dev",
    # The tests' image has the same buildah, and is here.
    TASKS["build-image"].step["image"]: "recompress-test",
}


def example(name: str) -> Pipeline:
    """A Pipeline of the examples."""
    return load_pipeline(ROOT / f"examples/{name}-pipeline.yaml")


def cluster(
    registry: Registry, *, service_account: bytes | None = None, user: int | None = None, **environment: str
) -> Cluster:
    """What the Tasks find around them: a CA where the registry has one, and these variables besides."""
    if not registry.ca_file:
        environment["RECOMPRESS_TLS_VERIFY"] = "false"
    (label,) = (f"--label={name}={value}" for name, value in labels().items())
    variables = (f"--env={name}={value}" for name, value in environment.items())
    ca = {"trusted-ca": {"ca-bundle.crt": registry.ca_file.read_bytes()}} if registry.ca_file else {}
    options = (label, "--network=host", *measured.docker_options(), *variables)
    return Cluster(_IMAGES, ca, service_account, user, options)


@dataclass(frozen=True, slots=True)
class Pods:
    """Starts TaskRuns, with their directories below `work`; `secrets` are what workspaces are bound to."""

    work: Path
    cluster: Cluster
    secrets: Mapping[str, Files] = field(default_factory=dict)

    def __call__(
        self, name: str, task: Task, params: Mapping[str, Value], workspaces: frozenset[str]
    ) -> Ended:
        """Run one to its end."""
        bound = {workspace: self.secrets[workspace] for workspace in workspaces}
        run = step.prepare(task, params, bound, self.work / name, self.cluster)
        ended = subprocess.run(run.command, capture_output=True, text=True, timeout=300, check=False)
        try:
            results = run.results()
        except ResultsTooLarge as error:
            return Ended(False, {}, f"{ended.stderr}\n{error}", ended.stdout)
        return Ended(ended.returncode == 0, results, ended.stderr, ended.stdout)
