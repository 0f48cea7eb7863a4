"""What `inspect` says of twins: whose they are, where that is, their SBOM, and whether the index has them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from recompress import whereabouts
from recompress.inspect import inspect
from recompress.inspect_report import InspectedImage, InspectReport
from recompress.manifest import MediaType
from recompress.reference import Digest, Reference
from recompress.showing import Output, show
from tests import images, schema
from tests.fake_registry import error_answer
from tests.http_server import Answer, Request
from tests.writable_registry import WritableRegistry

GZIP = images.gzip_image({"a": b"a"})
TAG = f"sha256-{GZIP.digest.hex}.zstd-chunked"
AMD64 = {"os": "linux", "architecture": "amd64"}


class Registry(WritableRegistry):
    """With a list of tags, and the gzip image."""

    def __init__(self) -> None:
        super().__init__()
        self.add(GZIP)

    def handle(self, request: Request) -> Answer:
        if request.path.endswith("/tags/list"):
            tags = sorted(name for name in self.manifests if not name.startswith("sha256:"))
            return Answer(200, json.dumps({"name": "app", "tags": tags}).encode())
        return super().handle(request)

    def add_twin(self, tag: str = TAG, blob: bytes = b"zstd", config: bytes = GZIP.config) -> Digest:
        """Push a manifest that may be the twin of the gzip image, under a tag."""
        layer = images.descriptor(MediaType.OCI_LAYER_ZSTD, blob, annotations=images.chunked_annotations())
        content = images.manifest(config, [layer])
        self.add_blob(config)
        self.add_manifest(content, selector=tag)
        return self.add_manifest(content)

    def add_index(self, *digests: Digest, tag: str = "1.0") -> Digest:
        """Push an index of these under a tag."""
        entries = [
            images.descriptor(MediaType.OCI_MANIFEST, self.manifests[str(d)][1], platform=AMD64)
            for d in digests
        ]
        content = images.index(entries)
        self.add_manifest(content, selector=tag)
        return self.add_manifest(content)

    def inspect(self, tag: str | None = None, digest: Digest | None = None) -> InspectReport:
        """Inspect, and compare the report with the schema."""
        with self.client() as client:
            report = inspect(client, Reference(self.repository, tag, digest))
        schema.check(json.loads(report.as_json()))
        return report


@pytest.fixture
def registry() -> Iterator[Registry]:
    running = Registry()
    with running.server:
        yield running


def only(report: InspectReport) -> InspectedImage:
    (image,) = report.images
    return image


def twin_of(image: InspectedImage, registry: Registry) -> dict[str, Any]:
    assert image.twin is None
    assert image.twin_of
    return image.twin_of.as_json(Reference(registry.repository))


def test_of_a_gzip_image_the_twin_under_its_tag_is_shown(registry: Registry) -> None:
    assert only(registry.inspect(digest=GZIP.digest)).twin is None
    twin = registry.add_twin()
    image = only(registry.inspect(digest=GZIP.digest))
    assert image.twin_of is None
    assert image.twin
    assert image.twin.as_json() == {"digest": str(twin), "in_index": None}


def test_a_tag_of_our_name_on_another_image_is_not_its_twin(registry: Registry) -> None:
    registry.add_twin(config=images.config([str(Digest.of(b"other"))]))
    assert only(registry.inspect(digest=GZIP.digest)).twin is None
    registry.add_manifest(GZIP.manifest, selector=TAG)
    assert only(registry.inspect(digest=GZIP.digest)).twin is None


@pytest.mark.parametrize("by_tag", [True, False])
def test_of_a_twin_the_source_is_shown_by_the_tag_or_looked_for_among_all_tags(
    registry: Registry, by_tag: bool
) -> None:
    registry.add_twin("sha256-" + "0" * 64 + ".zstd-chunked", b"another")
    twin = registry.add_twin()
    report = registry.inspect(TAG) if by_tag else registry.inspect(digest=twin)
    assert twin_of(only(report), registry) == {
        "source_digest": str(GZIP.digest),
        "source": f"{registry.repository}@{GZIP.digest}",
        "in_index": None,
        "sbom": None,
        "sbom_note": "",
    }


def test_a_source_that_is_in_another_repository_is_named_by_its_digest_alone(registry: Registry) -> None:
    twin = registry.add_twin()
    del registry.manifests[str(GZIP.digest)]
    found = twin_of(only(registry.inspect(digest=twin)), registry)
    assert (found["source_digest"], found["source"]) == (str(GZIP.digest), None)


def test_a_tag_that_names_an_image_with_another_config_names_no_source(registry: Registry) -> None:
    other = registry.add_twin(config=images.config([str(Digest.of(b"other"))]))
    for report in (registry.inspect(TAG), registry.inspect(digest=other)):
        assert twin_of(only(report), registry)["source_digest"] is None


def test_a_zstd_image_that_no_tag_names_has_no_source(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = registry.add_twin("1.0")
    report = registry.inspect("1.0")
    assert twin_of(only(report), registry)["source_digest"] is None
    show(report, Output.TEXT)
    assert f"{digest.short}  is zstd, and its source is not known\n" in capsys.readouterr().out


def test_not_more_than_so_many_tags_are_read(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(whereabouts, "_MOST_TAGS", 2)
    for number in range(3):
        registry.add_twin(f"sha256-{number}{'0' * 63}.zstd-chunked", b"another %d" % number)
    digest = registry.add_twin("1.0")
    assert twin_of(only(registry.inspect(digest=digest)), registry)["source_digest"] is None
    assert "only 2 of them are searched" in caplog.text
    read = [request.path for request in registry.server.asked("GET", "/manifests/sha256-")]
    assert len([path for path in read if path.endswith(".zstd-chunked")]) == 2


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_registry_that_refuses_what_is_not_there_or_the_list_of_tags_is_inspected(
    registry: Registry, status: int
) -> None:
    twin = registry.add_twin("1.0")
    refused = error_answer(status, "DENIED", "no")
    registry.in_the_way = lambda request: refused if "sha256-" in request.path else None
    assert only(registry.inspect(digest=GZIP.digest)).twin is None
    assert twin_of(only(registry.inspect(digest=twin)), registry)["source_digest"] is None


def test_in_an_index_twins_and_gzip_images_are_paired(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = registry.add_twin("unnamed")
    report = registry.inspect(digest=registry.add_index(GZIP.digest, twin))
    gzip, zstd = report.images
    assert gzip.twin
    assert gzip.twin.as_json() == {"digest": str(twin), "in_index": True}
    found = twin_of(zstd, registry)
    assert (found["source_digest"], found["in_index"]) == (str(GZIP.digest), True)
    show(report, Output.TEXT)
    out = capsys.readouterr().out
    assert f"{GZIP.digest.short}  has the twin {twin}; it is in the index\n" in out
    assert f"{twin.short}  is the twin of {registry.repository}@{GZIP.digest}; it is in the index\n" in out
    assert f"{twin.short}  SBOM: none\n" in out


def test_of_an_index_without_the_twin_it_is_shown_under_its_tag(registry: Registry) -> None:
    twin = registry.add_twin()
    image = only(registry.inspect(digest=registry.add_index(GZIP.digest)))
    assert image.twin
    assert image.twin.as_json() == {"digest": str(twin), "in_index": False}


@pytest.mark.parametrize("is_listed", [True, False])
def test_whether_the_index_at_the_tag_of_an_image_has_the_twin_is_shown(
    registry: Registry, is_listed: bool
) -> None:
    twin = registry.add_twin()
    registry.add_index(GZIP.digest, *([twin] if is_listed else []))
    gzip = only(registry.inspect("1.0", GZIP.digest))
    assert gzip.twin
    assert gzip.twin.is_in_index is is_listed
    assert twin_of(only(registry.inspect("1.0", twin)), registry)["in_index"] is is_listed


def test_the_sbom_of_a_twin_is_shown_at_its_tag_or_as_a_referrer(registry: Registry) -> None:
    twin = registry.add_twin()
    manifest = registry.refer(twin, b'{"spdxVersion": "SPDX-2.3"}')
    assert twin_of(only(registry.inspect(TAG)), registry)["sbom"] == f"{registry.repository}@{manifest}"
    registry.attach(twin, b'{"spdxVersion": "SPDX-2.3"}')
    at = f"{registry.repository}:sha256-{twin.hex}.sbom"
    assert twin_of(only(registry.inspect(TAG)), registry)["sbom"] == at


def test_why_an_sbom_cannot_be_used_is_shown(registry: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    twin = registry.add_twin()
    registry.add_manifest(b"{}", MediaType.OCI_MANIFEST, f"sha256-{twin.hex}.sbom")
    report = registry.inspect(TAG)
    assert twin_of(only(report), registry)["sbom_note"]
    show(report, Output.TEXT)
    assert "cannot be used" in capsys.readouterr().out
