"""The SBOM of a twin: how it is attached, that it is made once, and a source's that is wrong."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from recompress import __version__, plan, sbom
from recompress.errors import RecompressError, Refused, Unavailable, Unsupported
from recompress.image import Image
from recompress.manifest import MediaType
from recompress.reference import Digest
from recompress.results import Named, Results
from recompress.sbom import Policy
from recompress.sbom_report import SbomAction, SbomReport
from recompress.sbom_search import Found
from tests import images
from tests.fake_registry import error_answer
from tests.http_server import Answer, Request
from tests.small_sboms import cyclonedx, spdx
from tests.writable_registry import CYCLONEDX, SPDX, SPDX_ARTIFACT, WritableRegistry, writable_registry

GZIP = images.gzip_image({"a": b"a"})
ZSTD = images.manifest(GZIP.config, [images.descriptor(MediaType.OCI_LAYER_ZSTD, b"zstd")])
OCI = images.manifest(
    GZIP.config, [images.descriptor(MediaType.OCI_LAYER_GZIP, b"gzip")], annotations={"a": "b"}
)
TWIN, OCI_TWIN = Digest.of(ZSTD), Digest.of(OCI)
FALLBACK = f"sha256-{TWIN.hex}"
AT_TAG = f"sha256-{GZIP.digest.hex}.sbom"


SBOM = spdx("a", "b", digest=GZIP.digest)


def serving_images(registry: WritableRegistry) -> WritableRegistry:
    registry.add(GZIP)
    for content in (ZSTD, OCI):
        registry.add_manifest(content)
    return registry


@pytest.fixture(params=["with a referrers API", "without one"])
def registry(request: pytest.FixtureRequest) -> Iterator[WritableRegistry]:
    with writable_registry() as running:
        running.has_referrers_api = request.param == "with a referrers API"
        yield serving_images(running)


@pytest.fixture
def elsewhere() -> Iterator[WritableRegistry]:
    with writable_registry() as running:
        yield serving_images(running)


def find(
    registry: WritableRegistry, policy: Policy = Policy.AUTO, *pins: Digest
) -> tuple[Image, Found | None]:
    with registry.client() as client:
        reference = registry.reference(GZIP.digest)
        source = plan.resolve(client, reference, None)
        return source, sbom.find(policy, client, source, reference, pins)


def attach_found(
    registry: WritableRegistry,
    source: Image,
    found: Found | None,
    digest: Digest = TWIN,
    *,
    policy: Policy = Policy.AUTO,
    oci_twin: Digest | None = None,
    to: WritableRegistry | None = None,
    attempts: int = 1,
) -> SbomReport | None:
    assert found
    there = to or registry
    with registry.client() as source_client, there.client(attempts) as client:
        oci_image = Named(there.repository, None, oci_twin) if oci_twin else None
        named = Results(Named(there.repository, None, digest), oci_image)
        return sbom.attach(found, policy, source_client, client, source, named)


def attach(registry: WritableRegistry, digest: Digest = TWIN, **more: Any) -> SbomReport:
    source, found = find(registry)
    report = attach_found(registry, source, found, digest, **more)
    assert report
    return report


def pushed(registry: WritableRegistry) -> list[str]:
    """What was put or begun to be put."""
    return [request.path for request in registry.server.requests if request.method in ("PUT", "POST")]


# How it is attached


@pytest.mark.parametrize(("content", "kind", "packages"), [(SBOM, SPDX, 2), (cyclonedx("a"), CYCLONEDX, 1)])
def test_the_twins_sbom_is_attached_as_cosign_attaches_one(
    registry: WritableRegistry, content: bytes, kind: str, packages: int
) -> None:
    found = registry.attach(GZIP.digest, content, kind)
    report = attach(registry)
    derived = registry.sbom(TWIN)
    # What `cosign attach sbom` of cosign 3.1 pushes, byte for byte.
    config = (
        '{"architecture":"","created":"0001-01-01T00:00:00Z","history":[{"created":"0001-01-01T00:00:00Z"}],'
        f'"os":"","rootfs":{{"type":"layers","diff_ids":["{Digest.of(derived)}"]}},"config":{{}}}}'
    ).encode()
    assert registry.manifests[f"{FALLBACK}.sbom"] == (
        MediaType.OCI_MANIFEST,
        (
            f'{{"schemaVersion":2,"mediaType":"{MediaType.OCI_MANIFEST}","config":{{"mediaType":'
            f'"{MediaType.OCI_CONFIG}","size":{len(config)},"digest":"{Digest.of(config)}"}},"layers":'
            f'[{{"mediaType":"{kind}","size":{len(derived)},"digest":"{Digest.of(derived)}"}}]}}'
        ).encode(),
    )
    assert registry.blobs[str(Digest.of(config))] == config
    assert str(TWIN.hex) in derived.decode()
    repository = registry.repository
    assert report.as_json() == {
        "action": "derived",
        "format": kind,
        "packages": packages,
        "from": f"{repository}:sha256-{GZIP.digest.hex}.sbom",
        "source_blob": f"{repository}@{found}",
        "trust": "push access",
        "to": f"{repository}:{FALLBACK}.sbom",
        "blob": f"{repository}@{Digest.of(derived)}",
        "oci_blob": None,
    }
    assert FALLBACK not in registry.manifests


def listed(registry: WritableRegistry) -> list[dict[str, Any]]:
    """What a client finds that refers to the twin."""
    if registry.has_referrers_api:
        return list(registry.referring(str(TWIN)))
    media_type, content = registry.manifests[FALLBACK]
    document = json.loads(content)
    assert media_type == document["mediaType"] == MediaType.OCI_INDEX
    assert document["schemaVersion"] == 2
    found = document["manifests"]
    assert isinstance(found, list)
    return found


def test_where_the_sources_is_a_referrer_the_twins_is_one_as_well(registry: WritableRegistry) -> None:
    registry.refer(GZIP.digest, SBOM)
    attach(registry)
    _, content = registry.manifests[f"{FALLBACK}.sbom"]
    manifest = json.loads(content)
    assert manifest["subject"] == {
        "mediaType": MediaType.OCI_MANIFEST,
        "digest": str(TWIN),
        "size": len(ZSTD),
    }
    assert manifest["artifactType"] == SPDX_ARTIFACT
    created = json.loads(registry.sbom(TWIN))["creationInfo"]["created"]
    assert manifest["annotations"] == {"org.opencontainers.image.created": created}
    same = {"artifactType": SPDX_ARTIFACT, "annotations": manifest["annotations"]}
    assert listed(registry) == [images.descriptor(MediaType.OCI_MANIFEST, content, **same)]


def test_the_oci_twin_has_an_sbom_of_its_own(registry: WritableRegistry) -> None:
    registry.refer(GZIP.digest, SBOM)
    report = attach(registry, oci_twin=OCI_TWIN)
    for digest, blob in ((TWIN, report.blob), (OCI_TWIN, report.oci_blob)):
        assert blob
        assert blob.digest == Digest.of(registry.sbom(digest))
        assert json.loads(registry.sbom(digest))["name"] == f"{registry.repository}@{digest}"


def test_an_oci_twin_that_is_the_source_keeps_its_sbom(registry: WritableRegistry) -> None:
    registry.attach(GZIP.digest, SBOM)
    assert attach(registry, oci_twin=GZIP.digest).oci_blob is None
    assert registry.sbom(GZIP.digest) == SBOM


def test_a_pinned_sbom_is_said_to_be_one(registry: WritableRegistry) -> None:
    digest = registry.attach(GZIP.digest, SBOM)
    source, found = find(registry, Policy.AUTO, digest)
    report = attach_found(registry, source, found)
    assert report
    assert (report.trust, "whoever can push" in report.as_text()) == ("pinned", False)
    assert f"whoever can push to {registry.repository} chooses it" in attach(registry).as_text()


# Where the results name the source


def test_an_sbom_of_the_source_itself_is_handed_out_as_it_is(registry: WritableRegistry) -> None:
    digest = registry.attach(GZIP.digest, SBOM)
    report = attach(registry, GZIP.digest)
    assert (report.action, report.packages) == (SbomAction.OWN, 2)
    assert str(report.blob) == f"{registry.repository}@{digest}"
    assert pushed(registry) == []


@pytest.mark.parametrize("is_referrer", [False, True])
def test_an_sbom_goes_as_it_is_where_its_image_was_copied(
    registry: WritableRegistry, elsewhere: WritableRegistry, is_referrer: bool
) -> None:
    (registry.refer if is_referrer else registry.attach)(GZIP.digest, SBOM)
    report = attach(registry, GZIP.digest, to=elsewhere)
    assert (report.action, str(report.blob)) == (SbomAction.OWN, f"{elsewhere.repository}@{Digest.of(SBOM)}")
    assert elsewhere.sbom(GZIP.digest) == SBOM
    assert len(list(elsewhere.referring(str(GZIP.digest)))) == is_referrer


# Once


@pytest.mark.parametrize("is_referrer", [False, True])
def test_a_run_that_is_repeated_leaves_one_sbom(registry: WritableRegistry, is_referrer: bool) -> None:
    (registry.refer if is_referrer else registry.attach)(GZIP.digest, SBOM)
    first = attach(registry)
    before, count = dict(registry.manifests), len(pushed(registry))
    # The time in it is another one, as it would be later.
    document = json.loads(registry.sbom(TWIN))
    assert document["creationInfo"]["created"] > "2026"
    second = attach(registry)
    assert (second.action, second.blob, second.attached) == (SbomAction.THERE, first.blob, first.attached)
    assert registry.manifests == before
    assert len(pushed(registry)) == count


def test_what_is_there_and_says_the_same_at_another_time_stays(registry: WritableRegistry) -> None:
    registry.attach(GZIP.digest, SBOM)
    attach(registry)
    created = json.loads(registry.sbom(TWIN))["creationInfo"]["created"]
    older = registry.attach(TWIN, registry.sbom(TWIN).replace(created.encode(), b"2020-01-01T00:00:00Z"))
    report = attach(registry)
    assert (report.action, report.blob.digest) == (SbomAction.THERE, older)


def test_an_sbom_that_was_there_becomes_a_referrer_where_the_sources_is_one_now(
    registry: WritableRegistry,
) -> None:
    registry.attach(GZIP.digest, SBOM)
    blob = attach(registry).blob
    del registry.manifests[f"sha256-{GZIP.digest.hex}.sbom"]
    registry.refer(GZIP.digest, SBOM)
    assert attach(registry).blob == blob
    assert len(listed(registry)) == 1


def test_another_sbom_of_the_source_makes_another_one_of_the_twin(registry: WritableRegistry) -> None:
    registry.attach(GZIP.digest, SBOM)
    first = attach(registry).blob
    registry.attach(GZIP.digest, spdx("a", "b", "c"))
    assert attach(registry).action is SbomAction.DERIVED
    assert attach(registry).blob != first


@pytest.mark.parametrize(
    "there",
    [
        b"\0",
        images.index([]),
        images.manifest(b"{}", [images.descriptor(SPDX, b"not there")]),
        images.manifest(b"{}", [images.descriptor(CYCLONEDX, SBOM)]),
        images.manifest(
            b"{}",
            [images.descriptor(SPDX, SBOM)],
            subject=images.descriptor(MediaType.OCI_MANIFEST, b"another"),
        ),
    ],
)
def test_what_is_at_the_twins_tag_and_is_not_its_sbom_is_replaced(
    registry: WritableRegistry, there: bytes
) -> None:
    registry.attach(GZIP.digest, SBOM)
    registry.add_manifest(there, MediaType.OCI_MANIFEST, f"{FALLBACK}.sbom")
    assert attach(registry).action is SbomAction.DERIVED
    assert json.loads(registry.sbom(TWIN))["name"] == f"{registry.repository}@{TWIN}"


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (CYCLONEDX, {}),
        (SPDX, {"subject": images.descriptor(MediaType.OCI_MANIFEST, b"another")}),
    ],
)
def test_the_right_document_in_a_wrong_manifest_is_attached_anew(
    registry: WritableRegistry, kind: str, more: dict[str, Any]
) -> None:
    registry.attach(GZIP.digest, SBOM)
    attach(registry)
    wrong = images.manifest(b"{}", [images.descriptor(kind, registry.sbom(TWIN))], **more)
    registry.add_manifest(wrong, selector=f"{FALLBACK}.sbom")
    attach(registry)
    document = json.loads(registry.manifests[f"{FALLBACK}.sbom"][1])
    assert (document["layers"][0]["mediaType"], document.get("subject")) == (SPDX, None)


def test_what_another_version_has_attached_stays(registry: WritableRegistry) -> None:
    registry.attach(GZIP.digest, SBOM)
    attach(registry)
    older = registry.sbom(TWIN).replace(f"recompress-{__version__}".encode(), b"recompress-0.0.0-rc.1")
    assert older != registry.sbom(TWIN)
    digest = registry.attach(TWIN, older)
    report = attach(registry)
    assert (report.action, report.blob.digest) == (SbomAction.THERE, digest)


# A source's SBOM that is wrong


def test_nothing_is_asked_where_no_sbom_is_wanted(registry: WritableRegistry) -> None:
    registry.attach(GZIP.digest, SBOM)
    with registry.client() as client:
        source = plan.resolve(client, registry.reference(GZIP.digest), None)
        before = len(registry.server.requests)
        assert sbom.find(Policy.NONE, client, source, source.reference, ()) is None
    assert len(registry.server.requests) == before


def test_that_there_is_none_is_not_said_unless_it_is_required(
    registry: WritableRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    assert find(registry)[1] is None
    assert caplog.messages == []
    with pytest.raises(Unsupported, match=r"has no SBOM.*--sbom require"):
        find(registry, Policy.REQUIRE)


def test_one_that_cannot_be_used_is_warned_of_or_ends_the_run_where_it_is_required(
    registry: WritableRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.attach(GZIP.digest, SBOM, "text/spdx")
    assert find(registry)[1] is None
    assert "no SBOM is derived: " in caplog.text
    assert "text/spdx" in caplog.text
    with pytest.raises(Unsupported, match="text/spdx"):
        find(registry, Policy.REQUIRE)


WRONG = [
    (b"\0", SPDX, "SBOM"),
    (b"[" * 100_000, SPDX, "SBOM"),
    (b"{}", SPDX, "of no known kind"),
    (spdx(digest=Digest.of(b"another")), SPDX, "SBOM"),
    (SBOM, CYCLONEDX, f"is {SPDX}, but its media type says {CYCLONEDX}"),
    (cyclonedx("a"), SPDX, f"is {CYCLONEDX}, but its media type says {SPDX}"),
]


@pytest.mark.parametrize(("content", "kind", "why"), WRONG)
def test_what_is_no_sbom_of_the_source_gives_the_twin_none(
    registry: WritableRegistry, caplog: pytest.LogCaptureFixture, content: bytes, kind: str, why: str
) -> None:
    registry.attach(GZIP.digest, content, kind)
    source, found = find(registry)
    assert attach_found(registry, source, found) is None
    assert why in caplog.text
    assert str(registry.reference(GZIP.digest)) in caplog.text
    assert pushed(registry) == []


@pytest.mark.parametrize(("content", "kind", "why"), WRONG)
def test_what_is_no_sbom_of_the_source_is_known_before_the_work_where_one_is_required(
    registry: WritableRegistry, content: bytes, kind: str, why: str
) -> None:
    registry.attach(GZIP.digest, content, kind)
    with pytest.raises(Unsupported, match=re.escape(why)):
        find(registry, Policy.REQUIRE)


def test_a_source_that_is_its_own_twin_hands_out_no_sbom_that_is_wrong(registry: WritableRegistry) -> None:
    registry.attach(GZIP.digest, spdx(digest=Digest.of(b"another")))
    source, found = find(registry)
    assert attach_found(registry, source, found, GZIP.digest) is None


GONE = error_answer(404, "BLOB_UNKNOWN", "gone")


@pytest.mark.parametrize(
    "answer", [Answer(200, SBOM + b" "), Answer(200, b" " + SBOM[1:]), Answer(200, b"{}"), GONE]
)
def test_bytes_that_are_not_those_of_the_digest_are_not_used(
    registry: WritableRegistry, caplog: pytest.LogCaptureFixture, answer: Answer
) -> None:
    digest = str(registry.attach(GZIP.digest, SBOM))
    source, found = find(registry)
    registry.in_the_way = lambda request: answer if request.path.endswith(digest) else None
    assert attach_found(registry, source, found) is None
    assert len(caplog.messages) == 1
    with pytest.raises(Unsupported, match=rf"the SBOM \S*:{AT_TAG} cannot be used: .*{digest}"):
        attach_found(registry, source, found, policy=Policy.REQUIRE)
    with pytest.raises(Unsupported, match=digest):
        find(registry, Policy.REQUIRE)


def test_an_sbom_is_not_read_further_than_its_descriptor_says(registry: WritableRegistry) -> None:
    digest = registry.attach(GZIP.digest, SBOM)
    registry.blobs[str(digest)] = SBOM + b" " * 2**24
    source, found = find(registry)
    with pytest.raises(Unsupported, match=f"larger than the limit of {len(SBOM)} bytes"):
        attach_found(registry, source, found, policy=Policy.REQUIRE)


def test_an_sbom_that_is_replaced_meanwhile_is_not_taken_for_the_one_that_was_found(
    registry: WritableRegistry,
) -> None:
    registry.attach(GZIP.digest, SBOM)
    source, found = find(registry)
    registry.attach(GZIP.digest, spdx("x", "y", "z"))
    report = attach_found(registry, source, found)
    assert report
    assert (report.packages, report.source_blob.digest) == (2, Digest.of(SBOM))


def test_a_signature_that_does_not_hold_any_more_is_warned_of(
    registry: WritableRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    registry.attach(GZIP.digest, cyclonedx("a", signature={"algorithm": "ES256", "value": "x"}), CYCLONEDX)
    attach(registry)
    assert f"the SBOM of {registry.repository}@{TWIN}: the signature" in caplog.text


# A registry that fails


@pytest.mark.parametrize("status", [401, 403])
def test_a_registry_that_refuses_what_is_not_there_gets_the_sbom(
    registry: WritableRegistry, status: int
) -> None:
    registry.attach(GZIP.digest, SBOM)
    source, found = find(registry)
    refusal = error_answer(status, "DENIED", "no")
    tag = f"{FALLBACK}.sbom"
    registry.in_the_way = lambda request: (
        (refusal if request.path.endswith(tag) and tag not in registry.manifests else None)
        if request.method == "GET"
        else None
    )
    assert attach_found(registry, source, found)
    assert tag in registry.manifests


def test_that_the_tag_of_a_required_sbom_is_refused_is_told(registry: WritableRegistry) -> None:
    refusal = error_answer(403, "DENIED", "no")
    registry.in_the_way = lambda request: refusal if request.path.endswith(AT_TAG) else None
    with pytest.raises(Unsupported, match=rf"{AT_TAG} is not known: the registry refused.*--sbom require"):
        find(registry, Policy.REQUIRE)


@pytest.mark.parametrize(("status", "error"), [(401, Refused), (403, Refused), (500, Unavailable)])
@pytest.mark.parametrize("part", ["/blobs/uploads/", f"/manifests/{FALLBACK}"])
def test_a_registry_that_does_not_take_the_sbom_ends_the_run(
    registry: WritableRegistry, status: int, error: type[RecompressError], part: str
) -> None:
    registry.attach(GZIP.digest, SBOM)
    source, found = find(registry)
    refusal = error_answer(status, "NO", "no")

    def refuse(request: Request) -> Answer | None:
        return refusal if request.method in ("PUT", "POST") and part in request.path else None

    registry.in_the_way = refuse
    with pytest.raises(error):
        attach_found(registry, source, found)


@pytest.fixture
def listing(elsewhere: WritableRegistry) -> WritableRegistry:
    """A registry in which clients keep the list of referrers, and a source whose SBOM is one."""
    elsewhere.has_referrers_api = False
    elsewhere.refer(GZIP.digest, SBOM)
    return elsewhere


def other_entry(name: bytes) -> dict[str, Any]:
    return images.descriptor(MediaType.OCI_MANIFEST, name, artifactType="application/vnd.example", unknown=1)


def test_what_else_refers_to_the_twin_stays_in_the_list(listing: WritableRegistry) -> None:
    before = images.index([other_entry(b"other")], annotations={"kept": "yes"})
    listing.add_manifest(before, selector=FALLBACK)
    attach(listing)
    assert listed(listing)[0] == other_entry(b"other")
    assert len(listed(listing)) == 2
    assert json.loads(listing.manifests[FALLBACK][1])["annotations"] == {"kept": "yes"}
    attach(listing)
    assert len(listed(listing)) == 2


def overwriting(registry: WritableRegistry, times: int) -> None:
    """So many times somebody else puts a list of their own right behind ours."""
    left = [1] * times

    def overwrite(request: Request) -> Answer | None:
        if request.method != "PUT" or not request.path.endswith(FALLBACK) or not left:
            return None
        left.pop()
        registry.add_manifest(images.index([other_entry(b"other")]), selector=FALLBACK)
        return Answer(201)

    registry.in_the_way = overwrite


def test_a_list_that_somebody_else_changes_at_the_same_time_is_completed_again(
    listing: WritableRegistry, waits: list[float]
) -> None:
    overwriting(listing, 2)
    attach(listing, attempts=3)
    assert len(waits) == 2
    assert [entry["artifactType"] for entry in listed(listing)] == ["application/vnd.example", SPDX_ARTIFACT]


def test_a_list_that_is_shown_only_after_a_while_is_waited_for(
    listing: WritableRegistry, waits: list[float]
) -> None:
    stale = iter([error_answer(404, "MANIFEST_UNKNOWN", "not yet")] * 3)

    def lag(request: Request) -> Answer | None:
        is_asked = request.method == "GET" and request.path.endswith(FALLBACK)
        return next(stale, None) if is_asked else None

    listing.in_the_way = lag
    attach(listing, attempts=3)
    assert len(listed(listing)) == 1
    assert len(waits) == 1


def test_a_list_that_never_shows_what_is_put_into_it_is_a_warning(
    listing: WritableRegistry, waits: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    overwriting(listing, 100)
    assert attach(listing, attempts=4).blob.digest == Digest.of(listing.sbom(TWIN))
    assert len(waits) == 3
    assert "is not listed as a referrer: " in caplog.messages[-1]
    assert "does not show " in caplog.messages[-1]


@pytest.mark.parametrize("status", [401, 403, 500])
@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_list_that_the_registry_does_not_let_us_complete_is_a_warning(
    listing: WritableRegistry, caplog: pytest.LogCaptureFixture, method: str, status: int
) -> None:
    source, found = find(listing)
    refusal = error_answer(status, "NO", "no")
    listing.in_the_way = lambda request: (
        refusal if request.method == method and request.path.endswith(FALLBACK) else None
    )
    assert attach_found(listing, source, found)
    assert "is not listed as a referrer: " in caplog.text


def test_a_list_without_room_is_left_as_it_is(
    listing: WritableRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    full = images.index([], annotations={"x": "x" * (4 * 2**20 - 200)})
    listing.add_manifest(full, selector=FALLBACK)
    assert attach(listing).blob.digest == Digest.of(listing.sbom(TWIN))
    assert "is not listed as a referrer: " in caplog.text
    assert "has no room for one more" in caplog.text
    assert listing.manifests[FALLBACK][1] == full


@pytest.mark.parametrize("media_type", [MediaType.OCI_MANIFEST, MediaType.DOCKER_INDEX])
def test_something_else_under_the_tag_of_the_list_stays(
    listing: WritableRegistry, media_type: MediaType, caplog: pytest.LogCaptureFixture
) -> None:
    make = images.index if media_type == MediaType.DOCKER_INDEX else images.manifest
    other = make([], media_type) if make is images.index else images.manifest(b"{}")
    listing.add_manifest(other, selector=FALLBACK)
    assert attach(listing).blob.digest == Digest.of(listing.sbom(TWIN))
    assert "it is not a list of referrers" in caplog.text
    assert listing.manifests[FALLBACK][1] == other
