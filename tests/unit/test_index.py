"""The index: which entries, in which order, with which words, and what it refuses before it pushes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from recompress.errors import NotFound, Refused, Unsupported, UsageError
from recompress.index import assemble
from recompress.manifest import INDEX_ZSTD_ANNOTATION, MediaType
from recompress.reference import Digest, Reference
from recompress.report import IndexReport
from tests import images
from tests.fake_registry import FakeRegistry, error_answer
from tests.http_server import Answer, Request
from tests.writable_registry import WritableRegistry, writable_registry

ZSTD = {INDEX_ZSTD_ANNOTATION: "true"}
LINUX_ARM64 = {"os": "linux", "architecture": "arm64"}


class Registry(FakeRegistry):
    """A repository whose manifests can also be pushed, with short ways to put images into it."""

    def handle(self, request: Request) -> Answer:
        if request.method != "PUT":
            return super().handle(request)
        selector = request.path.rpartition("/")[2]
        self.manifests[selector] = request.headers["content-type"], request.body
        return Answer(201)

    def image(self, kind: str = "gzip", architecture: str = "amd64", **platform: Any) -> str:
        """An image of one layer; the twin of a gzip image has the same config."""
        stream = images.tar({"file": architecture.encode()})
        config = images.config([str(Digest.of(stream))], architecture, **platform)
        layers = {
            "gzip": (MediaType.OCI_LAYER_GZIP, gzip.compress(stream, mtime=0), {}),
            "zstd": (MediaType.OCI_LAYER_ZSTD, b"plain " + stream, {}),
            "zstd:chunked": (MediaType.OCI_LAYER_ZSTD, b"chunked " + stream, images.chunked_annotations()),
        }
        media_type, content, annotations = layers[kind]
        layer = images.descriptor(media_type, content, annotations=annotations)
        self.blobs[str(Digest.of(config))] = config
        return str(self.add_manifest(images.manifest(config, [layer])))

    def ref(self, digest: str) -> Reference:
        return self.reference(Digest.parse(digest))

    def assemble(self, *digests: str, is_task: bool = True, has_sbom: bool = False) -> IndexReport:
        with self.client() as client:
            to = Reference(self.repository, "1.0")
            return assemble(client, to, tuple(map(self.ref, digests)), is_task=is_task, has_sbom=has_sbom)

    def entries(self) -> list[dict[str, Any]]:
        """The entries of the index as it was tagged."""
        media_type, content = self.manifests["1.0"]
        document = json.loads(content)
        assert media_type == document["mediaType"] == MediaType.OCI_INDEX
        assert document["schemaVersion"] == 2
        entries = document["manifests"]
        assert isinstance(entries, list)
        return entries

    def order(self) -> list[str]:
        return [entry["digest"] for entry in self.entries()]

    def pushed(self) -> list[Request]:
        return self.server.asked("PUT")

    def member(self, digest: str, **more: Any) -> dict[str, Any]:
        """An entry of an index that is there already."""
        media_type, content = self.manifests[digest]
        return images.descriptor(media_type, content, **more)

    def index(self, entries: Sequence[dict[str, Any]], **more: Any) -> str:
        return str(self.add_manifest(images.index(entries, **more)))


@pytest.fixture
def registry() -> Iterator[Registry]:
    registry = Registry()
    with registry.server:
        yield registry


@contextmanager
def nothing_pushed(registry: Registry, error: type[Exception], *parts: str) -> Iterator[None]:
    with pytest.raises(error) as caught:
        yield
    assert all(part in str(caught.value) for part in parts), caught.value
    assert registry.pushed() == []


def test_gzip_comes_first_and_both_halves_have_one_order_of_platforms(registry: Registry) -> None:
    gz = [registry.image("gzip", arch) for arch in ("s390x", "amd64", "arm64")]
    zst = [registry.image("zstd:chunked", arch) for arch in ("s390x", "amd64", "arm64")]
    registry.assemble(zst[1], gz[0], zst[2], gz[1], zst[0], gz[2])
    assert registry.order() == [gz[1], gz[0], gz[2], zst[1], zst[0], zst[2]]


def test_only_zstd_entries_have_the_annotation(registry: Registry) -> None:
    gz, plain = registry.image("gzip"), registry.image("zstd", "arm64")
    chunked = registry.image("zstd:chunked")
    lying = registry.index(
        [registry.member(gz, annotations=ZSTD, platform={"os": "linux", "architecture": "amd64"})]
    )
    registry.assemble(lying, plain, chunked)
    assert {e["digest"]: e.get("annotations") for e in registry.entries()} == {
        gz: None,
        plain: ZSTD,
        chunked: ZSTD,
    }


def test_the_platform_is_that_of_the_config_and_has_only_what_the_config_has(registry: Registry) -> None:
    version: dict[str, Any] = {"os.version": "10.0.20348.2762", "os.features": ["win32k"]}
    windows = registry.image(os="windows", **version)
    arm = registry.image("gzip", "arm", variant="v7")
    registry.assemble(registry.index([registry.member(windows)]), arm)
    assert [entry["platform"] for entry in registry.entries()] == [
        {
            "architecture": "amd64",
            "os": "windows",
            "os.version": "10.0.20348.2762",
            "os.features": ["win32k"],
        },
        {"architecture": "arm", "os": "linux", "variant": "v7"},
    ]


def test_two_versions_of_windows_are_two_platforms(registry: Registry) -> None:
    versions: list[dict[str, Any]] = [{"os.version": "1"}, {"os.version": "2"}]
    old, new = (registry.image(os="windows", **version) for version in versions)
    registry.assemble(old, new)
    assert registry.order() == [old, new]


def test_an_entry_listed_for_another_platform_than_its_own_is_refused(registry: Registry) -> None:
    lying = registry.index([registry.member(registry.image("gzip", "amd64"), platform=LINUX_ARM64)])
    with nothing_pushed(registry, Unsupported, "listed for linux/arm64, but is for linux/amd64"):
        registry.assemble(lying)


def test_other_annotations_of_entries_are_kept(registry: Registry) -> None:
    gz = registry.image()
    first = registry.index([registry.member(gz, annotations={"a": "1", "z": "2"})])
    registry.assemble(first)
    assert registry.entries()[0]["annotations"] == {"a": "1", "z": "2"}


def test_duplicates_are_dropped_and_none_of_their_annotations(registry: Registry) -> None:
    gz, zst = registry.image(), registry.image("zstd:chunked")
    index = registry.index([registry.member(gz, annotations={"a": "1"}), registry.member(zst)])
    registry.assemble(gz, index, zst, gz)
    assert [(e["digest"], e.get("annotations")) for e in registry.entries()] == [
        (gz, {"a": "1"}),
        (zst, ZSTD),
    ]


def test_the_index_in_front_of_its_own_gzip_entries_is_flattened_to_them(registry: Registry) -> None:
    gz, zst = registry.image(), registry.image("zstd:chunked")
    registry.assemble(zst, gz)
    before = registry.manifests["1.0"]
    registry.assemble(str(Digest.of(before[1])))
    assert registry.manifests["1.0"] == before


def test_two_different_gzip_images_of_one_platform_are_refused(registry: Registry) -> None:
    one, other = registry.image(), registry.image(author="somebody else")
    with nothing_pushed(registry, Unsupported, one, other, "two different gzip images for linux/amd64"):
        registry.assemble(one, other)


def test_two_different_twins_of_one_platform_are_refused(registry: Registry) -> None:
    one, other = registry.image("zstd"), registry.image("zstd:chunked")
    with nothing_pushed(registry, Unsupported, one, other, "two different zstd images for linux/amd64"):
        registry.assemble(one, other)


def test_arm64_with_and_without_its_usual_variant_is_one_platform(registry: Registry) -> None:
    bare, v8 = registry.image("gzip", "arm64"), registry.image("gzip", "arm64", variant="v8")
    with nothing_pushed(registry, Unsupported, "two different gzip images"):
        registry.assemble(bare, v8)


@pytest.mark.parametrize("variant", ["v2", "v3"])
def test_amd64_of_another_level_is_a_platform_of_its_own(registry: Registry, variant: str) -> None:
    bare, more = registry.image(), registry.image(variant=variant)
    registry.assemble(bare, more)
    assert registry.order() == [bare, more]


def test_a_docker_v2s2_manifest_is_refused_by_name_with_what_to_do(registry: Registry) -> None:
    oci, docker = registry.image("zstd:chunked"), registry.add(images.gzip_image({"a": b""}, docker=True))
    with nothing_pushed(registry, Unsupported, str(docker), "Docker v2s2", "recompress run --oci-twin"):
        registry.assemble(oci, str(docker))


def test_of_a_docker_manifest_list_the_manifest_at_fault_is_named(registry: Registry) -> None:
    docker = registry.add(images.gzip_image({"a": b""}, docker=True))
    member = registry.member(str(docker))
    listed = registry.add_manifest(images.index([member], MediaType.DOCKER_INDEX))
    with nothing_pushed(registry, Unsupported, f"@{docker} is a Docker v2s2 manifest"):
        registry.assemble(str(listed))


def test_attestations_are_kept_behind_all_images_as_they_are(registry: Registry) -> None:
    gz, zst = registry.image(), registry.image("zstd:chunked")
    annotations = {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": gz,
    }
    about = images.descriptor(
        MediaType.OCI_MANIFEST,
        b"never read",
        annotations=annotations,
        platform={"os": "unknown", "architecture": "unknown"},
    )
    report = registry.assemble(registry.index([about, registry.member(gz)]), zst)
    assert registry.order() == [gz, zst, about["digest"]]
    assert registry.entries()[2] == about
    assert about["digest"] not in report.results["IMAGES"]


def test_an_attestation_loses_an_annotation_that_only_zstd_images_have(registry: Registry) -> None:
    kept = {"vnd.docker.reference.type": "attestation-manifest"}
    about = images.descriptor(MediaType.OCI_MANIFEST, b"never read", annotations=kept | ZSTD)
    registry.assemble(registry.index([about]), registry.image())
    assert registry.entries()[1]["annotations"] == kept


def test_an_image_without_layers_is_its_own_twin_and_listed_once(registry: Registry) -> None:
    empty = str(registry.add(images.gzip_image()))
    registry.assemble(empty, empty)
    assert registry.order() == [empty]
    assert "annotations" not in registry.entries()[0]


def test_an_image_with_one_zstd_layer_among_gzip_layers_is_a_zstd_entry(registry: Registry) -> None:
    config = images.config(["sha256:" + "1" * 64, "sha256:" + "2" * 64])
    registry.blobs[str(Digest.of(config))] = config
    layers = [
        images.descriptor(MediaType.OCI_LAYER_GZIP, b"1"),
        images.descriptor(MediaType.OCI_LAYER_ZSTD, b"2"),
    ]
    mixed, gz = str(registry.add_manifest(images.manifest(config, layers))), registry.image("gzip")
    registry.assemble(mixed, gz)
    assert registry.order() == [gz, mixed]
    assert registry.entries()[1]["annotations"] == ZSTD


def test_an_artifact_is_refused_by_name(registry: Registry) -> None:
    chart = images.manifest(b"{}", config_type="application/vnd.cncf.helm.config.v1+json")
    digest = registry.add_manifest(chart)
    with nothing_pushed(registry, Unsupported, str(digest), "artifact"):
        registry.assemble(registry.image(), str(digest))


def test_an_index_inside_an_index_is_refused_by_name(registry: Registry) -> None:
    inner = registry.index([registry.member(registry.image())])
    with nothing_pushed(registry, Unsupported, inner, "contains an index"):
        registry.assemble(registry.index([registry.member(inner)]))


def test_an_entry_that_is_not_there_pushes_nothing(registry: Registry) -> None:
    with nothing_pushed(registry, NotFound):
        registry.assemble(registry.image(), "sha256:" + "0" * 64)


def test_the_same_input_gives_the_same_digest(registry: Registry) -> None:
    given = registry.image(), registry.image("zstd:chunked"), registry.image("gzip", "arm64")
    one = registry.assemble(*given)
    other = registry.assemble(*given)
    assert one.reference == other.reference
    assert one.reference.digest == Digest.of(registry.manifests["1.0"][1])


def test_the_results_name_the_index_and_every_image_in_it_in_order(registry: Registry) -> None:
    zst, gz = registry.image("zstd:chunked"), registry.image()
    report = registry.assemble(zst, gz)
    assert report.results == {
        "IMAGE_URL": f"{registry.repository}:1.0",
        "IMAGE_DIGEST": str(Digest.of(registry.manifests["1.0"][1])),
        "IMAGE_REF": f"{registry.repository}@{Digest.of(registry.manifests['1.0'][1])}",
        "IMAGES": f"{registry.repository}@{gz},{registry.repository}@{zst}",
    }


def test_where_images_would_not_fit_into_a_task_s_4096_bytes_it_alone_is_left_out_with_a_warning(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    report = registry.assemble(*(registry.image("gzip", f"arch{number}") for number in range(45)))
    assert report.results == {
        "IMAGE_URL": f"{registry.repository}:1.0",
        "IMAGE_DIGEST": str(report.reference.digest),
        "IMAGE_REF": f"{registry.repository}@{report.reference.digest}",
    }
    assert len(registry.order()) == 45
    (warning,) = caplog.messages
    assert warning.startswith("the result IMAGES is left out: with its 45 images")
    assert warning.endswith("signs the index here, and each image only in the TaskRun that pushed it")


def test_thirty_images_fit_into_a_task_s_results(registry: Registry) -> None:
    report = registry.assemble(*(registry.image("gzip", f"arch{number}") for number in range(30)))
    assert len(json.dumps(report.results)) < 4096
    assert report.results["IMAGES"].count("@") == 30
    assert len(registry.order()) == 30


def test_outside_a_task_the_results_have_no_bound(registry: Registry) -> None:
    images = (registry.image("gzip", f"arch{number}") for number in range(45))
    report = registry.assemble(*images, is_task=False)
    assert report.results["IMAGES"].count("@") == len(registry.order()) == 45


def test_a_twin_without_its_gzip_image_is_warned_of(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.assemble(registry.image("gzip", "arm64"), registry.image("zstd:chunked", "s390x"))
    assert caplog.messages == ["there is no gzip image for linux/s390x: Docker before 23 cannot pull it"]


def test_a_twin_that_hosts_boot_from_is_warned_of_and_a_gzip_image_is_not(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    more: dict[str, Any] = {"settings": {"Labels": {"containers.bootc": "1"}}}
    gz, zst = registry.image("gzip", **more), registry.image("zstd:chunked", **more)
    registry.assemble(gz, zst)
    (message,) = caplog.messages
    assert message.startswith(
        f"{registry.ref(zst)} has the label containers.bootc: bootc and rpm-ostree from "
    )


@pytest.mark.parametrize("to", ["localhost:1/app", "localhost:1/app:1@sha256:" + "0" * 64])
def test_the_index_needs_a_tag_and_takes_no_digest(registry: Registry, to: str) -> None:
    with nothing_pushed(registry, UsageError, to, "name the index by a tag"), registry.client() as client:
        assemble(client, Reference.parse(to), (), is_task=True, has_sbom=False)


def test_an_image_without_a_digest_is_refused(registry: Registry) -> None:
    to = Reference(registry.repository, "1.0")
    image = Reference(registry.repository, "latest")
    with nothing_pushed(registry, UsageError, "has no digest"), registry.client() as client:
        assemble(client, to, (image,), is_task=True, has_sbom=False)


def test_an_image_of_another_repository_is_refused(registry: Registry) -> None:
    to = Reference(registry.repository, "1.0")
    other = Reference.parse("localhost:1/other@sha256:" + "0" * 64)
    with nothing_pushed(registry, UsageError, "localhost:1/other@", "copy it there first"):
        with registry.client() as client:
            assemble(client, to, (other,), is_task=True, has_sbom=False)


def test_the_index_is_there_by_its_digest_before_the_tag_moves(registry: Registry) -> None:
    digest = registry.assemble(registry.image()).reference.digest
    assert [r.path.rpartition("/")[2] for r in registry.pushed()] == [str(digest), "1.0"]


ARM_V6 = {"os": "linux", "architecture": "arm", "variant": "v6"}
ARM_V7 = {"os": "linux", "architecture": "arm", "variant": "v7"}
SOCI = "application/vnd.amazon.soci.index.v2+json"


def listed(registry: Registry) -> list[tuple[str, dict[str, Any]]]:
    return [(entry["digest"], entry["platform"]) for entry in registry.entries()]


def test_a_variant_that_only_the_index_has_is_kept_and_a_twin_takes_it_by_its_config(
    registry: Registry,
) -> None:
    v6, v7 = registry.image("gzip", "arm", author="v6"), registry.image("gzip", "arm", author="v7")
    zst6, zst7 = (registry.image("zstd:chunked", "arm", author=author) for author in ("v6", "v7"))
    index = registry.index([registry.member(v6, platform=ARM_V6), registry.member(v7, platform=ARM_V7)])
    registry.assemble(zst6, zst7, index)
    assert listed(registry) == [(v6, ARM_V6), (v7, ARM_V7), (zst6, ARM_V6), (zst7, ARM_V7)]


def test_the_version_and_features_that_only_the_index_has_are_kept(registry: Registry) -> None:
    platform = {
        "architecture": "amd64",
        "os": "windows",
        "os.version": "10.0.20348.2762",
        "os.features": ["win32k"],
    }
    windows = registry.image(os="windows")
    registry.assemble(registry.index([registry.member(windows, platform=platform)]))
    assert listed(registry) == [(windows, platform)]


def test_a_manifest_that_is_listed_for_two_platforms_stays_so_and_so_does_its_twin(
    registry: Registry,
) -> None:
    gz, zst = registry.image("gzip", "arm"), registry.image("zstd:chunked", "arm")
    report = registry.assemble(
        registry.index([registry.member(gz, platform=ARM_V6), registry.member(gz, platform=ARM_V7)]), zst, gz
    )
    assert listed(registry) == [(gz, ARM_V6), (gz, ARM_V7), (zst, ARM_V6), (zst, ARM_V7)]
    assert report.results["IMAGES"] == f"{registry.repository}@{gz},{registry.repository}@{zst}"


def test_a_twin_that_an_index_lists_without_the_variant_takes_it_from_its_gzip_image(
    registry: Registry,
) -> None:
    gz, zst = registry.image("gzip", "arm"), registry.image("zstd:chunked", "arm")
    bare = {"os": "linux", "architecture": "arm"}
    registry.assemble(
        registry.index([registry.member(zst, platform=bare)]),
        registry.index([registry.member(gz, platform=ARM_V6)]),
    )
    assert listed(registry) == [(gz, ARM_V6), (zst, ARM_V6)]


def test_what_an_index_lists_stands_where_the_config_says_another_variant(registry: Registry) -> None:
    # Clients choose by the index: those that get this image today get it tomorrow.
    gz, zst = (registry.image(kind, "arm", variant="v7") for kind in ("gzip", "zstd:chunked"))
    registry.assemble(registry.index([registry.member(gz, platform=ARM_V6)]), zst)
    assert listed(registry) == [(gz, ARM_V6), (zst, ARM_V6)]


def artifact_entries(registry: Registry) -> dict[str, dict[str, Any]]:
    """Artifacts as tools put them into an index, all for a platform that images have, too."""
    empty = registry.index([])
    amd64 = {"os": "linux", "architecture": "amd64"}
    typed = images.manifest(b"{}", config_type="application/vnd.oci.empty.v1+json", artifactType=SOCI)
    by_config = images.manifest(b"{}", config_type="application/vnd.cncf.helm.config.v1+json")
    for content in (typed, by_config):
        registry.add_manifest(content)
    return {
        "as its entry says": images.descriptor(
            MediaType.OCI_MANIFEST, b"never read", artifactType=SOCI, platform=amd64
        ),
        "an index, as its entry says": registry.member(
            empty, artifactType="application/spdx", platform=amd64
        ),
        "by its manifest": images.descriptor(MediaType.OCI_MANIFEST, typed, platform=amd64),
        "by its config": images.descriptor(MediaType.OCI_MANIFEST, by_config, platform=amd64),
        "of another media type": images.descriptor(
            "application/vnd.oci.artifact.manifest.v1+json", b"never read", platform=amd64
        ),
        "without a platform": images.descriptor(
            "application/spdx+json", b"never read", urls=["https://elsewhere"], data="aGk="
        ),
    }


@pytest.mark.parametrize(
    "which",
    [
        "as its entry says",
        "an index, as its entry says",
        "by its manifest",
        "by its config",
        "of another media type",
        "without a platform",
    ],
)
def test_an_artifact_among_the_entries_stays_behind_the_images_as_it_is(
    registry: Registry, which: str, caplog: pytest.LogCaptureFixture
) -> None:
    gz, zst = registry.image(), registry.image("zstd:chunked")
    artifact = artifact_entries(registry)[which]
    artifact["annotations"] = {"com.amazon.soci.image-manifest-digest": gz}
    marked = {**artifact, "annotations": {**artifact["annotations"], **ZSTD}}
    report = registry.assemble(registry.index([marked, registry.member(gz)]), zst)
    assert registry.order() == [gz, zst, artifact["digest"]]
    assert registry.entries()[2] == artifact
    assert [entry.kind for entry in report.entries] == ["gzip", "zstd", "artifact"]
    assert artifact["digest"] not in report.results["IMAGES"]
    assert caplog.messages == []


def test_an_image_whose_entry_has_the_type_of_its_config_is_an_image(registry: Registry) -> None:
    # As registries write it in lists of referrers (distribution specification 1.1).
    gz = registry.image()
    member = registry.member(gz, artifactType=MediaType.OCI_CONFIG)
    registry.assemble(registry.index([member]))
    assert registry.entries() == [{**member, "platform": {"architecture": "amd64", "os": "linux"}}]


OF_AN_INDEX: dict[str, Any] = {
    "artifactType": "application/vnd.example+json",
    "subject": images.descriptor(MediaType.OCI_MANIFEST, b"what it refers to", annotations={"a": "b"}),
    "annotations": {"org.opencontainers.image.version": "1.0", "a": "ü"},
}


def test_what_a_single_source_index_says_of_itself_is_kept(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    gz, zst = registry.image(), registry.image("zstd:chunked")
    index = registry.index([registry.member(gz)], **OF_AN_INDEX)
    registry.assemble(index, zst, index)
    document = json.loads(registry.manifests["1.0"][1])
    assert {name: document[name] for name in OF_AN_INDEX} == OF_AN_INDEX
    registry.assemble(str(Digest.of(registry.manifests["1.0"][1])))
    assert json.loads(registry.manifests["1.0"][1]) == document
    assert caplog.messages == []


def test_what_several_indexes_say_of_themselves_is_not_kept_and_warned_of(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    one = registry.index([registry.member(registry.image())], **OF_AN_INDEX)
    other = registry.index([registry.member(registry.image("gzip", "arm64"))])
    registry.assemble(one, other)
    assert not OF_AN_INDEX.keys() & json.loads(registry.manifests["1.0"][1]).keys()
    (message,) = caplog.messages
    has = f"{registry.repository}@{one} has fields that the new index does not have"
    assert message == f"{has}: annotations, artifactType, subject"


def test_what_cannot_be_kept_of_an_index_and_its_entries_is_warned_of(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    gz = registry.image()
    platform = {"os": "linux", "architecture": "amd64", "features": ["sse4"]}
    member = registry.member(gz, platform=platform, urls=["https://elsewhere"], data="", other=1)
    index = registry.index([member], more={"a": 1})
    registry.assemble(index)
    has = f"{registry.repository}@{index} has fields that the new index does not have"
    of = f"(of {gz})"
    assert caplog.messages == [
        f"{has}: other {of}, platform.features {of}, urls {of}",
        f"{has}: more",
    ]


def test_an_image_that_is_listed_twice_keeps_the_first_value_of_an_annotation_and_that_is_told(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    gz = registry.image()
    members = [registry.member(gz, annotations={"a": a, "same": "1", a: a}) for a in ("1", "2")]
    registry.assemble(registry.index(members))
    assert registry.entries()[0]["annotations"] == {"1": "1", "2": "2", "a": "1", "same": "1"}
    (message,) = caplog.messages
    assert message.startswith(f"{gz} is listed twice")
    assert message.endswith(": a")


def test_an_artifact_that_is_listed_for_two_images_stays_so(registry: Registry) -> None:
    images_ = [registry.image(), registry.image("gzip", "arm64")]
    artifacts = [
        images.descriptor(
            MediaType.OCI_MANIFEST,
            b"never read",
            artifactType=SOCI,
            annotations={"com.amazon.soci.image-manifest-digest": digest},
        )
        for digest in images_
    ]
    registry.assemble(registry.index([*map(registry.member, images_), *artifacts, artifacts[0]]))
    assert registry.entries()[2:] == artifacts


# The SBOM of the index


@pytest.fixture
def writable() -> Iterator[WritableRegistry]:
    with writable_registry() as running:
        yield running


def assembled(writable: WritableRegistry, *contents: bytes, has_sbom: bool = True) -> IndexReport:
    with writable.client() as client:
        to = Reference(writable.repository, "1.0")
        references = tuple(writable.reference(writable.add_manifest(content)) for content in contents)
        return assemble(client, to, references, is_task=True, has_sbom=has_sbom)


@pytest.fixture
def pair(writable: WritableRegistry) -> tuple[bytes, bytes]:
    """A gzip image and its twin."""
    gzipped = images.gzip_image({"a": b"a"})
    writable.blobs |= gzipped.blobs()
    zstd = images.manifest(gzipped.config, [images.descriptor(MediaType.OCI_LAYER_ZSTD, b"zstd")])
    return gzipped.manifest, zstd


def test_the_sbom_of_an_index_lists_its_images_and_is_at_its_tag(
    writable: WritableRegistry, pair: tuple[bytes, bytes]
) -> None:
    report = assembled(writable, *pair)
    assert report.reference.digest
    document = json.loads(writable.sbom(report.reference.digest))
    assert document["spdxVersion"] == "SPDX-2.3"
    sums = {c["checksumValue"] for p in document["packages"] for c in p["checksums"]}
    assert sums == {report.reference.digest.hex, *(Digest.of(content).hex for content in pair)}
    blob = Digest.of(writable.sbom(report.reference.digest))
    assert report.results["SBOM_BLOB_URL"] == f"{writable.repository}@{blob}"
    assert str(report.sbom) == f"{writable.repository}:sha256-{report.reference.digest.hex}.sbom"


def test_the_tag_of_the_index_moves_when_its_sbom_is_there(
    writable: WritableRegistry, pair: tuple[bytes, bytes]
) -> None:
    refused = error_answer(403, "DENIED", "no")
    writable.in_the_way = lambda r: refused if r.method == "PUT" and r.path.endswith(".sbom") else None
    with pytest.raises(Refused):
        assembled(writable, *pair)
    assert "1.0" not in writable.manifests


def test_the_same_index_made_again_keeps_its_sbom(
    writable: WritableRegistry, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = assembled(writable, *pair)
    later = datetime.now(UTC) + timedelta(days=1)
    monkeypatch.setattr("recompress.index.datetime", SimpleNamespace(now=lambda _: later))
    assert assembled(writable, *pair) == first


def test_an_index_gets_no_sbom_where_none_is_wanted(
    writable: WritableRegistry, pair: tuple[bytes, bytes]
) -> None:
    report = assembled(writable, *pair, has_sbom=False)
    assert (report.sbom, report.results.get("SBOM_BLOB_URL")) == (None, None)
    assert not any(name.endswith(".sbom") for name in writable.manifests)
