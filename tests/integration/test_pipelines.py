"""The example Pipelines, run by Tekton's rules in real containers against a real registry."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recompress.manifest import INDEX_ZSTD_ANNOTATION, MediaType
from recompress.reference import Digest
from tests import images
from tests.images import HandmadeImage
from tests.integration.pods import CHOSEN_USER, TASKS, Pods, cluster, example
from tests.integration.registries import Account, Registry
from tests.integration.twins import assert_twin
from tests.tekton import pipeline, results, step
from tests.tekton.pipeline import PipelineRun
from tests.tekton.resources import Pipeline, pipeline_task
from tests.tekton.variables import Value

ARCHITECTURES = ("amd64", "arm64", "ppc64le", "s390x")
Start = Callable[..., PipelineRun]


@pytest.fixture
def start(registry: Registry, tmp_path: Path) -> Start:
    """Runs a Pipeline against the registry without TLS; each time with directories of its own."""
    count = iter(range(100))

    def call(this: Pipeline, **params: Value) -> PipelineRun:
        pods = Pods(tmp_path / f"run-{next(count)}", cluster(registry, RECOMPRESS_OUTPUT="json"))
        return pipeline.run(this, TASKS, pods, params)

    return call


def recompress_only(**more: Any) -> Pipeline:
    """One task, a matrix of recompress over IMAGES."""
    entry = {
        "name": "recompress",
        "taskRef": {"name": "recompress"},
        "matrix": {"params": [{"name": "IMAGE", "value": "$(params.IMAGES[*])"}]},
        **more,
    }
    declared = replace(example("multi-arch").params[1], name="IMAGES", default=None)
    return Pipeline("recompress-only", (declared,), (), (pipeline_task(entry),), {})


def entries(registry: Registry, repository: str, digest: str) -> list[dict[str, Any]]:
    found = registry.document(repository, digest)["manifests"]
    assert isinstance(found, list)
    return found


def assert_serves_old_and_new(
    registry: Registry, repository: str, ran: PipelineRun, architectures: Sequence[str] = ARCHITECTURES
) -> list[dict[str, Any]]:
    """The index has the gzip images first and behind them, annotated, their twins; returns its entries."""
    assert ran.succeeded, ran.log
    digest = str(ran.results["IMAGE_DIGEST"])
    tag = str(ran.results["IMAGE_URL"]).rpartition(":")[2]
    assert ran.results["IMAGE_URL"] == f"{registry.host}/{repository}:{tag}"
    assert Digest.of(registry.manifest(repository, tag)) == Digest.parse(digest)
    found = entries(registry, repository, digest)
    count = len(architectures)
    gzip, zstd = found[:count], found[-count:]
    assert [entry["platform"]["architecture"] for entry in gzip] == list(architectures)
    assert [entry["platform"] for entry in zstd] == [entry["platform"] for entry in gzip]
    for old, new in zip(gzip, zstd, strict=True):
        assert INDEX_ZSTD_ANNOTATION not in old.get("annotations", {})
        assert new["annotations"][INDEX_ZSTD_ANNOTATION] == "true"
        made_of = {"uri": f"oci://{registry.host}/{repository}", "digest": old["digest"]}
        names = {
            "IMAGE_URL": f"{registry.host}/{repository}:sha256-{old['digest'][7:]}.zstd-chunked",
            "IMAGE_DIGEST": new["digest"],
            "IMAGE_REF": f"{registry.host}/{repository}@{new['digest']}",
            "SOURCE_ARTIFACT_INPUTS": json.dumps(made_of),
        }
        assert_twin(registry, repository, Digest.parse(old["digest"]), names)
    return found


def test_the_multi_arch_example_builds_recompresses_and_indexes_four_platforms_as_a_user_that_was_chosen(
    private_registry: Registry, repository: str, tmp_path: Path
) -> None:
    secret = auth_of(private_registry)
    around = cluster(private_registry, user=CHOSEN_USER)
    pods = Pods(tmp_path, around, {"dockerconfig": {"config.json": secret}})
    image = f"{private_registry.host}/{repository}:1.0"
    ran = pipeline.run(example("multi-arch"), TASKS, pods, {"IMAGE": image}, frozenset({"dockerconfig"}))
    found = assert_serves_old_and_new(private_registry, repository, ran)
    assert len(found) == 8
    assert ran.runs.keys() == {
        "index",
        *(f"{task}-{number}" for task in ("build-images", "recompress") for number in range(4)),
    }
    for name, (ended,) in ran.runs.items():
        assert len(results.message(ended.results)) < (4096 if name == "index" else 1024)
    listed = str(ran.runs["index"][0].results["IMAGES"]).split(",")
    assert listed == [f"{private_registry.host}/{repository}@{entry['digest']}" for entry in found]


def auth_of(registry: Registry) -> bytes:
    return json.dumps({"auths": {registry.host: {"auth": Account().auth}}}).encode()


def push_index(
    registry: Registry, repository: str, architectures: Sequence[str], *, docker: bool = False
) -> tuple[str, list[dict[str, Any]]]:
    """An index of small gzip images, and its entries."""
    found = []
    for architecture in architectures:
        image = images.gzip_image(
            {"file": architecture.encode() * 500}, architecture=architecture, docker=docker
        )
        registry.push(repository, image)
        media_type = MediaType.DOCKER_MANIFEST if docker else MediaType.OCI_MANIFEST
        platform = {"architecture": architecture, "os": "linux"}
        found.append(images.descriptor(media_type, image.manifest, platform=platform))
    content = images.index(found, MediaType.DOCKER_INDEX if docker else MediaType.OCI_INDEX)
    digest = registry.push_manifest(repository, content)
    return f"{registry.host}/{repository}@{digest}", found


def test_the_existing_index_example_adds_twins_and_keeps_everything_else(
    private_registry: Registry, repository: str, tmp_path: Path
) -> None:
    image, before = push_index(private_registry, repository, (*ARCHITECTURES, "riscv64"))
    pods = Pods(tmp_path, cluster(private_registry, service_account=auth_of(private_registry)))
    params: dict[str, Value] = {"IMAGE": image, "TO": f"{private_registry.host}/{repository}:new"}
    ran = pipeline.run(example("existing-index"), TASKS, pods, params)
    found = assert_serves_old_and_new(private_registry, repository, ran)
    assert found[:5] == before
    assert len(found) == 9

    # With every twin there already and every entry in its place, the index is the same, byte for byte.
    pods = replace(pods, work=tmp_path / "again")
    params["IMAGE"] = f"{private_registry.host}/{repository}@{ran.results['IMAGE_DIGEST']}"
    again = pipeline.run(example("existing-index"), TASKS, pods, params)
    assert again.results == ran.results, again.log


def test_a_docker_manifest_list_gets_twins_by_way_of_its_oci_twins(
    registry: Registry, repository: str, start: Start
) -> None:
    image, before = push_index(registry, repository, ARCHITECTURES, docker=True)
    this = example("existing-index")
    recompress, index = this.tasks
    to = f"{registry.host}/{repository}:new"
    refused = start(this, IMAGE=image, TO=to)
    assert refused.failed == ["index"]
    assert "recompress run --oci-twin" in refused.log
    # What the example says in a comment.
    recompress = replace(recompress, params={**recompress.params, "OCI_TWIN": "true"})
    both = ["$(tasks.recompress.results.OCI_IMAGE_REF[*])", "$(tasks.recompress.results.IMAGE_REF[*])"]
    index = replace(index, params={**index.params, "IMAGES": both})
    ran = start(replace(this, tasks=(recompress, index)), IMAGE=image, TO=to)
    assert ran.succeeded, ran.log
    found = entries(registry, repository, str(ran.results["IMAGE_DIGEST"]))
    assert [entry["platform"] for entry in found] == 2 * [entry["platform"] for entry in before]
    for old, new in zip(before, found[:4], strict=True):
        docker, oci = (registry.document(repository, entry["digest"]) for entry in (old, new))
        assert new["mediaType"] == MediaType.OCI_MANIFEST
        for one, other in zip(
            [docker["config"], *docker["layers"]], [oci["config"], *oci["layers"]], strict=True
        ):
            assert (one["digest"], one["size"]) == (other["digest"], other["size"])
    for name, tries in ran.runs.items():
        assert name == "index" or len(results.message(tries[-1].results)) < 3072


def test_where_one_platform_fails_the_others_stand_and_running_again_compresses_only_that_one(
    registry: Registry, repository: str, start: Start
) -> None:
    whole = [images.gzip_image({"a": b"%d" % number * 999}) for number in range(2)]
    broken = images.gzip_image({"a": b"common"}, {"b": b"missing at first"})
    missing = broken.layers[1]
    for image in whole:
        registry.push(repository, image)
    push_without(registry, repository, broken, missing)
    refs: list[str] = [
        f"{registry.host}/{repository}@{image.digest}" for image in (whole[0], broken, whole[1])
    ]

    ran = start(recompress_only(retries=1), IMAGES=refs)
    assert ran.failed == ["recompress"]
    assert [(name, len(tries)) for name, tries in ran.runs.items()] == [
        ("recompress-0", 1),
        ("recompress-1", 2),
        ("recompress-2", 1),
    ]
    assert all(not ended.results for ended in ran.runs["recompress-1"])
    stands = {name: ran.runs[name][0].results for name in ("recompress-0", "recompress-2")}
    assert_twin(registry, repository, whole[0].digest, stands["recompress-0"])
    assert_twin(registry, repository, whole[1].digest, stands["recompress-2"])

    registry.push_blob(repository, missing)
    again = start(recompress_only(), IMAGES=refs)
    assert again.succeeded, again.log
    assert actions(again) == [["reused"], ["compressed", "compressed"], ["reused"]]
    assert {name: again.runs[name][0].results for name in stands} == stands


def push_without(registry: Registry, repository: str, image: HandmadeImage, missing: bytes) -> None:
    """Push an image and then remove one of its layers."""
    registry.push(repository, image)
    with registry.client() as client:
        client.delete(f"{repository}/blobs/{Digest.of(missing)}").raise_for_status()


def actions(ran: PipelineRun) -> list[list[str]]:
    """What was done with each layer, by instance."""
    reports = [json.loads(ran.runs[name][-1].out) for name in sorted(ran.runs, key=number_of)]
    return [[layer["action"] for layer in report["layers"]] for report in reports]


def number_of(name: str) -> int:
    return int(name.rpartition("-")[2])


def test_sixteen_instances_at_the_same_time_on_one_repository_do_not_disturb_each_other(
    registry: Registry, repository: str, start: Start
) -> None:
    base = {"base": b"the same in all" * 2000}
    pushed = [images.gzip_image(base, {"own": b"%d" % number * 500}) for number in range(16)]
    for image in pushed:
        registry.push(repository, image)
    refs: list[str] = [f"{registry.host}/{repository}@{image.digest}" for image in pushed]
    ran = start(recompress_only(), IMAGES=refs)
    assert ran.succeeded, ran.log
    twins = set()
    for number, image in enumerate(pushed):
        (ended,) = ran.runs[f"recompress-{number}"]
        assert_twin(registry, repository, image.digest, ended.results)
        twins.add(ended.results["IMAGE_DIGEST"])
    assert len(twins) == 16
    moved = str(Digest.of(registry.manifest(repository, "zstd-chunked-cache-linux-amd64")))
    assert moved in twins


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_an_instance_that_is_ended_half_way_leaves_no_results_and_running_it_again_succeeds(
    registry: Registry, repository: str, tmp_path: Path, signal: str
) -> None:
    image = images.gzip_image({"a": noise(30)}, {"b": noise(31)}, {"c": noise(32)})
    registry.push(repository, image)
    params: dict[str, Value] = {"IMAGE": f"{registry.host}/{repository}@{image.digest}", "JOBS": "1"}
    around = cluster(registry)
    run = step.prepare(TASKS["recompress"], params, {}, tmp_path / "ended", around)
    name = f"recompress-ended-{repository.rpartition('/')[2]}"
    command = [*run.command[:3], f"--name={name}", *run.command[3:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        log = []
        for line in process.stderr:
            log.append(line)
            if "recompressing" in line:
                subprocess.run(
                    ["docker", "kill", f"--signal={signal}", name], check=True, capture_output=True
                )
        assert process.wait() == {"TERM": 143, "KILL": 137}[signal], log
    assert run.results() == {}
    tags = registry.tags(repository)
    assert tags == []

    pods = Pods(tmp_path, around)
    again = pods("again", TASKS["recompress"], params, frozenset())
    assert again.succeeded, again.log
    assert_twin(registry, repository, image.digest, again.results)


def noise(seed: int) -> bytes:
    """Two megabytes that do not compress, the same each time."""
    return b"".join(bytes.fromhex(Digest.of(b"%d %d" % (seed, n)).hex) for n in range(65536))
