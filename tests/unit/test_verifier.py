"""`recompress verify` of an index, with real zstd:chunked layers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from recompress.errors import NotFound, Unsupported, UsageError, VerificationFailed
from recompress.manifest import INDEX_ZSTD_ANNOTATION, MediaType, Platform
from recompress.progress import PlainReporter
from recompress.proving import Provers
from recompress.reference import Digest, Reference
from recompress.registry.client import Connection
from recompress.registry.transport import Tls
from recompress.showing import Output, show
from recompress.verifier import Verifier
from recompress.verify_report import VerifyIndexReport
from tests import images, schema
from tests.fake_registry import FakeRegistry

CONNECTION = Connection((), Tls(verify=False), 1)
LAYERS = {"amd64": ("chunks", "no-end"), "arm64": ("large",)}
MARK = {INDEX_ZSTD_ANNOTATION: "true"}

Entry = dict[str, Any]
Verify = Callable[..., VerifyIndexReport]


@pytest.fixture(scope="module")
def provers() -> Iterator[Provers]:
    with Provers(1, CONNECTION) as running:
        yield running


@pytest.fixture
def pairs(registry: FakeRegistry) -> dict[str, tuple[Entry, Entry]]:
    """For two architectures, the entries of a gzip image and of its twin."""
    made = {}
    for architecture, names in LAYERS.items():
        source, twin = registry.add_gzip_and_chunked(*names, architecture=architecture)
        made[architecture] = (
            entry(registry, source.digest, architecture),
            entry(registry, twin.digest, architecture, annotations=MARK),
        )
    return made


@pytest.fixture
def verify(registry: FakeRegistry, provers: Provers) -> Verify:
    """Verifies the index with these entries."""

    def call(*entries: Entry, platform: str | None = None) -> VerifyIndexReport:
        reference = registry.reference(registry.add_manifest(images.index(entries)))
        return verifier(provers).of_index(reference, Platform.parse(platform) if platform else None)

    return call


def verifier(provers: Provers) -> Verifier:
    return Verifier(CONNECTION, provers, 1, True, PlainReporter(io.StringIO()))


def entry(registry: FakeRegistry, digest: Digest | None, architecture: str, **more: Any) -> Entry:
    _, content = registry.manifests[str(digest)]
    platform = {"os": "linux", "architecture": architecture}
    return images.descriptor(MediaType.OCI_MANIFEST, content, platform=platform, **more)


def test_every_twin_is_proven_against_the_gzip_image_with_its_config(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]], capsys: pytest.CaptureFixture[str]
) -> None:
    (amd64, amd64_twin), (arm64, arm64_twin) = pairs.values()
    report = verify(amd64, arm64, arm64_twin, amd64_twin)
    report.check()
    assert report.warnings == ()
    found = [(str(t.result.platform), str(t.source.digest), str(t.result.digest)) for t in report.twins]
    assert found == [
        ("linux/arm64", arm64["digest"], arm64_twin["digest"]),
        ("linux/amd64", amd64["digest"], amd64_twin["digest"]),
    ]
    show(report, Output.TEXT)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "proven" in line]
    assert [(row[1], row[7], row[9]) for row in rows] == [
        ("linux/arm64", "proven", "1"),
        ("linux/amd64", "proven", "2"),
    ]


def test_the_report_is_as_the_schema_says_whatever_came_of_it(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]], registry: FakeRegistry
) -> None:
    (amd64, amd64_twin), (arm64, arm64_twin) = pairs.values()
    outcomes = []
    proven = [amd64, amd64_twin]
    alone = [*proven, arm64_twin]
    wrong = [*proven, arm64, changed(registry, arm64_twin)]
    for entries in (proven, alone, wrong):
        document = json.loads(verify(*entries).as_json())
        schema.check(document)
        outcomes.append(document["outcome"])
    assert outcomes == ["verified", "incomplete", "failed"]


def changed(registry: FakeRegistry, twin: Entry) -> Entry:
    """The same twin, but for the checksum of a table of contents."""
    _, content = registry.manifests[twin["digest"]]
    digest = registry.add_manifest(_forged(content))
    return {**entry(registry, digest, twin["platform"]["architecture"]), "annotations": MARK}


def _forged(content: bytes) -> bytes:
    document = json.loads(content)
    document["layers"][0]["annotations"]["io.github.containers.zstd-chunked.manifest-checksum"] = (
        f"sha256:{'0' * 64}"
    )
    return json.dumps(document).encode()


def test_one_wrong_twin_is_enough_and_is_named_with_its_platform_and_the_reason(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]], registry: FakeRegistry
) -> None:
    (amd64, amd64_twin), (arm64, arm64_twin) = pairs.values()
    report = verify(amd64, arm64, amd64_twin, changed(registry, arm64_twin))
    with pytest.raises(VerificationFailed, match=r"linux/arm64: .*the table of contents"):
        report.check()
    assert [bool(twin.all_failures) for twin in report.twins] == [False, True]


@pytest.mark.parametrize(
    "says",
    [
        {"annotations": {**MARK, "vnd.docker.reference.type": "attestation-manifest"}},
        {"annotations": MARK, "artifactType": "application/spdx+json"},
    ],
)
def test_an_image_that_an_entry_says_to_be_none_is_refused_for_clients_choose_it(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]], registry: FakeRegistry, says: Entry
) -> None:
    (amd64, amd64_twin), _ = pairs.values()
    hidden = {**changed(registry, amd64_twin), **says}
    with pytest.raises(VerificationFailed, match=f"{hidden['digest']} is an image, but its entry"):
        verify(amd64, hidden, amd64_twin)


def test_what_is_for_no_platform_is_not_even_read(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    (amd64, amd64_twin), _ = pairs.values()
    unknown = {"os": "unknown", "architecture": "unknown"}
    gone = {**amd64, "digest": f"sha256:{'0' * 64}", "platform": unknown}
    verify(amd64, gone, amd64_twin).check()


def test_a_manifest_that_an_index_lists_often_is_read_once_and_there_may_be_so_many(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]], registry: FakeRegistry
) -> None:
    (amd64, amd64_twin), _ = pairs.values()
    verify(*[amd64] * 300, amd64_twin).check()
    assert len(registry.server.asked("GET", f"/manifests/{amd64['digest']}")) == 1
    sources = (registry.add(images.gzip_image({str(number): b""})) for number in range(257))
    with pytest.raises(Unsupported, match="has more than 256 images"):
        verify(*(entry(registry, source, "amd64") for source in sources))


def test_an_index_without_a_twin_is_unsupported(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    (amd64, amd64_twin), (arm64, _) = pairs.values()
    with pytest.raises(Unsupported, match=r"has no twin: .*index --twins"):
        verify(amd64, arm64)
    with pytest.raises(Unsupported, match="has no twin for linux/arm64"):
        verify(amd64, arm64, amd64_twin, platform="linux/arm64")


def test_only_the_platform_that_is_asked_for_is_proven(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    (amd64, amd64_twin), (arm64, arm64_twin) = pairs.values()
    report = verify(amd64, arm64, amd64_twin, arm64_twin, platform="linux/arm64")
    assert [str(twin.result.platform) for twin in report.twins] == ["linux/arm64"]


def test_a_zstd_image_that_has_no_gzip_image_is_not_proven(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    (amd64, amd64_twin), (_, arm64_twin) = pairs.values()
    report = verify(amd64, amd64_twin, arm64_twin)
    assert report.all_failures == ()
    with pytest.raises(Unsupported, match="without a gzip image to compare them with: linux/arm64"):
        report.check()


def test_a_twin_with_another_config_is_compared_with_the_image_of_its_platform(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]], registry: FakeRegistry
) -> None:
    amd64, _ = pairs["amd64"]
    _, other = registry.add_gzip_and_chunked("no-end")
    report = verify(amd64, entry(registry, other.digest, "amd64", annotations=MARK))
    with pytest.raises(
        VerificationFailed, match=f"linux/amd64: the twin {other.digest} has 1 layer, its source"
    ):
        report.check()


def test_twins_that_are_listed_for_each_others_platforms_are_wrong(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    (amd64, amd64_twin), (arm64, arm64_twin) = pairs.values()
    swapped = (
        {**arm64_twin, "platform": amd64["platform"]},
        {**amd64_twin, "platform": arm64["platform"]},
    )
    report = verify(amd64, arm64, *swapped)
    assert [len(twin.all_failures) for twin in report.twins] == [1, 1]
    with pytest.raises(
        VerificationFailed, match=r"linux/amd64: .* another platform .* for linux/arm64 \(and 1"
    ):
        report.check()


def test_an_image_that_is_marked_as_zstd_and_is_none_is_a_wrong_twin(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]], registry: FakeRegistry
) -> None:
    amd64, amd64_twin = pairs["amd64"]
    other, _ = registry.add_gzip_and_chunked("no-end")
    report = verify(amd64, amd64_twin, entry(registry, other.digest, "amd64", annotations=MARK))
    assert [bool(twin.all_failures) for twin in report.twins] == [False, True]


def test_what_clients_do_not_take_or_cannot_pull_is_warned_of(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    amd64, twin = pairs["amd64"]
    without = {name: value for name, value in twin.items() if name != "annotations"}
    report = verify(without, amd64)
    report.check()
    assert [warning.partition(") ")[2].partition(":")[0] for warning in report.warnings] == [
        "lacks the annotation of zstd images",
        "has no gzip image before it",
    ]


def test_attestations_and_artifacts_are_passed_over(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    attestation = images.descriptor(
        MediaType.OCI_MANIFEST, b"none", annotations={"vnd.docker.reference.type": "attestation-manifest"}
    )
    verify(*pairs["amd64"], attestation).check()


def test_a_twin_that_is_listed_for_two_variants_is_proven_once(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]], registry: FakeRegistry
) -> None:
    amd64, twin = pairs["amd64"]
    variants = [
        {**each, "platform": {**each["platform"], "variant": variant}}
        for each in (amd64, twin)
        for variant in ("v2", "v3")
    ]
    report = verify(*variants)
    report.check()
    assert [str(t.result.platform) for t in report.twins] == ["linux/amd64/v2", "linux/amd64/v3"]
    layers = [blob["digest"] for blob in json.loads(registry.manifests[twin["digest"]][1])["layers"]]
    whole = [r.path for r in registry.server.asked("GET", "/blobs/") if "range" not in r.headers]
    assert [sum(path.endswith(layer) for path in whole) for layer in layers] == [1, 1]


def test_an_index_may_be_named_by_its_tag_and_the_report_has_the_digest(
    registry: FakeRegistry, provers: Provers, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    content = images.index(pairs["amd64"])
    registry.add_manifest(content, selector="1.0")
    reference = Reference(registry.repository, "1.0")
    report = verifier(provers).of_index(reference, None)
    assert report.reference == reference.with_digest(Digest.of(content))


def test_one_image_alone_is_a_mistake(
    registry: FakeRegistry, provers: Provers, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    digest = Digest.parse(pairs["amd64"][0]["digest"])
    with pytest.raises(UsageError, match="is not an index: name the gzip image and its twin"):
        verifier(provers).of_index(registry.reference(digest), None)


def test_an_entry_that_is_not_there_is_not_found(
    verify: Verify, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    gone = images.descriptor(
        MediaType.OCI_MANIFEST, b"gone", platform={"os": "linux", "architecture": "s390x"}
    )
    with pytest.raises(NotFound, match=gone["digest"]):
        verify(*pairs["amd64"], gone)


def ended(*arguments: str) -> tuple[int, dict[str, Any], str]:
    program = [sys.executable, "-m", "recompress", "verify", "--jobs=1", "--no-tls-verify", "--output=json"]
    run = subprocess.run([*program, *arguments], capture_output=True, text=True, check=False)
    return run.returncode, json.loads(run.stdout), run.stderr.splitlines()[-1]


def test_the_last_line_on_stderr_has_the_reason_and_the_report_has_it_too(
    registry: FakeRegistry, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    gzip, twin = pairs["arm64"]
    wrong = changed(registry, twin)
    index = registry.add_manifest(images.index([gzip, wrong]))
    source, result = (str(registry.reference(Digest.parse(each["digest"]))) for each in (gzip, wrong))
    code, report, line = ended(source, result)
    schema.check(report)
    assert code == 6
    first, *more = report["failures"]
    also = f" (and {len(more)} more, see the report)" if more else ""
    assert line == f"error: {result} is not the zstd:chunked twin of {source}: {first}{also}"
    code, report, line = ended(str(registry.reference(index)))
    schema.check(report)
    assert (code, report["twins"][0]["failures"]) == (6, [first, *more])
    what = f"{registry.reference(index)} has a twin that does not match its gzip image"
    assert line == f"error: {what}: linux/arm64: {first}{also}"


def test_a_zstd_image_without_a_gzip_image_is_exit_5_with_a_report(
    registry: FakeRegistry, pairs: dict[str, tuple[Entry, Entry]]
) -> None:
    index = registry.add_manifest(images.index([*pairs["amd64"], pairs["arm64"][1]]))
    code, report, line = ended(str(registry.reference(index)))
    schema.check(report)
    assert (code, report["outcome"]) == (5, "incomplete")
    assert line.endswith("linux/arm64")
