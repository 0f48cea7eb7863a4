"""Which SBOM is found for an image, and what is none of its SBOMs, whatever a registry says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from recompress import plan, sbom_search
from recompress.errors import RecompressError, Refused, Unavailable
from recompress.manifest import MediaType
from recompress.reference import Digest
from recompress.sbom_document import MAX_SBOM_BYTES
from recompress.sbom_search import Found, Unusable
from tests import images
from tests.fake_registry import error_answer
from tests.http_server import Answer
from tests.writable_registry import CYCLONEDX, SPDX, SPDX_ARTIFACT, WritableRegistry, writable_registry

GZIP = images.gzip_image({"a": b"a"})
ONE, TWO = b'{"spdxVersion": "SPDX-2.3"}', b'{"spdxVersion": "SPDX-2.2"}'
EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:00:01Z"
AT_TAG = f"sha256-{GZIP.digest.hex}.sbom"
FALLBACK = f"sha256-{GZIP.digest.hex}"


@pytest.fixture(params=["with a referrers API", "without one"])
def any_registry(request: pytest.FixtureRequest) -> Iterator[WritableRegistry]:
    with writable_registry() as running:
        running.add(GZIP)
        running.has_referrers_api = request.param == "with a referrers API"
        yield running


@pytest.fixture
def registry() -> Iterator[WritableRegistry]:
    with writable_registry() as running:
        running.add(GZIP)
        yield running


def find(registry: WritableRegistry, *pins: Digest, named: Digest = GZIP.digest) -> Found | Unusable | None:
    with registry.client() as client:
        source = plan.resolve(client, registry.reference(GZIP.digest), None)
        return sbom_search.find(client, source, registry.reference(named), pins)


def found(registry: WritableRegistry, *pins: Digest) -> Found:
    sbom = find(registry, *pins)
    assert isinstance(sbom, Found), sbom
    return sbom


def unusable(registry: WritableRegistry, *pins: Digest) -> str:
    sbom = find(registry, *pins)
    assert isinstance(sbom, Unusable), sbom
    return sbom.why


def test_an_image_without_an_sbom_has_none(any_registry: WritableRegistry) -> None:
    assert find(any_registry) is None


@pytest.mark.parametrize("kind", [SPDX, CYCLONEDX])
def test_what_cosign_attaches_is_found_at_its_tag(any_registry: WritableRegistry, kind: str) -> None:
    digest = any_registry.attach(GZIP.digest, ONE, kind)
    sbom = found(any_registry)
    assert (str(sbom.at), sbom.attached.format) == (f"{any_registry.repository}:{AT_TAG}", kind)
    assert str(sbom.blob) == f"{any_registry.repository}@{digest}"
    assert (sbom.is_referrer, sbom.is_pinned) == (False, False)


@pytest.mark.parametrize("kind", [SPDX_ARTIFACT, CYCLONEDX])
def test_a_referrer_is_found_by_the_api_or_by_the_fallback_tag(
    any_registry: WritableRegistry, kind: str
) -> None:
    manifest = any_registry.refer(GZIP.digest, ONE, kind=kind)
    sbom = found(any_registry)
    assert sbom.at.digest == manifest
    assert sbom.attached.format.artifact_type == kind
    assert sbom.is_referrer


def test_the_tag_comes_before_referrers(any_registry: WritableRegistry) -> None:
    any_registry.refer(GZIP.digest, TWO, LATE)
    assert found(any_registry).blob.digest == Digest.of(TWO)
    any_registry.attach(GZIP.digest, ONE)
    assert found(any_registry).blob.digest == Digest.of(ONE)


def test_the_newest_referrer_is_taken_by_what_its_own_manifest_says(any_registry: WritableRegistry) -> None:
    any_registry.refer(GZIP.digest, TWO, LATE)
    any_registry.refer(GZIP.digest, ONE, EARLY)
    any_registry.refer(GZIP.digest, b"[]", "2026-01-01T00:59:00+01:00")
    assert found(any_registry).blob.digest == Digest.of(TWO)


@pytest.mark.parametrize(("one", "other"), [(EARLY, EARLY), (None, EARLY), (None, None), ("now", EARLY)])
def test_two_that_cannot_be_told_apart_are_unusable(
    any_registry: WritableRegistry, one: str | None, other: str | None
) -> None:
    any_registry.refer(GZIP.digest, ONE, one)
    any_registry.refer(GZIP.digest, TWO, other)
    assert "two SBOMs" in unusable(any_registry)
    assert found(any_registry, Digest.of(TWO)).blob.digest == Digest.of(TWO)


def test_one_document_that_is_attached_twice_is_one(any_registry: WritableRegistry) -> None:
    for _ in range(2):
        any_registry.refer(GZIP.digest, ONE, None, annotations={"number": str(_)})
    assert found(any_registry).blob.digest == Digest.of(ONE)


def test_with_pins_only_an_sbom_with_one_of_their_digests_is_taken(any_registry: WritableRegistry) -> None:
    any_registry.attach(GZIP.digest, ONE)
    assert f"({Digest.of(ONE)}) is not one of those that --sbom-from names" in unusable(
        any_registry, Digest.of(TWO)
    )
    sbom = found(any_registry, Digest.of(b"other"), Digest.of(ONE))
    assert (sbom.blob.digest, sbom.is_pinned) == (Digest.of(ONE), True)
    any_registry.refer(GZIP.digest, TWO)
    assert found(any_registry, Digest.of(TWO)).is_referrer


def test_a_pin_is_no_sbom_of_an_image_that_has_none(any_registry: WritableRegistry) -> None:
    any_registry.add_blob(ONE)
    assert find(any_registry, Digest.of(ONE)) is None


def layers(*kinds: str, **more: Any) -> bytes:
    return images.manifest(b"{}", [images.descriptor(kind, ONE) for kind in kinds], **more)


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        (layers("text/spdx"), "is of type 'text/spdx'"),
        (layers("application/vnd.syft+json"), "is of type 'application/vnd.syft+json'"),
        (layers(SPDX, artifactType=CYCLONEDX), "not clearly JSON of SPDX"),
        (layers(), "one layer"),
        (layers(SPDX, SPDX), "one layer"),
        (images.index([]), "one layer"),
        (layers(SPDX, media_type=MediaType.DOCKER_MANIFEST), "not an OCI manifest"),
        (b"[]", "not a JSON object"),
        (b"\0", "not JSON"),
        (layers(SPDX).replace(b'"layers"', b'"layers": [], "layers"'), "twice"),
        (images.manifest(b"{}", [{"mediaType": SPDX, "digest": "sha512:0", "size": 1}]), "bad digest"),
        (
            images.manifest(b"{}", [{**images.descriptor(SPDX, ONE), "size": MAX_SBOM_BYTES + 1}]),
            f"it has {MAX_SBOM_BYTES + 1} bytes",
        ),
        (images.manifest(b"{}", [{**images.descriptor(SPDX, ONE), "size": -1}]), "it has -1 bytes"),
        (
            layers(SPDX, subject=images.descriptor(MediaType.OCI_MANIFEST, b"another")),
            f"of another image: its subject is {Digest.of(b'another')}",
        ),
    ],
)
def test_what_is_at_the_tag_and_is_no_sbom_of_the_image_is_named(
    registry: WritableRegistry, manifest: bytes, why: str
) -> None:
    registry.add_manifest(manifest, MediaType.OCI_MANIFEST, AT_TAG)
    reason = unusable(registry)
    assert why in reason
    assert AT_TAG in reason
    # It keeps nobody from finding a good one.
    registry.refer(GZIP.digest, TWO)
    assert found(registry).blob.digest == Digest.of(TWO)


def test_a_referrer_of_another_type_is_no_sbom(any_registry: WritableRegistry) -> None:
    any_registry.refer(GZIP.digest, ONE, kind="application/vnd.example")
    assert find(any_registry) is None


def listing(registry: WritableRegistry, *entries: dict[str, Any]) -> None:
    """What the registry says refers to the image, whatever does."""
    answer = Answer(200, images.index(list(entries)), {"Content-Type": MediaType.OCI_INDEX})
    registry.in_the_way = lambda request: answer if "/referrers/" in request.path else None


def entry(content: bytes, **more: Any) -> dict[str, Any]:
    return images.descriptor(MediaType.OCI_MANIFEST, content, artifactType=SPDX_ARTIFACT, **more)


def test_a_list_that_names_the_sbom_of_another_image_is_not_believed(registry: WritableRegistry) -> None:
    other = registry.refer(Digest.of(b"another"), ONE)
    listing(registry, entry(registry.manifests[str(other)][1]))
    assert f"its subject is {Digest.of(b'another')}" in unusable(registry)


def test_a_list_that_names_what_is_no_referrer_at_all_is_not_believed(registry: WritableRegistry) -> None:
    registry.attach(Digest.of(b"another"), ONE)
    manifest = registry.manifests[f"sha256-{Digest.of(b'another').hex}.sbom"][1]
    registry.add_manifest(manifest)
    listing(registry, entry(manifest))
    assert "its subject is None" in unusable(registry)


def test_a_list_that_calls_something_else_an_sbom_is_not_believed(registry: WritableRegistry) -> None:
    registry.refer(GZIP.digest, ONE, kind="application/vnd.example")
    ((_, content),) = [m for d, m in registry.manifests.items() if d != str(GZIP.digest)]
    listing(registry, entry(content))
    assert "not clearly JSON of SPDX" in unusable(registry)


def test_a_list_says_nothing_of_which_is_the_newest(registry: WritableRegistry) -> None:
    contents = [
        registry.manifests[str(registry.refer(GZIP.digest, sbom, created))][1]
        for sbom, created in ((ONE, LATE), (TWO, EARLY))
    ]
    lies = ({"org.opencontainers.image.created": created} for created in (EARLY, LATE))
    listing(registry, *(entry(c, annotations=lie) for c, lie in zip(contents, lies, strict=True)))
    assert found(registry).blob.digest == Digest.of(ONE)


def test_a_referrer_that_is_listed_and_gone_is_passed_over(registry: WritableRegistry) -> None:
    registry.refer(GZIP.digest, ONE)
    (real,) = registry.referring(str(GZIP.digest))
    listing(registry, entry(b"gone"), real)
    assert found(registry).blob.digest == Digest.of(ONE)


def test_a_list_in_pages_is_read_to_its_end(registry: WritableRegistry) -> None:
    for number in range(5):
        registry.refer(GZIP.digest, b"%d" % number, kind="application/vnd.example")
    registry.refer(GZIP.digest, ONE)
    registry.page_size = 2
    assert found(registry).blob.digest == Digest.of(ONE)
    assert len(registry.server.asked("GET", "/referrers/")) == 3


@pytest.mark.parametrize("second", [error_answer(404, "UNKNOWN", "no"), Answer(200, b"<html>")])
def test_a_list_that_breaks_off_is_no_list_that_is_not_there(
    registry: WritableRegistry, second: Answer
) -> None:
    registry.refer(GZIP.digest, ONE)
    registry.refer(GZIP.digest, TWO, LATE)
    registry.page_size = 1
    registry.in_the_way = lambda request: second if "start=1" in request.target else None
    assert "breaks off" in unusable(registry)


def test_more_sboms_than_anybody_attaches_are_not_read(any_registry: WritableRegistry) -> None:
    for number in range(17):
        any_registry.refer(GZIP.digest, b"%d" % number, EARLY)
    before = len(any_registry.server.requests)
    assert "17 SBOMs refer to the image" in unusable(any_registry)
    assert len(any_registry.server.requests) - before < 6


def linked(url: str) -> Answer:
    headers = {"Content-Type": str(MediaType.OCI_INDEX), "Link": f'<{url}>; rel="next"'}
    return Answer(200, images.index([]), headers)


def test_a_list_without_end_is_given_up(registry: WritableRegistry) -> None:
    numbers = iter(range(10_000))
    registry.in_the_way = lambda r: linked(f"?start={next(numbers)}") if "/referrers/" in r.path else None
    assert "list of referrers is too long to be read" in unusable(registry)
    assert len(registry.server.asked("GET", "/referrers/")) == 101


@pytest.mark.parametrize("url", ["/v2/app/tags/list?n=1", "http://127.0.0.1:1/v2/app/referrers/x"])
def test_a_list_does_not_go_on_anywhere_else(registry: WritableRegistry, url: str) -> None:
    registry.in_the_way = lambda request: linked(url) if "/referrers/" in request.path else None
    assert "list of referrers leads to something else" in unusable(registry)


def test_a_list_that_leads_back_to_itself_is_given_up(registry: WritableRegistry) -> None:
    registry.in_the_way = lambda request: linked("?start=1") if "/referrers/" in request.path else None
    assert "leads back to a page" in unusable(registry)


@pytest.mark.parametrize("body", [b"\0", b'{"manifests": 1}', images.manifest(b"{}")])
def test_a_list_that_is_none_is_unusable(registry: WritableRegistry, body: bytes) -> None:
    answer = Answer(200, body, {"Content-Type": MediaType.OCI_INDEX})
    registry.in_the_way = lambda request: answer if "/referrers/" in request.path else None
    assert "list of referrers" in unusable(registry)


def test_a_page_without_end_is_not_read_to_its_end(registry: WritableRegistry) -> None:
    answer = Answer(200, b" " * (5 * 2**20), {"Content-Type": MediaType.OCI_INDEX})
    registry.in_the_way = lambda request: answer if "/referrers/" in request.path else None
    assert "is larger than" in unusable(registry)


@pytest.mark.parametrize("status", [400, 404, 405, 406, 410, 412, 415, 422, 501, 505])
def test_a_registry_that_has_no_referrers_api_has_the_fallback_tag(
    registry: WritableRegistry, status: int
) -> None:
    registry.has_referrers_api = False
    registry.refer(GZIP.digest, ONE)
    refusal = error_answer(status, "UNSUPPORTED", "no")
    registry.in_the_way = lambda request: refusal if "/referrers/" in request.path else None
    assert found(registry).is_referrer


FAILING = [
    *(("/referrers/", status, Refused) for status in (401, 403)),
    *((part, status, Unavailable) for part in ("/referrers/", ".sbom", FALLBACK) for status in (429, 500)),
]


@pytest.mark.parametrize(("part", "status", "error"), FAILING)
def test_any_other_failure_of_the_registry_is_what_it_is_elsewhere(
    any_registry: WritableRegistry, part: str, status: int, error: type[RecompressError]
) -> None:
    if part == FALLBACK:
        any_registry.has_referrers_api = False
    refusal = error_answer(status, "NO", "no")
    any_registry.in_the_way = lambda request: (
        refusal if request.path.endswith(part) or (part in request.path and part == "/referrers/") else None
    )
    with pytest.raises(error):
        find(any_registry)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("tag", [AT_TAG, FALLBACK])
def test_a_registry_that_refuses_a_tag_that_is_not_there_fails_nothing(
    registry: WritableRegistry, tag: str, status: int
) -> None:
    registry.has_referrers_api = False
    refusal = error_answer(status, "DENIED", "no")
    registry.in_the_way = lambda request: refusal if request.path.endswith(tag) else None
    why = unusable(registry)
    assert f"{registry.repository}:{tag}" in why
    assert f"the registry refused access to {registry.repository}" in why


def test_a_tag_that_is_refused_keeps_nobody_from_finding_a_referrer(any_registry: WritableRegistry) -> None:
    any_registry.refer(GZIP.digest, ONE)
    refusal = error_answer(403, "DENIED", "no")
    any_registry.in_the_way = lambda request: refusal if request.path.endswith(AT_TAG) else None
    assert found(any_registry).is_referrer


def test_a_registry_that_answers_everything_with_a_page_of_its_own_has_no_referrers_api(
    registry: WritableRegistry,
) -> None:
    registry.has_referrers_api = False
    registry.refer(GZIP.digest, ONE)
    page = Answer(200, b"<html>", {"Content-Type": "text/html"})
    registry.in_the_way = lambda request: page if "/referrers/" in request.path else None
    assert found(registry).is_referrer


@pytest.mark.parametrize("content", [images.manifest(b"{}"), b"\0", images.index([], MediaType.DOCKER_INDEX)])
def test_a_fallback_tag_on_something_else_is_no_list(registry: WritableRegistry, content: bytes) -> None:
    registry.has_referrers_api = False
    registry.add_manifest(content, "" if content[:1] == b"{" else MediaType.OCI_INDEX, FALLBACK)
    assert find(registry) is None


# Signed SBOMs


def attested(annotation: str, predicate: str) -> bytes:
    layer = images.descriptor("application/vnd.dsse.envelope.v1+json", b"{}")
    return images.manifest(b"{}", [{**layer, "annotations": {annotation: predicate}}])


@pytest.mark.parametrize("predicate", ["https://spdx.dev/Document", "https://cyclonedx.org/bom"])
def test_an_sbom_in_an_attestation_at_cosigns_tag_is_unusable(
    any_registry: WritableRegistry, predicate: str
) -> None:
    any_registry.add_manifest(attested("predicateType", predicate), selector=f"{FALLBACK}.att")
    assert "only its signer" in unusable(any_registry)


def test_an_attestation_of_something_else_is_no_sbom(any_registry: WritableRegistry) -> None:
    provenance = attested("predicateType", "https://slsa.dev/provenance/v0.2")
    any_registry.add_manifest(provenance, selector=f"{FALLBACK}.att")
    assert find(any_registry) is None


def test_an_attestation_that_cannot_be_read_is_no_sbom(registry: WritableRegistry) -> None:
    registry.add_manifest(b"\0", MediaType.OCI_MANIFEST, f"{FALLBACK}.att")
    assert find(registry) is None


@pytest.mark.parametrize("status", [401, 403])
def test_an_attestation_that_is_refused_fails_nothing(any_registry: WritableRegistry, status: int) -> None:
    refusal = error_answer(status, "DENIED", "no")
    any_registry.in_the_way = lambda request: refusal if request.path.endswith(".att") else None
    assert find(any_registry) is None


def test_an_sbom_in_a_bundle_of_cosign_3_is_unusable(any_registry: WritableRegistry) -> None:
    any_registry.refer(
        GZIP.digest,
        b"{}",
        kind="application/vnd.dev.sigstore.bundle.v0.3+json",
        annotations={"dev.sigstore.bundle.predicateType": "https://spdx.dev/Document"},
    )
    assert "only its signer" in unusable(any_registry)


@pytest.mark.parametrize(("of", "is_own"), [(GZIP.digest, True), (Digest.of(b"another"), False)])
def test_buildkits_attestation_in_the_index_is_one_of_its_own_image_alone(
    registry: WritableRegistry, of: Digest, is_own: bool
) -> None:
    attestation = attested("in-toto.io/predicate-type", "https://spdx.dev/Document")
    registry.add_manifest(attestation)
    named = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": str(of)}
    index = registry.add_manifest(
        images.index(
            [
                images.descriptor(MediaType.OCI_MANIFEST, GZIP.manifest),
                images.descriptor(MediaType.OCI_MANIFEST, attestation, annotations=named),
            ]
        )
    )
    assert isinstance(find(registry, named=index), Unusable) is is_own
    refusal = error_answer(403, "DENIED", "no")
    registry.in_the_way = lambda request: refusal if request.path.endswith(".att") else None
    assert isinstance(find(registry, named=index), Unusable) is is_own
    # Without the index nobody knows of it.
    assert find(registry) is None


def test_an_sbom_beside_an_attestation_is_taken(any_registry: WritableRegistry) -> None:
    any_registry.add_manifest(
        attested("predicateType", "https://spdx.dev/Document"), selector=f"{FALLBACK}.att"
    )
    any_registry.attach(GZIP.digest, ONE)
    assert found(any_registry).blob.digest == Digest.of(ONE)
