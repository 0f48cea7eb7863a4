"""hack/e2e.sh says what is missing, and runs the example pipelines through kubectl where nothing is.

There is no cluster here: kubectl is a stand-in that answers as a cluster with Tekton does.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent
FIRST, OTHER = (f"sha256:{digit * 64}" for digit in "12")

# Answers from a table of what its arguments hold, and keeps what it was asked to apply.
KUBECTL = """#!{python}
import json, pathlib, sys
here = pathlib.Path(__file__).parent
asked = " ".join(sys.argv[1:])
with (here / "asked").open("a") as log:
    log.write(asked + "\\n")
if "--filename -" in asked:
    number = len(list(here.glob("document-*")))
    (here / f"document-{{number}}").write_text(sys.stdin.read())
for part, answer in json.loads((here / "answers").read_text()):
    if part in asked:
        if answer is None:
            sys.exit(1)
        print(answer, end="")
        break
"""


@dataclass(slots=True)
class Cluster:
    """What kubectl says, by a part of what it is asked; None is that it fails."""

    directory: Path
    environment: dict[str, str]
    answers: dict[str, str | None] = field(
        default_factory=lambda: {
            "pipelines-info": "v1.0.0",
            "feature-flags": "beta",
            "tekton-chains-controller": "",
            "conditions[0].status": "True",
            "conditions[0].message": "Tasks Completed: 3 (Failed: 1)\n",
            "create --namespace": "pipelinerun.tekton.dev/some-run",
            "IMAGE_DIGEST": FIRST,
        }
    )

    def e2e(self) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        (self.directory / "answers").write_text(json.dumps(list(self.answers.items())))
        return subprocess.run(
            [ROOT / "hack/e2e.sh"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def asked(self) -> list[str]:
        return (self.directory / "asked").read_text().splitlines()

    def documents(self) -> list[dict[str, Any]]:
        files = sorted(self.directory.glob("document-*"), key=lambda file: int(file.name.partition("-")[2]))
        return [yaml.safe_load(file.read_text()) for file in files]


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL.format(python=sys.executable))
    kubectl.chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "KUBECONFIG": "/somewhere/config",
        "REPOSITORY": "registry.example.com/e2e",
        "TASK_IMAGE": "registry.example.com/recompress:1",
        "POLL_SECONDS": "0",
    }
    return Cluster(tmp_path, environment)


def assert_fails(cluster: Cluster, code: int, why: str) -> None:
    ended = cluster.e2e()
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith("e2e: ")
    assert why in ended.stderr
    assert not list(cluster.directory.glob("document-*"))


@pytest.mark.parametrize("name", ["KUBECONFIG", "REPOSITORY", "TASK_IMAGE"])
def test_what_is_missing_in_the_environment_is_named(cluster: Cluster, name: str) -> None:
    del cluster.environment[name]
    assert_fails(cluster, 2, f"{name} is not set")


def test_a_missing_kubectl_is_named(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "env", "dirname"):
        (tmp_path / "bin" / tool).symlink_to(f"/usr/bin/{tool}")
    cluster.environment["PATH"] = str(tmp_path / "bin")
    assert_fails(cluster, 2, "kubectl is not installed")


@pytest.mark.parametrize(
    ("part", "answer", "why"),
    [
        ("/readyz", None, "the cluster of /somewhere/config does not answer"),
        ("get crd", None, "no Tekton Pipelines"),
        ("pipelines-info", "v0.70.0", "Tekton Pipelines 0.70.0, and 1.0.0 is needed"),
        ("pipelines-info", "", "of an unknown version"),
        ("feature-flags", "stable", 'enable-api-fields is "stable"'),
    ],
)
def test_a_cluster_that_cannot_run_the_examples_is_told_from_one_that_fails(
    cluster: Cluster, part: str, answer: str | None, why: str
) -> None:
    cluster.answers[part] = answer
    assert_fails(cluster, 3, why)


def test_both_examples_are_run_in_a_namespace_that_is_removed_in_the_end(cluster: Cluster) -> None:
    ended = cluster.e2e()
    assert ended.returncode == 0, ended.stderr
    assert "both pipelines succeeded" in ended.stdout
    documents = cluster.documents()
    kinds = [(d["kind"], d["metadata"].get("name") or d["metadata"]["generateName"]) for d in documents]
    assert kinds == [
        ("ServiceAccount", "recompress-e2e"),
        ("Task", "recompress"),
        ("Task", "recompress-index"),
        ("Task", "e2e-check"),
        ("Task", "e2e-sbom"),
        ("Task", "build-image"),
        ("Pipeline", "existing-index"),
        ("Pipeline", "multi-arch"),
        ("PipelineRun", "multi-arch-"),
        ("PipelineRun", "existing-index-"),
    ]
    images = [document["spec"]["steps"][0]["image"] for document in documents[1:5]]
    assert images == 4 * ["registry.example.com/recompress:1"]
    assert documents[-2]["spec"]["taskRunTemplate"] == {"serviceAccountName": "recompress-e2e"}
    assert documents[-1]["spec"]["params"] == [
        {"name": "IMAGE", "value": f"registry.example.com/e2e:e2e@{FIRST}"},
        {"name": "TO", "value": "registry.example.com/e2e:e2e-again"},
    ]
    (made,) = (line.split()[-1] for line in cluster.asked() if line.startswith("create namespace"))
    assert cluster.asked()[-1] == f"delete namespace {made} --wait=false"


def test_credentials_and_certificates_are_handed_over(cluster: Cluster) -> None:
    config = cluster.directory / ".docker/config.json"
    config.parent.mkdir()
    config.touch()
    cluster.environment["CA_FILE"] = "/some/ca.crt"
    assert cluster.e2e().returncode == 0
    assert any(
        "secret generic e2e-docker-config" in a and f"=config.json={config}" in a for a in cluster.asked()
    )
    assert any("configmap trusted-ca" in a and "=ca-bundle.crt=/some/ca.crt" in a for a in cluster.asked())
    assert any(
        "secret generic --type=kubernetes.io/dockerconfigjson e2e-chains" in asked
        and f"=.dockerconfigjson={config}" in asked
        for asked in cluster.asked()
    )
    account = next(d for d in cluster.documents() if d and d["kind"] == "ServiceAccount")
    assert account["secrets"] == account["imagePullSecrets"] == [{"name": "e2e-chains"}]
    bound = [{"name": "dockerconfig", "secret": {"secretName": "e2e-docker-config"}}]
    assert cluster.documents()[-1]["spec"]["workspaces"] == bound


def runs(cluster: Cluster) -> list[tuple[str, dict[str, str]]]:
    """What was started, with its parameters."""
    found = [document for document in cluster.documents() if document["kind"].endswith("Run")]
    return [
        (run["metadata"]["generateName"], {param["name"]: param["value"] for param in run["spec"]["params"]})
        for run in found
    ]


IMAGE = f"registry.example.com/e2e@{FIRST}"


@pytest.mark.parametrize(
    ("chains", "sbom", "started", "checked"),
    [
        ("", "0", [], {}),
        ("true", "0", ["e2e-check-"], {"IMAGE": IMAGE, "SIGNED": "true", "SBOM": "false"}),
        ("", "1", ["e2e-sbom-", "e2e-check-"], {"IMAGE": IMAGE, "SIGNED": "false", "SBOM": "true"}),
        ("true", "1", ["e2e-sbom-", "e2e-check-"], {"IMAGE": IMAGE, "SIGNED": "true", "SBOM": "true"}),
    ],
)
def test_signatures_are_looked_for_where_there_is_chains_and_sboms_where_they_are_asked_for(
    cluster: Cluster, chains: str, sbom: str, started: list[str], checked: dict[str, str]
) -> None:
    cluster.answers["tekton-chains-controller"] = chains
    cluster.environment["SBOM"] = sbom
    ended = cluster.e2e()
    assert ended.returncode == 0, ended.stderr
    names = [name for name, _ in runs(cluster)]
    assert names == [
        "multi-arch-",
        *(name for name in started if name == "e2e-sbom-"),
        "existing-index-",
        *(name for name in started if name == "e2e-check-"),
    ]
    assert not checked or runs(cluster)[-1][1] == checked
    assert ("has a signature and an attestation" in ended.stdout) == (chains == "true")
    assert ("every twin has an SBOM" in ended.stdout) == (sbom == "1")
    of_tasks = [d["spec"] for d in cluster.documents() if d["kind"] == "TaskRun"]
    assert all(spec["serviceAccountName"] == "recompress-e2e" for spec in of_tasks)


def test_a_pipeline_that_fails_fails_the_script_and_its_logs_are_shown(cluster: Cluster) -> None:
    cluster.answers["conditions[0].status"] = "False"
    ended = cluster.e2e()
    assert ended.returncode == 1
    assert "Tasks Completed: 3 (Failed: 1)" in ended.stderr
    assert any(line.startswith("logs ") and "pipelineRun=some-run" in line for line in cluster.asked())
    assert cluster.asked()[-1].startswith("delete namespace")


def test_an_index_that_is_not_signed_fails_the_script_and_the_log_of_the_check_is_shown(
    cluster: Cluster,
) -> None:
    kubectl = cluster.directory / "kubectl"
    failed = """if "status" in asked and any('"TaskRun"' in d.read_text() for d in here.glob("document-*")):
    sys.exit(print("False"))
"""
    kubectl.write_text(kubectl.read_text().replace("for part, answer", f"{failed}for part, answer"))
    cluster.answers["tekton-chains-controller"] = "true"
    ended = cluster.e2e()
    assert ended.returncode == 1
    assert "both pipelines succeeded" in ended.stdout
    assert "has a signature" not in ended.stdout
    assert any(line.startswith("logs ") and "taskRun=some-run" in line for line in cluster.asked())


def test_another_index_the_second_time_fails_the_script(cluster: Cluster) -> None:
    kubectl = cluster.directory / "kubectl"
    kubectl.write_text(
        kubectl.read_text()
        + f'if "IMAGE_DIGEST" in asked and len(list(here.glob("document-*"))) == 10:\n    print("{OTHER}")\n'
    )
    ended = cluster.e2e()
    assert ended.returncode == 1
    assert "is not the same" in ended.stderr


def test_a_namespace_that_was_named_is_left(cluster: Cluster) -> None:
    cluster.environment["NAMESPACE"] = "mine"
    assert cluster.e2e().returncode == 0
    assert not any(
        "namespace mine" in line and line.startswith(("create n", "delete")) for line in cluster.asked()
    )
