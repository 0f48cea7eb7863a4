"""`recompress index --twins`, for those without a pipeline, and `recompress verify` of what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from recompress.manifest import INDEX_ZSTD_ANNOTATION, MediaType
from recompress.reference import Digest
from tests import images
from tests.images import HandmadeImage
from tests.integration.command import Outcome, recompress
from tests.integration.conftest import Run
from tests.integration.registries import Registry

Push = Callable[[HandmadeImage], str]
Twins = Callable[..., Outcome]
AMD64 = images.gzip_image({"a": b"amd64"}, {"b": b"b"})
ARM64 = images.gzip_image({"a": b"arm64"}, architecture="arm64")
DOCKER = [
    images.gzip_image({"a": name.encode()}, architecture=name, docker=True) for name in ("amd64", "arm64")
]
DATA = Path(__file__).parents[1] / "data/sbom"
ENCRYPTED = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"


def impossible() -> HandmadeImage:
    config = images.config([str(Digest.of(b"stream"))], "arm64")
    layer = images.descriptor(ENCRYPTED, b"secret")
    return HandmadeImage(images.manifest(config, [layer]), config, (b"secret",))


@pytest.fixture
def push_index(registry: Registry, repository: str) -> Callable[..., str]:
    """Pushes images and an index of them, with more entries if there are any; returns its reference."""

    def call(*members: HandmadeImage, more: Sequence[dict[str, Any]] = (), **fields: Any) -> str:
        entries = []
        for image in members:
            registry.push(repository, image)
            platform = {"os": "linux", "architecture": json.loads(image.config)["architecture"]}
            media_type = json.loads(image.manifest)["mediaType"]
            entries.append(images.descriptor(media_type, image.manifest, platform=platform))
        digest = registry.push_manifest(repository, images.index([*entries, *more], **fields))
        return f"{registry.host}/{repository}@{digest}"

    return call


@pytest.fixture
def twins(registry: Registry, repository: str) -> Twins:
    """`recompress index --twins --to repository:1.0` with a JSON report."""

    def call(*arguments: str) -> Outcome:
        fixed = (f"--to={registry.host}/{repository}:1.0", "--no-tls-verify", "--output=json", "--jobs=1")
        return recompress("index", "--twins", *fixed, *arguments)

    return call


@pytest.fixture
def verified(registry: Registry, repository: str) -> Callable[[], Outcome]:
    """`recompress verify` of the index."""

    def call() -> Outcome:
        return recompress(
            "verify", f"{registry.host}/{repository}:1.0", "--no-tls-verify", "--output=json", "--jobs=1"
        )

    return call


def attach_sbom(registry: Registry, repository: str, image: HandmadeImage) -> None:
    """Attach an SBOM to an image as `cosign attach sbom` does."""
    sbom = (DATA / "syft.spdx.json").read_bytes().replace(b"a" * 64, image.digest.hex.encode())
    registry.push_blob(repository, b"{}")
    registry.push_blob(repository, sbom)
    attached = images.manifest(b"{}", [images.descriptor("text/spdx+json", sbom)])
    registry.push_manifest(repository, attached, selector=f"sha256-{image.digest.hex}.sbom")


def outcomes(outcome: Outcome) -> dict[str, str]:
    return {twin["platform"]: twin["outcome"] for twin in outcome.report["twins"]}


def entries(registry: Registry, repository: str) -> list[tuple[str, str, bool]]:
    """Platform, digest and whether it is marked as zstd, of each entry of the index."""
    return [
        (
            entry["platform"]["architecture"],
            entry["digest"],
            INDEX_ZSTD_ANNOTATION in entry.get("annotations", {}),
        )
        for entry in registry.document(repository, "1.0")["manifests"]
    ]


def test_the_twins_of_an_index_are_made_and_all_of_them_are_proven(
    twins: Twins,
    verified: Callable[[], Outcome],
    push_index: Callable[..., str],
    registry: Registry,
    repository: str,
) -> None:
    outcome = twins(push_index(AMD64, ARM64, annotations={"a": "b"})).succeeded()
    assert outcomes(outcome) == {"linux/amd64": "made", "linux/arm64": "made"}
    made = {twin["source_digest"]: twin["twin_digest"] for twin in outcome.report["twins"]}
    assert entries(registry, repository) == [
        ("amd64", str(AMD64.digest), False),
        ("arm64", str(ARM64.digest), False),
        ("amd64", made[str(AMD64.digest)], True),
        ("arm64", made[str(ARM64.digest)], True),
    ]
    assert registry.document(repository, "1.0")["annotations"] == {"a": "b"}
    for image in (AMD64, ARM64):
        assert f"sha256-{image.digest.hex}.zstd-chunked" in registry.tags(repository)
    report = verified().succeeded().report
    assert [twin["result"].partition("@")[2] for twin in report["twins"]] == list(made.values())
    assert report["warnings"] == []


def test_a_second_run_finds_the_twins_and_makes_the_same_index_also_of_that_index(
    twins: Twins, push_index: Callable[..., str], registry: Registry, repository: str
) -> None:
    source = push_index(AMD64, ARM64)
    first = twins(source).succeeded().report
    for again in (source, first["reference"].replace(":1.0@", "@")):
        second = twins(again).succeeded()
        assert outcomes(second) == {"linux/amd64": "found", "linux/arm64": "found"}
        assert second.report["reference"] == first["reference"]


def test_an_image_for_two_variants_has_one_twin_for_both_and_keeps_what_is_said_of_it(
    twins: Twins, registry: Registry, repository: str
) -> None:
    arm = images.gzip_image({"a": b"arm"}, architecture="arm")
    registry.push(repository, arm)
    platforms = [{"os": "linux", "architecture": "arm", "variant": variant} for variant in ("v6", "v7")]
    listed = [images.descriptor(MediaType.OCI_MANIFEST, arm.manifest, platform=each) for each in platforms]
    source = registry.push_manifest(repository, images.index(listed))
    first = twins(f"{registry.host}/{repository}@{source}").succeeded().report
    document = registry.document(repository, first["reference"].partition("@")[2])
    assert [entry["platform"] for entry in document["manifests"]] == platforms * 2
    for entry in document["manifests"]:
        entry.setdefault("annotations", {})["example.key"] = entry["platform"]["variant"]
    again = registry.push_manifest(repository, json.dumps(document).encode())
    outcome = twins(f"{registry.host}/{repository}@{again}").succeeded()
    assert [twin["outcome"] for twin in outcome.report["twins"]] == ["found"]
    assert "left out" not in outcome.err
    assert registry.document(repository, "1.0")["manifests"] == document["manifests"]


def test_a_docker_manifest_list_becomes_an_oci_index(
    twins: Twins,
    verified: Callable[[], Outcome],
    push_index: Callable[..., str],
    registry: Registry,
    repository: str,
) -> None:
    outcome = twins(push_index(*DOCKER, media_type=MediaType.DOCKER_INDEX)).succeeded()
    assert outcomes(outcome) == {"linux/amd64": "made", "linux/arm64": "made"}
    document = registry.document(repository, "1.0")
    assert document["mediaType"] == MediaType.OCI_INDEX
    assert {entry["mediaType"] for entry in document["manifests"]} == {MediaType.OCI_MANIFEST}
    for image, entry in zip(DOCKER, document["manifests"], strict=False):
        oci = registry.document(repository, entry["digest"])
        assert oci["config"]["digest"] == str(Digest.of(image.config))
        assert f"sha256-{image.digest.hex}.oci" in registry.tags(repository)
    assert len(verified().succeeded().report["twins"]) == 2


def test_the_index_of_a_single_image_has_two_entries(
    twins: Twins, verified: Callable[[], Outcome], push: Push, registry: Registry, repository: str
) -> None:
    for image in (AMD64, DOCKER[0]):
        outcome = twins(push(image)).succeeded()
        assert outcomes(outcome) == {"linux/amd64": "made"}
        assert [(name, marked) for name, _, marked in entries(registry, repository)] == [
            ("amd64", False),
            ("amd64", True),
        ]
        verified().succeeded()


def test_it_ends_where_one_platform_fails_keeps_what_is_done_and_goes_on_from_there(
    twins: Twins, push_index: Callable[..., str], registry: Registry, repository: str
) -> None:
    source = push_index(AMD64, impossible())
    twins(source).failed(5, "1 of 2 images done, failed at linux/arm64: ", "cannot be recompressed")
    tags = registry.tags(repository)
    assert f"sha256-{AMD64.digest.hex}.zstd-chunked" in tags
    assert "1.0" not in tags
    outcome = twins(source, "--if-impossible=keep").succeeded()
    assert outcomes(outcome) == {"linux/amd64": "found", "linux/arm64": "impossible"}
    assert ENCRYPTED in outcome.report["twins"][1]["why_kept"]
    assert [(name, marked) for name, _, marked in entries(registry, repository)] == [
        ("amd64", False),
        ("arm64", False),
        ("amd64", True),
    ]


def test_a_twin_that_verify_refuses_counts_as_missing(
    run: Run,
    twins: Twins,
    verified: Callable[[], Outcome],
    push: Push,
    push_index: Callable[..., str],
    registry: Registry,
    repository: str,
) -> None:
    right = run(push(AMD64)).succeeded().results["IMAGE_DIGEST"]
    # The layers of another image, with the config of this one.
    other = images.gzip_image({"a": b"other"}, {"b": b"b"})
    wrong = registry.document(repository, run(push(other)).succeeded().results["IMAGE_DIGEST"])
    wrong["config"] = registry.document(repository, right)["config"]
    content = json.dumps(wrong).encode()
    registry.push_manifest(repository, content, selector=f"sha256-{AMD64.digest.hex}.zstd-chunked")
    platform = {"os": "linux", "architecture": "amd64"}
    entry = images.descriptor(
        MediaType.OCI_MANIFEST, content, platform=platform, annotations={INDEX_ZSTD_ANNOTATION: "true"}
    )
    for source in (push_index(AMD64), push_index(AMD64, more=[entry])):
        registry.push_manifest(repository, content, selector=f"sha256-{AMD64.digest.hex}.zstd-chunked")
        outcome = twins(source).succeeded()
        assert outcomes(outcome) == {"linux/amd64": "made"}
        assert f"{Digest.of(content)} is not the zstd:chunked twin of" in outcome.err
        assert entries(registry, repository)[1:] == [("amd64", right, True)]
        assert (
            str(Digest.of(registry.manifest(repository, f"sha256-{AMD64.digest.hex}.zstd-chunked"))) == right
        )
    registry.push_manifest(
        repository,
        images.index([images.descriptor(MediaType.OCI_MANIFEST, AMD64.manifest, platform=platform), entry]),
        selector="1.0",
    )
    wrong_index = verified()
    assert wrong_index.code == 6
    assert "linux/amd64: " in wrong_index.error
    assert wrong_index.report["outcome"] == "failed"


def test_an_image_that_hosts_boot_from_is_warned_of(run: Run, push: Push) -> None:
    settings = {"Labels": {"ostree.bootable": "true"}}
    config = images.config([str(Digest.of(images.tar({"a": b"boot"})))], settings=settings)
    (layer,) = images.gzip_image({"a": b"boot"}).layers
    manifest = images.manifest(config, [images.descriptor(MediaType.OCI_LAYER_GZIP, layer)])
    report = run(push(HandmadeImage(manifest, config, (layer,)))).succeeded().report
    assert [warning for warning in report["warnings"] if "label ostree.bootable: bootc" in warning]


def test_the_twins_that_are_made_get_their_sboms_and_so_does_the_index(
    twins: Twins, push_index: Callable[..., str], registry: Registry, repository: str
) -> None:
    source = push_index(AMD64, DOCKER[1])
    for image in (AMD64, DOCKER[1]):
        attach_sbom(registry, repository, image)
    report = twins(source).succeeded().report
    made = [*(entry["digest"] for entry in report["manifests"]), report["reference"].partition("@")[2]]

    expected = {f"{digest.replace(':', '-')}.sbom" for digest in made}
    assert expected <= set(registry.tags(repository))
    twins(source, "--sbom=require").succeeded()
    lacking = push_index(ARM64)
    twins(lacking, "--sbom=require").failed(5, "linux/arm64", "SBOM")


def test_twins_that_are_found_get_their_sboms_as_those_that_are_made(
    twins: Twins, push_index: Callable[..., str], registry: Registry, repository: str
) -> None:
    source = push_index(AMD64, DOCKER[1])
    made = twins(source, "--sbom=none").succeeded().report["manifests"]
    expected = {f"{entry['digest'].replace(':', '-')}.sbom" for entry in made}
    twins(source, "--sbom=require").failed(5, "linux/amd64: ", "has no SBOM")
    for image in (AMD64, DOCKER[1]):
        attach_sbom(registry, repository, image)
    twins(source, "--sbom=none").succeeded()
    assert not expected - {f"sha256-{AMD64.digest.hex}.sbom"} & set(registry.tags(repository))
    outcome = twins(source, "--sbom=require").succeeded()
    assert set(outcomes(outcome).values()) == {"found"}
    assert expected <= set(registry.tags(repository))
    before = {tag: registry.manifest(repository, tag) for tag in expected}
    twins(source).succeeded()
    assert {tag: registry.manifest(repository, tag) for tag in expected} == before


def test_a_twin_that_the_index_has_already_gets_its_sbom(
    twins: Twins, push_index: Callable[..., str], registry: Registry, repository: str
) -> None:
    report = twins(push_index(AMD64), "--sbom=none").succeeded().report
    attach_sbom(registry, repository, AMD64)
    outcome = twins(report["reference"].replace(":1.0@", "@"), "--sbom=require").succeeded()
    assert outcomes(outcome) == {"linux/amd64": "found"}
    assert f"{report['twins'][0]['twin_digest'].replace(':', '-')}.sbom" in registry.tags(repository)


@pytest.mark.parametrize(
    ("image", "why"),
    [("{host}/other@sha256:" + "0" * 64, "is not in"), ("{host}/{repository}:1.0", "has no digest")],
)
def test_what_cannot_be_in_the_index_is_seen_before_any_work(
    twins: Twins, registry: Registry, repository: str, image: str, why: str
) -> None:
    twins(image.format(host=registry.host, repository=repository)).failed(2, why)


def test_an_index_that_has_no_twin_is_exit_5(
    verified: Callable[[], Outcome], push_index: Callable[..., str], registry: Registry, repository: str
) -> None:
    push_index(AMD64, ARM64)
    content = registry.manifest(repository, push_index(AMD64, ARM64).partition("@")[2])
    registry.push_manifest(repository, content, selector="1.0")
    verified().failed(5, "has no twin", "index --twins")
