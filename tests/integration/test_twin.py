"""The twin of every kind of image is the same image, zstd:chunked throughout."""

from __future__ import annotations

import gzip
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recompress.manifest import Descriptor, MediaType
from recompress.reference import Digest
from tests import images
from tests.fake_registry import error_answer
from tests.images import HandmadeImage
from tests.integration import sources
from tests.integration.command import Outcome, environment, outcome_of, recompress
from tests.integration.conftest import Run
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry
from tests.integration.sources import Build
from tests.integration.twins import assert_twin, is_annotated
from tests.tampering import Layer, Packed

Push = Callable[[HandmadeImage], str]
SMALL = images.gzip_image({"a": b"a" * 1000}, {"b": b"b" * 2000})


@pytest.mark.parametrize("build", sources.ALL.values(), ids=sources.ALL)
def test_the_twin_is_the_same_image_and_the_same_run_gives_the_same_digest(
    run: Run, registry: Registry, repository: str, tmp_path: Path, build: Build
) -> None:
    source = build(registry, repository, tmp_path)
    image = f"{registry.host}/{repository}@{source}"
    outcome = run(image).succeeded()
    twin = assert_twin(registry, repository, source, outcome.results)
    assert_report(outcome, image, twin, registry.document(repository, str(source)))
    is_plain = build in (sources.docker_one_layer, sources.buildah_one_layer, sources.same_layer_twice)
    assert is_plain == all(map(is_annotated, twin["layers"]))
    assert str(Digest.of(registry.manifest(repository, str(source)))) == str(source)
    again = run(image, "--no-reuse").succeeded()
    assert again.results == outcome.results


def assert_report(outcome: Outcome, image: str, twin: dict[str, Any], original: dict[str, Any]) -> None:
    report = outcome.report
    assert report["outcome"] == "recompressed"
    assert report["source"] == image
    assert f"sha256:{report['source_digest'].partition(':')[2]}" == image.partition("@")[2]
    assert report["twin_digest"] == outcome.results["IMAGE_DIGEST"]
    assert report["results"] == outcome.results
    assert [layer["to"]["digest"] for layer in report["layers"]] == digests(twin)
    assert [layer["from"]["digest"] for layer in report["layers"]] == digests(original)
    annotated = [is_annotated(layer) for layer in twin["layers"]]
    assert [layer["to"]["chunked"] for layer in report["layers"]] == annotated
    assert [layer["why_full"] is None for layer in report["layers"]] == annotated


def digests(manifest: dict[str, Any]) -> list[str]:
    return [layer["digest"] for layer in manifest["layers"]]


def test_annotations_of_the_manifest_are_kept(
    run: Run, registry: Registry, repository: str, tmp_path: Path
) -> None:
    source = sources.buildah_one_layer(registry, repository, tmp_path)
    outcome = run(f"{registry.host}/{repository}@{source}").succeeded()
    annotations = registry.document(repository, outcome.results["IMAGE_DIGEST"])["annotations"]
    assert annotations["org.opencontainers.image.title"] == "one layer"
    assert annotations["example.key"] == "ü"


def test_an_image_without_layers_that_is_oci_has_nothing_to_do(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    empty = images.gzip_image()
    outcome = run(push(empty)).succeeded()
    assert outcome.results["IMAGE_DIGEST"] == str(empty.digest)
    assert registry.tags(repository) == []


def test_an_image_without_layers_that_is_v2s2_becomes_oci(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    empty = images.gzip_image(docker=True)
    outcome = run(push(empty)).succeeded()
    assert_twin(registry, repository, empty.digest, outcome.results)


def test_an_image_that_is_zstd_chunked_already_is_left_alone_and_named(
    run: Run, registry: Registry, repository: str, tmp_path: Path
) -> None:
    # Of its own content: buildah remembers how it has packed a layer, and pushes it so again.
    sources.write_files(tmp_path / "files", "zstd:chunked")
    containerfile = "FROM scratch\nCOPY files /\n"
    chunked = ("--compression-format=zstd:chunked",)
    source = sources.buildah(registry, repository, tmp_path, containerfile, push=chunked)
    outcome = run(f"{registry.host}/{repository}:built@{source}").succeeded()
    assert outcome.results == {
        "IMAGE_URL": f"{registry.host}/{repository}:built",
        "IMAGE_DIGEST": str(source),
        "IMAGE_REF": f"{registry.host}/{repository}@{source}",
    }
    assert outcome.report["outcome"] == "already zstd:chunked"
    assert registry.tags(repository) == ["built"]


def test_of_two_layers_with_one_diff_id_each_is_proven(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    twin = run(push(images.gzip_image({"a": b"a" * 1000}))).succeeded().results["IMAGE_DIGEST"]
    document = registry.document(repository, twin)
    (honest,) = document["layers"]
    config = json.loads(registry.blob(repository, document["config"]["digest"]))
    (diff_id,) = config["rootfs"]["diff_ids"]
    layer = Descriptor(
        honest["mediaType"], Digest.parse(honest["digest"]), honest["size"], honest["annotations"]
    )
    forged = Layer.of(Packed(layer, Digest.parse(diff_id), registry.blob(repository, honest["digest"])))
    forged.entry("a")["mode"] = 0o4755
    packed = forged.pack()
    registry.push_blob(repository, packed.blob)
    lying = {
        **honest, "digest": str(packed.layer.digest), "size": packed.layer.size,
        "annotations": dict(packed.layer.annotations),
    }  # fmt: skip
    config["rootfs"]["diff_ids"] *= 2
    config_bytes = json.dumps(config).encode()
    registry.push_blob(repository, config_bytes)
    source = registry.push_manifest(repository, images.manifest(config_bytes, [lying, honest]))
    run(f"{registry.host}/{repository}@{source}").failed(6, str(packed.layer.digest), "mode")


def test_the_twin_of_a_twin_is_itself(run: Run, registry: Registry, push: Push) -> None:
    first = run(push(SMALL)).succeeded()
    second = run(first.results["IMAGE_REF"]).succeeded()
    assert second.results["IMAGE_DIGEST"] == first.results["IMAGE_DIGEST"]
    assert second.report["outcome"] == "already zstd:chunked"


def test_nothing_is_pushed_for_an_image_that_is_zstd_chunked_already(
    run: Run, proxy: object, registry: Registry, repository: str, push: Push
) -> None:
    assert isinstance(proxy, Proxy)
    twin = run(push(SMALL)).succeeded().results["IMAGE_DIGEST"]
    run(f"{proxy.host}/{repository}@{twin}").succeeded()
    assert {request.method for request in proxy.server.requests} <= {"GET", "HEAD"}


@pytest.mark.parametrize("to", ["other", "other:a-tag"])
def test_the_twin_goes_where_it_is_told_to(
    run: Run, registry: Registry, repository: str, push: Push, to: str
) -> None:
    there = f"{repository}-{to}"
    outcome = run(push(SMALL), f"--to={registry.host}/{there}").succeeded()
    assert_twin(registry, repository, SMALL.digest, outcome.results, there)
    assert registry.tags(repository) == []


def test_a_level_makes_other_layers_of_the_same_content(
    run: Run, registry: Registry, repository: str, tmp_path: Path
) -> None:
    source = sources.buildah_one_layer(registry, repository, tmp_path)
    image = f"{registry.host}/{repository}@{source}"
    weak = run(image, "--level=1", "--no-reuse").succeeded()
    assert_twin(registry, repository, source, weak.results)
    strong = run(image, "--level=19", "--no-reuse").succeeded()
    assert_twin(registry, repository, source, strong.results)
    assert strong.results["IMAGE_DIGEST"] != weak.results["IMAGE_DIGEST"]


@pytest.mark.parametrize("verify", ["structure", "content"])
def test_both_proofs_come_to_the_same_twin(
    run: Run, registry: Registry, repository: str, push: Push, verify: str
) -> None:
    outcome = run(push(SMALL), f"--verify={verify}").succeeded()
    assert_twin(registry, repository, SMALL.digest, outcome.results)


def test_the_report_is_on_stdout_and_everything_else_on_stderr(results: Path, push: Push) -> None:
    outcome = recompress("run", push(SMALL), "--no-tls-verify", results=results).succeeded()
    assert "zstd:chunked" in outcome.out
    assert "total" in outcome.out
    assert str(SMALL.digest) in outcome.out
    assert outcome.results["IMAGE_DIGEST"] in outcome.out
    assert "WARNING" not in outcome.out
    for layer in SMALL.layers:
        short = Digest.of(layer).short
        assert [line for line in outcome.err.splitlines() if f"layer {short}: started" in line]
        assert [line for line in outcome.err.splitlines() if f"layer {short}: done" in line]


def test_without_a_results_directory_there_are_no_files_but_the_report(push: Push, tmp_path: Path) -> None:
    image = push(SMALL)
    outcome = recompress("run", image, "--no-tls-verify", "--output=json", env={"TMPDIR": str(tmp_path)})
    assert outcome.succeeded().report["results"]["IMAGE_DIGEST"].startswith("sha256:")
    assert list(tmp_path.iterdir()) == []


def test_an_architecture_that_is_markup_and_commands_to_a_terminal_is_shown_as_text(
    registry: Registry, repository: str, results: Path
) -> None:
    stream = images.tar({"a": b"a" * 1000})
    layer = gzip.compress(stream, mtime=0)
    config = images.config([str(Digest.of(stream))], architecture="amd64[/x]\x1b]0;title")
    manifest = images.manifest(config, [images.descriptor(MediaType.OCI_LAYER_GZIP, layer)])
    digest = registry.push(repository, HandmadeImage(manifest, config, (layer,)))
    image = f"{registry.host}/{repository}@{digest}"
    outcome = recompress("run", image, "--no-tls-verify", results=results).succeeded()
    assert "linux/amd64[/x]\\x1b]0;title" in outcome.out
    assert outcome.out.replace("\n", "").isprintable()
    assert outcome.results["IMAGE_DIGEST"] in outcome.out
    wrong = recompress("run", image, "--no-tls-verify", "--platform=linux/arm64", results=results)
    wrong.failed(5, "is an image for linux/amd64[/x]\\x1b]0;title, not for linux/arm64")


def test_a_run_whose_report_nobody_can_read_has_no_results(
    registry: Registry, repository: str, push: Push, results: Path
) -> None:
    command = ["recompress", "run", push(SMALL), "--no-tls-verify", f"--results-dir={results}"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment(), check=False
        )
    told = "error: the report cannot be written to standard output (No space left on device)"
    outcome_of(ended.returncode, "", ended.stderr, results).failed(2, told)
    assert f"sha256-{SMALL.digest.hex}.zstd-chunked" in registry.tags(repository)


def test_fields_that_podman_ignores_are_warned_of_by_name(
    run: Run, registry: Registry, repository: str, tmp_path: Path
) -> None:
    source = sources.docker_many_layers(registry, repository, tmp_path)
    config = registry.blob(repository, registry.document(repository, str(source))["config"]["digest"])
    assert json.loads(config)["config"]["Healthcheck"] == sources.HEALTHCHECK
    outcome = run(f"{registry.host}/{repository}@{source}").succeeded()
    (warning,) = (text for text in outcome.report["warnings"] if "Healthcheck" in text)
    assert all(name in warning for name in ("Healthcheck", "OnBuild", "Shell", "podman"))
    assert warning in outcome.err


def test_inspect_shows_every_kind_of_layer(registry: Registry, repository: str, tmp_path: Path) -> None:
    source = sources.mixed_compressions(registry, repository, tmp_path)
    image = f"{registry.host}/{repository}@{source}"
    outcome = recompress("inspect", image, "--no-tls-verify", "--output=json").succeeded()
    (manifest,) = outcome.report["manifests"]
    kinds = [layer["compression"] for layer in manifest["layers"]]
    assert kinds == ["gzip", "zstd", "uncompressed", *["zstd:chunked"] * 3]
    assert [layer["chunked"] for layer in manifest["layers"]] == [False] * 3 + [True] * 3
    table = recompress("inspect", image, "--no-tls-verify").succeeded().out
    assert table.count("zstd:chunked") == 3
    assert "linux/amd64" in table


def docker_layers_in_oci() -> HandmadeImage:
    """As podman pulls it, and skopeo does not recompress it."""
    layers = [images.descriptor(MediaType.DOCKER_LAYER_GZIP, layer) for layer in SMALL.layers]
    return HandmadeImage(images.manifest(SMALL.config, layers), SMALL.config, SMALL.layers)


def test_an_oci_manifest_with_docker_layers_gets_a_twin(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    source = docker_layers_in_oci()
    outcome = run(push(source)).succeeded()
    twin = assert_twin(registry, repository, source.digest, outcome.results)
    assert all(map(is_annotated, twin["layers"]))


def test_where_what_skopeo_needs_cannot_be_pushed_beside_such_a_source_that_is_told(
    run: Run, proxy: Proxy, repository: str, push: Push
) -> None:
    source = docker_layers_in_oci()
    push(source)
    proxy.always(error_answer(403, "DENIED", "read only"), "PUT", "/manifests/")
    run(f"{proxy.host}/{repository}@{source.digest}").failed(5, "OCI manifest with Docker layers", "DENIED")
