"""Layers that exist as zstd:chunked are taken over, but only those that were proven."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.http_server import Answer, Request
from tests.images import HandmadeImage
from tests.integration.command import Outcome, recompress
from tests.integration.conftest import Run
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry, running
from tests.integration.sources import hash_of
from tests.integration.twins import assert_twin

Push = Callable[[HandmadeImage], str]
CACHE_TAG = "zstd-chunked-cache-linux-amd64"


def image_of(*names: str) -> HandmadeImage:
    """A gzip image with a layer for each name; the same name is the same layer."""
    return images.gzip_image(*({name: hash_of(name).encode() * 300} for name in names))


def actions(outcome: Outcome) -> list[str]:
    return [layer["action"] for layer in outcome.report["layers"]]


class Reads:
    """Counts, on a proxy, how often blobs are read whole, and in parts."""

    def __init__(self, proxy: Proxy) -> None:
        self.whole: list[str] = []
        self.parts: list[str] = []
        proxy.fault = self._note

    def _note(self, request: Request) -> Answer | None:
        if request.method == "GET" and "/blobs/sha256:" in request.path:
            digest = request.path.rpartition("/")[2]
            (self.parts if "range" in request.headers else self.whole).append(digest)
        return None


def test_the_same_image_again_is_proven_and_not_compressed(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    reference = push(image_of("one", "two"))
    first = run(reference).succeeded()
    again = run(reference).succeeded()
    assert actions(first) == ["compressed", "compressed"]
    assert actions(again) == ["reused", "reused"]
    assert again.results == first.results
    twin_tag = first.results["IMAGE_URL"]
    assert {layer["reused_from"] for layer in again.report["layers"]} == {twin_tag}
    assert again.report["saved_size"] == again.report["source_size"] > 0
    assert registry.tags(repository) == sorted([CACHE_TAG, twin_tag.rpartition(":")[2]])


def test_without_reuse_every_layer_is_compressed_and_the_digest_is_the_same(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    reference = push(image_of("one", "two"))
    afresh = run(reference, "--no-reuse").succeeded()
    assert actions(afresh) == ["compressed", "compressed"]
    assert CACHE_TAG not in registry.tags(repository)
    reused = run(reference).succeeded()
    again = run(reference, "--no-reuse").succeeded()
    assert actions(reused) == ["reused", "reused"]
    assert actions(again) == ["compressed", "compressed"]
    assert afresh.results == reused.results == again.results


def test_of_ten_layers_the_nine_known_ones_are_neither_downloaded_nor_compressed(
    run: Run, proxy: Proxy, registry: Registry, repository: str, push: Push
) -> None:
    names = [f"layer {number}" for number in range(9)]
    run(push(image_of(*names, "old"))).succeeded()
    changed = image_of(*names, "new")
    push(changed)
    reads = Reads(proxy)
    outcome = run(f"{proxy.host}/{repository}@{changed.digest}").succeeded()
    assert actions(outcome) == ["reused"] * 9 + ["compressed"]
    gzip_layers = {layer["from"]["digest"] for layer in outcome.report["layers"]}
    new = outcome.report["layers"][-1]["from"]["digest"]
    assert [digest for digest in reads.whole if digest in gzip_layers] == [new]
    assert outcome.report["saved_size"] == sum(
        layer["from"]["size"] for layer in outcome.report["layers"][:-1]
    )


def test_each_zstd_chunked_layer_is_read_once_in_a_run(
    run: Run, proxy: Proxy, repository: str, push: Push
) -> None:
    run(push(image_of("one", "two"))).succeeded()
    changed = image_of("one", "two", "three")
    push(changed)
    reads = Reads(proxy)
    outcome = run(f"{proxy.host}/{repository}@{changed.digest}").succeeded()
    for layer in outcome.report["layers"]:
        assert reads.whole.count(layer["to"]["digest"]) == 1


def test_structure_alone_reads_no_layer_that_is_there(
    run: Run, proxy: Proxy, repository: str, push: Push
) -> None:
    known = image_of("one", "two")
    run(push(known)).succeeded()
    reads = Reads(proxy)
    outcome = run(f"{proxy.host}/{repository}@{known.digest}", "--verify=structure").succeeded()
    assert actions(outcome) == ["reused", "reused"]
    layers = {layer["to"]["digest"] for layer in outcome.report["layers"]}
    assert not layers & set(reads.whole)
    # One of the source's is asked for two ranges, to know what the registry answers.
    (source,) = set(reads.parts) - layers
    assert source in {layer["from"]["digest"] for layer in outcome.report["layers"]}
    assert layers <= set(reads.parts)


def poison(run: Run, registry: Registry, repository: str, push: Push, victim: HandmadeImage) -> str:
    """Claim, under the moving tag, that a foreign layer is what the victim's config says; its digest."""
    evil = run(push(image_of("evil"))).succeeded()
    document = registry.document(repository, evil.results["IMAGE_DIGEST"])
    config = images.descriptor(MediaType.OCI_CONFIG, victim.config)
    lie = json.dumps({**document, "config": config}).encode()
    registry.push_manifest(repository, lie, selector=CACHE_TAG)
    return str(evil.report["layers"][0]["to"]["digest"])


def test_foreign_content_under_the_moving_tag_is_named_and_compressed_afresh(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    victim = image_of("victim")
    reference = push(victim)
    foreign = poison(run, registry, repository, push, victim)
    outcome = run(reference).succeeded()
    assert actions(outcome) == ["compressed"]
    (warning,) = outcome.report["warnings"]
    assert warning.startswith(f"not reused from {registry.host}/{repository}:{CACHE_TAG}: layer {foreign}: ")
    assert foreign not in json.dumps(registry.document(repository, outcome.results["IMAGE_DIGEST"]))
    assert_twin(registry, repository, victim.digest, outcome.results)


def test_foreign_content_is_taken_with_structure_alone_as_documented(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    # The reason why the default proves: this is what --verify structure gives up.
    victim = image_of("victim")
    reference = push(victim)
    poison(run, registry, repository, push, victim)
    assert actions(run(reference, "--verify=structure").succeeded()) == ["reused"]
    # And a later run that proves catches the twin that came of it.
    assert actions(run(reference).succeeded()) == ["compressed"]


def rubbish(registry: Registry, repository: str, twin: str) -> None:
    artifact = images.manifest(b"{}", config_type="application/vnd.example.config+json")
    registry.push_blob(repository, b"{}")
    registry.push_manifest(repository, artifact, selector=CACHE_TAG)


def an_index_of_nothing(registry: Registry, repository: str, twin: str) -> None:
    registry.push_manifest(repository, images.index([]), selector=CACHE_TAG)


def a_gzip_image(registry: Registry, repository: str, twin: str) -> None:
    other = image_of("other")
    registry.push(repository, other)
    registry.push_manifest(repository, other.manifest, selector=CACHE_TAG)


def a_deleted_manifest(registry: Registry, repository: str, twin: str) -> None:
    with registry.client() as client:
        client.delete(f"{repository}/manifests/{twin}").raise_for_status()


def a_deleted_layer(registry: Registry, repository: str, twin: str) -> None:
    layer = registry.document(repository, twin)["layers"][0]["digest"]
    with registry.client() as client:
        client.delete(f"{repository}/blobs/{layer}").raise_for_status()


def a_config_that_is_not_the_layers(registry: Registry, repository: str, twin: str) -> None:
    document = registry.document(repository, twin)
    document["layers"] *= 2
    registry.push_manifest(repository, json.dumps(document).encode(), selector=CACHE_TAG)


@pytest.mark.parametrize(
    "place",
    [
        rubbish,
        an_index_of_nothing,
        a_gzip_image,
        a_deleted_manifest,
        a_deleted_layer,
        a_config_that_is_not_the_layers,
    ],
)
def test_whatever_the_moving_tag_points_at_the_outcome_is_right(
    run: Run,
    registry: Registry,
    repository: str,
    push: Push,
    place: Callable[[Registry, str, str], None],
) -> None:
    known = run(push(image_of("one"))).succeeded()
    place(registry, repository, known.results["IMAGE_DIGEST"])
    changed = image_of("one", "two")
    outcome = run(push(changed)).succeeded()
    twin = assert_twin(registry, repository, changed.digest, outcome.results)
    assert registry.document(repository, CACHE_TAG) == twin


def test_layers_of_another_repository_are_mounted(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    known = image_of("one", "two")
    first = run(push(known)).succeeded()
    other = f"{repository}-other"
    changed = image_of("one", "two", "three")
    registry.push(other, changed)
    image = f"{registry.host}/{other}@{changed.digest}"
    outcome = run(image, "--reuse-from", first.results["IMAGE_REF"]).succeeded()
    assert actions(outcome) == ["reused", "reused", "compressed"]
    assert outcome.report["layers"][0]["reused_from"] == first.results["IMAGE_REF"]
    assert_twin(registry, other, changed.digest, outcome.results)


def test_images_to_reuse_from_may_follow_the_image_as_the_array_of_a_task_does(
    registry: Registry, repository: str, run: Run, push: Push, tmp_path: Path
) -> None:
    one, two = (run(push(image_of(name))).succeeded().results["IMAGE_REF"] for name in ("one", "two"))
    other = f"{repository}-other"
    both = registry.push(other, image_of("one", "two"))
    arguments = ("run", "--no-tls-verify", "--output=json", "--", f"{registry.host}/{other}@{both}", one, two)
    assert actions(recompress(*arguments).succeeded()) == ["reused", "reused"]


def test_of_an_index_the_zstd_chunked_entry_of_the_platform_is_reused(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    known = image_of("one")
    first = run(push(known)).succeeded()
    foreign = images.gzip_image({"one": b"for another platform"}, architecture="arm64")
    registry.push(repository, foreign)
    platforms = {"linux/amd64": known.manifest, "linux/arm64": foreign.manifest}
    platforms["linux/amd64 "] = registry.manifest(repository, first.results["IMAGE_DIGEST"])
    entries = [
        images.descriptor(
            MediaType.OCI_MANIFEST, manifest, platform={"os": "linux", "architecture": name.strip()[6:]}
        )
        for name, manifest in platforms.items()
    ]
    index = registry.push_manifest(repository, images.index(entries))
    other = f"{repository}-other"
    digest = registry.push(other, image_of("one", "two"))
    image = f"{registry.host}/{other}@{digest}"
    outcome = run(image, f"--reuse-from={registry.host}/{repository}@{index}").succeeded()
    assert actions(outcome) == ["reused", "compressed"]


def test_another_registry_is_no_place_to_reuse_from_and_that_is_said(run: Run, push: Push) -> None:
    reference = push(image_of("one"))
    outcome = run(reference, "--reuse-from=quay.io/org/app:1").succeeded()
    assert outcome.report["warnings"] == [
        "no layers are reused from quay.io/org/app:1: it is in another registry"
    ]


def test_an_image_to_reuse_from_that_is_not_there_is_said(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    reference = push(image_of("one"))
    outcome = run(reference, f"--reuse-from={registry.host}/{repository}:none").succeeded()
    (warning,) = outcome.report["warnings"]
    assert "no reuse: the registry does not have what was asked for" in warning


def test_a_cache_of_an_unknown_schema_is_left_alone_with_a_warning(
    run: Run, push: Push, tmp_path: Path
) -> None:
    run(push(image_of("one"))).succeeded()
    # A skopeo of the future: what it makes of its own cache has a column more.
    program = tmp_path / "bin/skopeo"
    program.parent.mkdir()
    program.write_text(
        f"""#!/usr/bin/python3
import glob, os, sqlite3, subprocess, sys
status = subprocess.run([{shutil.which("skopeo")!r}, *sys.argv[1:]]).returncode
for cache in glob.glob(os.environ.get("XDG_DATA_HOME", "/nowhere") + "/containers/cache/*.sqlite"):
    if "--quiet" in sys.argv:
        sqlite3.connect(cache).execute("ALTER TABLE DigestCompressors ADD COLUMN more TEXT")
sys.exit(status)
"""
    )
    program.chmod(0o755)
    reference = push(image_of("one", "two"))
    outcome = run(reference, PATH=f"{program.parent}:/usr/bin:/usr/local/bin").succeeded()
    assert actions(outcome) == ["compressed", "compressed"]
    assert outcome.report["warnings"] == [
        "no layers are reused: skopeo's cache has an unexpected schema (table DigestCompressors)"
    ]


def test_two_runs_at_the_same_moment_in_one_repository_are_both_right(
    registry: Registry, repository: str, push: Push
) -> None:
    pushed = [image_of("shared", f"own {number}") for number in range(2)]
    references = [push(image) for image in pushed]
    with ThreadPoolExecutor() as pool:
        outcomes = list(
            pool.map(lambda image: recompress("run", image, "--no-tls-verify", "--output=json"), references)
        )
    twins = [outcome.succeeded().report["results"] for outcome in outcomes]
    for image, results in zip(pushed, twins, strict=True):
        assert_twin(registry, repository, image.digest, results)
    moved = str(Digest.of(registry.manifest(repository, CACHE_TAG)))
    assert moved in {results["IMAGE_DIGEST"] for results in twins}


def test_a_moving_tag_that_cannot_be_moved_fails_nothing(
    run: Run, proxy: Proxy, repository: str, push: Push
) -> None:
    image = image_of("one")
    push(image)
    refusal = Answer(400, b'{"errors":[{"code":"TAG_INVALID","message":"tag is immutable"}]}')
    proxy.always(refusal, "PUT", f"/manifests/{CACHE_TAG}")
    outcome = run(f"{proxy.host}/{repository}@{image.digest}").succeeded()
    assert any(CACHE_TAG in warning for warning in outcome.report["warnings"])
    assert outcome.results


def test_the_moving_tag_names_the_variant(run: Run, registry: Registry, repository: str) -> None:
    config = json.loads(image_of("one").config) | {"architecture": "arm", "variant": "v7"}
    handmade = image_of("one")
    content = json.dumps(config).encode()
    manifest = json.loads(handmade.manifest) | {"config": images.descriptor(MediaType.OCI_CONFIG, content)}
    image = HandmadeImage(json.dumps(manifest).encode(), content, handmade.layers)
    run(f"{registry.host}/{repository}@{registry.push(repository, image)}").succeeded()
    assert "zstd-chunked-cache-linux-arm-v7" in registry.tags(repository)


def test_a_destination_in_another_registry_has_a_cache_of_its_own(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    reference = push(image_of("one"))
    with running() as elsewhere:
        to = f"{elsewhere.host}/elsewhere/app"
        assert actions(run(reference, "--to", to).succeeded()) == ["compressed"]
        assert actions(run(reference, "--to", to).succeeded()) == ["reused"]
        assert CACHE_TAG in elsewhere.tags("elsewhere/app")
    assert registry.tags(repository) == []


def test_a_layer_that_is_far_larger_than_the_sources_is_not_reused(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    # Two million bytes that stand for a diff_id whose gzip layer has a hundred.
    image = images.gzip_image({"a": b"a"})
    reference = push(image)
    first = run(reference).succeeded().results["IMAGE_DIGEST"]
    document = registry.document(repository, first)
    large = bytes(2_000_000)
    registry.push_blob(repository, large)
    document["layers"][0] |= {"digest": str(Digest.of(large)), "size": len(large)}
    registry.push_manifest(
        repository, json.dumps(document).encode(), selector="zstd-chunked-cache-linux-amd64"
    )
    with registry.client() as client:
        client.delete(f"{repository}/manifests/{first}").raise_for_status()
    again = run(reference).succeeded()
    assert [layer["action"] for layer in again.report["layers"]] == ["compressed"]
    assert any("far more than the source's" in warning for warning in again.report["warnings"])
