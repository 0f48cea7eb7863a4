"""The example for Konflux: what it hands its tasks, and how it names them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from tests.tekton import konflux, pipeline
from tests.tekton.pipeline import Ended, PipelineRun
from tests.tekton.resources import ROOT, Task, load_pipeline, load_task
from tests.tekton.variables import Value

EXAMPLE = ROOT / "examples/konflux-pipeline.yaml"
TASKS = konflux.beside({"recompress": load_task(ROOT / "task.yaml")})
REPOSITORY = "quay.io/tenant/app"
PLATFORMS = ["linux/x86_64", "linux/arm64"]
TAG_AND_DIGEST = re.compile(r"[^\s:@]+/[^\s:@]+:[^\s:@]+@sha256:[0-9a-f]{64}")


def digest(of: str) -> str:
    return f"sha256:{of.encode().hex():0>64}"


class Cluster:
    """Every task succeeds with results as Konflux's have; keeps the parameters of each TaskRun."""

    def __init__(self) -> None:
        self.params: dict[str, Mapping[str, Value]] = {}

    def __call__(self, name: str, task: Task, params: Mapping[str, Value], _: frozenset[str]) -> Ended:
        name = name.removesuffix("-try1")
        self.params[name] = params
        tag = f"{REPOSITORY}:1.0"
        if task.name == "recompress":
            tag = f"{REPOSITORY}:{name}"
            ref = f"{REPOSITORY}@{digest(name)}"
        elif platform := params.get("PLATFORM"):
            tag += f"-{str(platform).replace('/', '-')}"
            ref = f"{tag}@{digest(name)}"
        else:
            ref = f"{REPOSITORY}@{digest(name)}"
        made = {"IMAGE_URL": tag, "IMAGE_DIGEST": digest(name), "IMAGE_REF": ref}
        made["SBOM_BLOB_URL"] = f"{REPOSITORY}@{digest('sbom of ' + name)}"
        every = {result: f"{result} of {name}" for result in task.results} | made
        return Ended(True, {result: every[result] for result in task.results})

    def run(self, **more: Value) -> PipelineRun:
        """Run the example on two platforms."""
        params: dict[str, Value] = {
            "git-url": "https://git.example.com/app",
            "output-image": f"{REPOSITORY}:1.0",
            "build-platforms": PLATFORMS,
        }
        return pipeline.run(load_pipeline(EXAMPLE), TASKS, self, params | more)


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """On which the example has been run."""
    made = Cluster()
    assert made.run().succeeded
    return made


def built(result: str) -> list[str]:
    """The results of the two builds."""
    names = ("build-images-0", "build-images-1")
    tags = ("1.0-linux-x86_64", "1.0-linux-arm64")
    return {
        "IMAGE_DIGEST": [digest(name) for name in names],
        "IMAGE_REF": [f"{REPOSITORY}:{tag}@{digest(name)}" for name, tag in zip(names, tags, strict=True)],
        "SBOM_BLOB_URL": [f"{REPOSITORY}@{digest('sbom of ' + name)}" for name in names],
    }[result]


def test_each_instance_gets_one_image_and_the_sboms_of_all(cluster: Cluster) -> None:
    runs = [cluster.params[f"recompress-{number}"] for number in range(2)]
    assert [run["IMAGE"] for run in runs] == built("IMAGE_REF")
    assert [run["SBOM_FROM"] for run in runs] == 2 * [built("SBOM_BLOB_URL")]


def test_the_index_is_of_oci_manifests_and_has_the_gzip_images_first(cluster: Cluster) -> None:
    twins = [f"{REPOSITORY}@{digest(f'recompress-{number}')}" for number in range(2)]
    assert cluster.params["build-image-index"]["IMAGES"] == [*built("IMAGE_REF"), *twins]
    for name in ("build-images-0", "build-images-1", "build-image-index"):
        assert cluster.params[name]["BUILDAH_FORMAT"] == "oci"


@pytest.mark.parametrize(
    ("task", "platform"), [("clair-scan", "image-platform"), ("clamav-scan", "image-arch")]
)
def test_scans_are_of_the_index_for_each_platform_and_of_each_gzip_image(
    cluster: Cluster, task: str, platform: str
) -> None:
    of_index, of_gzip = (
        [cluster.params[f"{name}-{number}"] for number in range(2)] for name in (task, f"{task}-gzip")
    )
    index = digest("build-image-index")
    assert [(p[platform], p["image-digest"]) for p in of_index] == [(name, index) for name in PLATFORMS]
    assert [p["image-digest"] for p in of_gzip] == built("IMAGE_DIGEST")
    assert not any(platform in p for p in of_gzip)
    assert {p["image-url"] for p in (*of_index, *of_gzip)} == {f"{REPOSITORY}:1.0"}


def test_without_checks_the_index_is_made_all_the_same() -> None:
    cluster = Cluster()
    ran = cluster.run(**{"skip-checks": "true"})
    assert ran.results["IMAGE_DIGEST"] == digest("build-image-index")
    assert sorted(ran.skipped) == ["clair-scan", "clair-scan-gzip", "clamav-scan", "clamav-scan-gzip"]


def test_every_task_comes_from_a_bundle_by_tag_and_digest() -> None:
    bundles = [dict(params_of(entry["taskRef"]))["bundle"] for entry in entries()]
    assert all(TAG_AND_DIGEST.fullmatch(bundle) for bundle in bundles), bundles


def entries() -> list[dict[str, Any]]:
    tasks = yaml.safe_load(EXAMPLE.read_text())["spec"]["tasks"]
    assert isinstance(tasks, list)
    return tasks


def params_of(reference: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    assert reference["resolver"] == "bundles"
    for param in reference["params"]:
        yield param["name"], param["value"]


def test_docs_trust_the_bundle_of_the_example_and_give_the_same_parameters() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/konflux.md").read_text(), re.DOTALL)
    rules, listed, part = map(yaml.safe_load, blocks)
    (ours,) = (entry for entry in entries() if entry["name"] == "recompress")
    tagged, _, pinned = dict(params_of(ours["taskRef"]))["bundle"].partition("@")
    # Conforma's key is oci://repository:tag, which a pattern without a wildcard matches with any tag.
    (allowed,) = rules["trusted_task_rules"]["allow"]["recompress"]
    assert f"oci://{tagged}".rpartition(":")[0] == allowed["pattern"]
    assert listed == {"trusted_tasks": {f"oci://{tagged}": [{"ref": pinned}]}}
    assert part["params"] == ours["params"]


@pytest.mark.parametrize("file", ["task.yaml", "index-task.yaml"])
def test_our_tasks_have_no_build_type_that_would_add_required_tasks(file: str) -> None:
    labels = yaml.safe_load((ROOT / file).read_text())["metadata"]["labels"]
    assert labels.keys() == {"app.kubernetes.io/version"}
