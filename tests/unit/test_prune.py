"""Which tags are orphans, and that nothing else is ever deleted, whatever the registry says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from recompress import twin
from recompress.errors import (
    NotFound,
    RecompressError,
    Refused,
    Unavailable,
    Unsupported,
    VerificationFailed,
)
from recompress.manifest import Manifest, MediaType, parse_manifest
from recompress.prune import prune
from recompress.prune_report import PruneReport
from recompress.reference import Digest, Repository
from recompress.registry import Connection, Tls
from recompress.showing import Output, show
from tests import images
from tests.fake_registry import FakeRegistry, error_answer
from tests.http_server import Answer, Request

SOURCES = [images.manifest(images.config(), annotations={"source": str(n)}) for n in range(4)]
TWINS = [images.manifest(images.config(), annotations={"twin": str(n)}) for n in range(4)]
GZIP_LAYER = images.descriptor(MediaType.OCI_LAYER_GZIP, b"layer")
ZSTD_LAYER = images.descriptor(MediaType.OCI_LAYER_ZSTD, b"layer")
COPIED = images.manifest(images.config(), [ZSTD_LAYER])
"""What `run --to` finds zstd:chunked already: it copies the source itself, and tags it as its twin."""
GONE, THERE = 0, 1
CACHE = "zstd-chunked-cache-linux-amd64"
UNKNOWN = error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown")


def tag(number: int, kind: str = "zstd-chunked") -> str:
    return f"sha256-{Digest.of(SOURCES[number]).hex}.{kind}"


class Registry(FakeRegistry):
    """A repository whose tags can be listed, put and deleted by name, until a test gets in the way."""

    def __init__(self) -> None:
        super().__init__()
        self.in_the_way: Callable[[Request], Answer | None] = lambda _: None

    def handle(self, request: Request) -> Answer:
        answer = self.in_the_way(request)
        if answer:
            return answer
        selector = request.path.rpartition("/")[2]
        if request.path.endswith("/tags/list"):
            return Answer(200, json.dumps({"name": "app", "tags": self.tags()}).encode())
        if request.method == "DELETE":
            return Answer(202 if self.manifests.pop(selector, None) else 404)
        if request.method == "PUT":
            self.add_manifest(request.body, request.headers["content-type"], selector)
            return Answer(201)
        return super().handle(request)

    def tags(self) -> list[str]:
        return sorted(name for name in self.manifests if ":" not in name)

    def put(self, content: bytes, *tags: str) -> Digest:
        """A manifest by its digest and under tags."""
        for selector in ("", *tags):
            self.add_manifest(content, selector=selector)
        return Digest.of(content)

    def lose(self, content: bytes) -> None:
        del self.manifests[str(Digest.of(content))]

    @property
    def deletions(self) -> list[str]:
        return [request.path.rpartition("/")[2] for request in self.server.asked("DELETE")]


@pytest.fixture
def registry() -> Iterator[Registry]:
    """An image with its twin, which stays, and the twin of an image that was deleted."""
    running = Registry()
    running.put(SOURCES[THERE], "1.0")
    running.put(TWINS[THERE], tag(THERE), CACHE)
    running.put(TWINS[GONE], tag(GONE))
    with running.server:
        yield running


@pytest.fixture
def elsewhere() -> Iterator[Registry]:
    """Another repository, with an image of its own."""
    running = Registry()
    running.put(images.manifest(images.config(), annotations={"its": "own"}), "2.0")
    with running.server:
        yield running


@pytest.fixture(autouse=True)
def between(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], object]]:
    """What happens while the command waits; it does not really wait."""
    happenings: list[Callable[[], object]] = []

    def sleep(seconds: float) -> None:
        assert seconds > 0
        for happening in happenings:
            happening()

    monkeypatch.setattr("recompress.prune.time", SimpleNamespace(sleep=sleep))
    return happenings


def pruned(registry: Registry, *sources: Registry, delete: bool = False, attempts: int = 1) -> PruneReport:
    connection = Connection((), Tls(verify=False), attempts)
    places = tuple(source.repository for source in sources)
    return prune(connection, registry.repository, places, delete=delete)


def orphans(report: PruneReport) -> list[str]:
    return [orphan.tag for orphan in report.orphans]


def nothing_is_deleted(registry: Registry, *sources: Registry) -> None:
    """Assert that --delete finds nothing to delete, and does not."""
    before = dict(registry.manifests)
    assert orphans(pruned(registry, *sources, delete=True)) == []
    assert before.items() <= registry.manifests.items()
    assert registry.deletions == []


def refused(registry: Registry, error: type[RecompressError], match: str | None, *sources: Registry) -> None:
    """Assert that --delete fails before it deletes anything."""
    before = dict(registry.manifests)
    with pytest.raises(error, match=match):
        pruned(registry, *sources, delete=True)
    assert (registry.manifests, registry.deletions) == (before, [])


def answers(method: str, part: str, *each: Answer | None) -> Callable[[Request], Answer | None]:
    """These answers one after the other to such requests, and from then on the registry's own."""
    left = list(each)

    def handler(request: Request) -> Answer | None:
        return left.pop(0) if left and request.method == method and part in request.target else None

    return handler


# What is listed


def test_the_scheme_is_that_of_the_tags_that_are_pushed() -> None:
    source = parse_manifest(SOURCES[0], MediaType.OCI_MANIFEST)
    assert isinstance(source, Manifest)
    assert twin.source_of(twin.default_tag(source)) == source.digest
    assert twin.source_of(twin.oci_tag(source)) == source.digest


def test_a_tag_whose_source_is_gone_is_listed_and_nothing_is_changed(registry: Registry) -> None:
    before = dict(registry.manifests)
    report = pruned(registry)
    assert orphans(report) == [tag(GONE)]
    assert report.orphans[0].source == Digest.of(SOURCES[GONE])
    assert report.orphans[0].twin == Digest.of(TWINS[GONE])
    assert (report.kept, report.is_deleted) == (1, False)
    assert registry.manifests == before
    assert {request.method for request in registry.server.requests} == {"GET"}


def test_both_tags_of_a_source_that_is_gone_are_orphans(registry: Registry) -> None:
    registry.put(TWINS[2], tag(GONE, "oci"))
    assert orphans(pruned(registry)) == sorted([tag(GONE), tag(GONE, "oci")])


def test_without_orphans_nothing_is_read_but_the_sources(registry: Registry) -> None:
    registry.put(SOURCES[GONE])
    assert pruned(registry) == PruneReport(registry.repository, (registry.repository,), (), 2, False)
    selectors = {request.path.rpartition("/")[2] for request in registry.server.asked("GET", "/manifests/")}
    assert selectors == {str(Digest.of(SOURCES[n])) for n in (GONE, THERE)}


def test_a_repository_without_tags_of_ours_has_no_orphans(elsewhere: Registry) -> None:
    assert pruned(elsewhere) == PruneReport(elsewhere.repository, (elsewhere.repository,), (), 0, False)


@pytest.mark.parametrize(("delete", "verdict"), [(False, "nothing was deleted"), (True, "all deleted")])
def test_the_table_says_what_was_done(
    registry: Registry, elsewhere: Registry, capsys: pytest.CaptureFixture[str], delete: bool, verdict: str
) -> None:
    show(pruned(registry, elsewhere, delete=delete), Output.TEXT)
    out = capsys.readouterr().out
    assert f"{tag(GONE)} │ {Digest.of(TWINS[GONE]).short}" in out
    assert f"1 orphan among 2 tags of twins; {verdict}\n" in out
    assert out.endswith(f"sources were looked for in {registry.repository}, {elsewhere.repository}\n")


# What is deleted


def test_orphans_are_deleted_by_their_tags_alone(registry: Registry) -> None:
    registry.put(TWINS[GONE], "also")
    before = dict(registry.manifests)
    report = pruned(registry, delete=True)
    assert (orphans(report), report.is_deleted, report.kept) == ([tag(GONE)], True, 1)
    assert registry.deletions == [tag(GONE)]
    del before[tag(GONE)]
    assert registry.manifests == before
    assert orphans(pruned(registry, delete=True)) == []


# SBOMs


SBOM_LAYER = images.descriptor("text/spdx+json", b"sbom")


def sbom_tag(content: bytes) -> str:
    return f"sha256-{Digest.of(content).hex}.sbom"


def sboms(report: PruneReport) -> list[str | None]:
    return [orphan.sbom for orphan in report.orphans]


@pytest.fixture
def with_sboms(registry: Registry) -> Registry:
    """Both twins have an SBOM, and so has the source that is there."""
    for image in (TWINS[GONE], TWINS[THERE], SOURCES[THERE]):
        registry.put(images.manifest(image, [SBOM_LAYER]), sbom_tag(image))
    return registry


@pytest.mark.parametrize("delete", [False, True])
def test_the_sbom_of_a_twin_goes_with_it_and_no_other(with_sboms: Registry, delete: bool) -> None:
    before = dict(with_sboms.manifests)
    assert sboms(pruned(with_sboms, delete=delete)) == [sbom_tag(TWINS[GONE])]
    expected = [sbom_tag(TWINS[GONE]), tag(GONE)] if delete else []
    assert with_sboms.deletions == expected
    assert with_sboms.manifests == {n: m for n, m in before.items() if n not in expected}


def test_the_table_has_the_tag_of_the_sbom(with_sboms: Registry, capsys: pytest.CaptureFixture[str]) -> None:
    show(pruned(with_sboms), Output.TEXT)
    assert f"│ {sbom_tag(TWINS[GONE])}         │ its SBOM" in capsys.readouterr().out


def test_an_sbom_stays_as_long_as_its_twin_has_another_tag(with_sboms: Registry) -> None:
    with_sboms.put(TWINS[GONE], "deployed")
    assert sboms(pruned(with_sboms, delete=True)) == [None]
    assert with_sboms.deletions == [tag(GONE)]


def test_an_sbom_goes_with_the_last_of_two_tags_of_its_twin(with_sboms: Registry) -> None:
    with_sboms.put(TWINS[GONE], tag(GONE, "oci"))
    assert sboms(pruned(with_sboms)) == [sbom_tag(TWINS[GONE])] * 2
    # The first of both tags goes without the SBOM, the second with it.
    assert sboms(pruned(with_sboms, delete=True)) == [None, sbom_tag(TWINS[GONE])]
    assert with_sboms.deletions == [tag(GONE, "oci"), sbom_tag(TWINS[GONE]), tag(GONE)]


def test_the_sbom_of_a_twin_that_an_index_holds_stays(with_sboms: Registry) -> None:
    with_sboms.put(images.index([images.descriptor(MediaType.OCI_MANIFEST, TWINS[GONE])]), "2.0")
    nothing_is_deleted(with_sboms)


@pytest.mark.parametrize(
    "content",
    [
        TWINS[2],
        images.index([]),
        images.manifest(b"{}", [ZSTD_LAYER]),
        images.manifest(b"{}", [images.descriptor("text/spdx+json", b"x")] * 2),
        images.manifest(b"{}", [images.descriptor("text/spdx+json", b"x")], MediaType.DOCKER_MANIFEST),
    ],
)
def test_what_is_at_the_tag_of_an_sbom_and_is_none_stays(registry: Registry, content: bytes) -> None:
    registry.put(content, sbom_tag(TWINS[GONE]))
    assert sboms(pruned(registry, delete=True)) == [None]
    assert registry.deletions == [tag(GONE)]


@pytest.mark.parametrize("is_moved", [True, False])
def test_an_sbom_that_is_moved_or_deleted_before_its_deletion_is_left_alone(
    with_sboms: Registry, is_moved: bool, caplog: pytest.LogCaptureFixture
) -> None:
    name = sbom_tag(TWINS[GONE])
    seen: list[int] = []

    def change(request: Request) -> Answer | None:
        if request.method == "GET" and request.path.endswith(name):
            seen.append(1)
            if len(seen) == 2:
                del with_sboms.manifests[name]
                if is_moved:
                    with_sboms.put(TWINS[2], name)
        return None

    with_sboms.in_the_way = change
    assert sboms(pruned(with_sboms, delete=True)) == [None]
    assert with_sboms.deletions == [tag(GONE)]
    assert f"{name} is not deleted: it was moved, or it is gone already" in caplog.text


def test_an_sbom_that_cannot_be_deleted_keeps_its_twin(with_sboms: Registry) -> None:
    with_sboms.in_the_way = answers("DELETE", ".sbom", error_answer(405, "UNSUPPORTED", "no"))
    with pytest.raises(Unsupported, match=r"\.sbom, its SBOM: .*cannot delete a tag"):
        pruned(with_sboms, delete=True)
    assert tag(GONE) in with_sboms.manifests


# What is not


@pytest.mark.parametrize(
    "name",
    [
        CACHE,
        f"sha256-{'0' * 63}.zstd-chunked",
        f"sha256-{'0' * 65}.zstd-chunked",
        f"sha256-{'A' * 64}.zstd-chunked",
        f"sha256-{'g' * 64}.zstd-chunked",
        f"sha256-{'0' * 64}.zstd-chunked-",
        f"sha256-{'0' * 64}.zstd-chunked.sig",
        f"sha256-{'0' * 64}.zstd",
        f"sha256-{'0' * 64}.OCI",
        f"sha256-{'0' * 64}-oci",
        f"sha512-{'0' * 64}.oci",
        f"my-sha256-{'0' * 64}.oci",
        *(f"sha256-{'0' * 64}{end}" for end in ("", ".sig", ".att", ".sbom", ".src", ".dockerfile")),
    ],
)
def test_a_tag_that_only_looks_like_ours_stays(registry: Registry, name: str) -> None:
    registry.put(TWINS[2], name)
    pruned(registry, delete=True)
    assert registry.deletions == [tag(GONE)]
    assert name in registry.manifests


@pytest.mark.parametrize(
    "content",
    [
        images.index([]),
        images.manifest(b"{}", artifactType="application/vnd.example"),
        images.manifest(b"{}", media_type=MediaType.DOCKER_MANIFEST),
        images.manifest(b"{}", config_type="application/vnd.cncf.helm.config.v1+json"),
        images.manifest(b"{}", [ZSTD_LAYER], config_type="application/vnd.cncf.helm.config.v1+json"),
        images.manifest(b"{}", [ZSTD_LAYER], config_type=MediaType.DOCKER_CONFIG),
    ],
)
@pytest.mark.parametrize("kind", ["zstd-chunked", "oci"])
def test_a_tag_of_our_name_on_what_is_no_twin_stays(registry: Registry, content: bytes, kind: str) -> None:
    del registry.manifests[tag(GONE)]
    registry.put(content, tag(GONE, kind))
    nothing_is_deleted(registry)


@pytest.mark.parametrize(
    ("layers", "kind"),
    [
        ([GZIP_LAYER], "oci"),
        ([ZSTD_LAYER], "zstd-chunked"),
        ([ZSTD_LAYER, ZSTD_LAYER], "zstd-chunked"),
        ([], "oci"),
        ([], "zstd-chunked"),
    ],
)
def test_of_each_kind_is_a_tag_an_orphan_whose_layers_are_packed_as_that_kind_packs_them(
    registry: Registry, layers: list[dict[str, Any]], kind: str
) -> None:
    registry.put(images.manifest(images.config(), layers), tag(2, kind))
    assert orphans(pruned(registry)) == sorted([tag(GONE), tag(2, kind)])


@pytest.mark.parametrize(
    ("layers", "kind"),
    [
        ([GZIP_LAYER], "zstd-chunked"),
        ([ZSTD_LAYER, GZIP_LAYER], "zstd-chunked"),
        ([{**ZSTD_LAYER, "mediaType": "application/vnd.example"}], "zstd-chunked"),
        ([ZSTD_LAYER], "oci"),
        ([ZSTD_LAYER, GZIP_LAYER], "oci"),
    ],
)
def test_a_tag_of_our_name_on_an_image_with_other_layers_stays(
    registry: Registry, layers: list[dict[str, Any]], kind: str
) -> None:
    registry.put(images.manifest(images.config(), layers), tag(2, kind))
    pruned(registry, delete=True)
    assert registry.deletions == [tag(GONE)]


def test_a_tag_that_names_the_very_image_in_its_name_is_no_orphan(registry: Registry) -> None:
    # As the registry lists the tag, so it denies its manifest.
    copied = registry.put(COPIED, f"sha256-{Digest.of(COPIED).hex}.zstd-chunked")
    registry.lose(COPIED)
    pruned(registry, delete=True)
    assert registry.deletions == [tag(GONE)]
    assert f"sha256-{copied.hex}.zstd-chunked" in registry.manifests


@pytest.mark.parametrize("index_type", [MediaType.OCI_INDEX, MediaType.DOCKER_INDEX])
@pytest.mark.parametrize("levels", [1, 2, 3])
@pytest.mark.parametrize("name", ["1.1", f"sha256-{'0' * 64}.sig"])
def test_a_twin_that_a_tagged_index_holds_stays_however_deep(
    registry: Registry, index_type: str, levels: int, name: str
) -> None:
    content, media_type = TWINS[GONE], str(MediaType.OCI_MANIFEST)
    for _ in range(levels):
        content, media_type = images.index([images.descriptor(media_type, content)], index_type), index_type
        registry.put(content)
    registry.put(content, name)
    nothing_is_deleted(registry)


def test_an_index_that_no_tag_names_does_not_keep_a_tag_but_stays_with_all_that_is_in_it(
    registry: Registry,
) -> None:
    entries = [images.descriptor(MediaType.OCI_MANIFEST, TWINS[GONE])]
    index = registry.put(images.index(entries))
    pruned(registry, delete=True)
    assert registry.deletions == [tag(GONE)]
    assert {str(index), str(Digest.of(TWINS[GONE]))} <= registry.manifests.keys()


def test_a_source_that_is_404_once_is_there(registry: Registry, between: list[Callable[[], object]]) -> None:
    between.append(lambda: registry.put(SOURCES[GONE]))
    nothing_is_deleted(registry)


def test_the_only_source_that_is_404_once_is_there(
    registry: Registry, between: list[Callable[[], object]]
) -> None:
    del registry.manifests[tag(GONE)]
    registry.lose(SOURCES[THERE])
    between.append(lambda: registry.put(SOURCES[THERE]))
    nothing_is_deleted(registry)


def test_each_source_is_asked_for_twice_in_each_repository(registry: Registry, elsewhere: Registry) -> None:
    pruned(registry, elsewhere)
    wanted = f"/manifests/{Digest.of(SOURCES[GONE])}"
    assert len(registry.server.asked("GET", wanted)) == len(elsewhere.server.asked("GET", wanted)) == 2


def test_a_repository_that_was_filled_from_elsewhere_is_told_from_one_with_orphans(
    registry: Registry, elsewhere: Registry
) -> None:
    registry.lose(SOURCES[THERE])
    refused(registry, Unsupported, "--source")
    refused(registry, Unsupported, "--source", elsewhere)
    for content in SOURCES[:2]:
        elsewhere.put(content)
    nothing_is_deleted(registry, elsewhere)
    elsewhere.lose(SOURCES[GONE])
    assert orphans(pruned(registry, elsewhere, delete=True)) == [tag(GONE)]


def test_a_copied_image_does_not_show_that_the_sources_are_here(
    registry: Registry, elsewhere: Registry
) -> None:
    registry.lose(SOURCES[THERE])
    registry.put(COPIED, f"sha256-{Digest.of(COPIED).hex}.zstd-chunked")
    refused(registry, Unsupported, "of 2 twins in .* not one has .*--source")
    refused(registry, Unsupported, "of 2 twins in .* not one has .*--source", elsewhere)
    elsewhere.put(SOURCES[THERE])
    assert orphans(pruned(registry, elsewhere)) == [tag(GONE)]


def test_somebody_elses_image_of_our_name_does_not_show_that_the_sources_are_here(
    registry: Registry,
) -> None:
    registry.put(images.gzip_image({"a": b"a"}).manifest, tag(THERE))
    refused(registry, Unsupported, "of 1 twin in .* not one has .*--source")


def test_a_source_repository_without_tags_is_there_if_it_has_a_source(
    registry: Registry, elsewhere: Registry
) -> None:
    # CNCF Distribution answers 404 for the list of a repository whose images have no tags.
    elsewhere.manifests.clear()
    elsewhere.put(SOURCES[2])
    elsewhere.in_the_way = lambda r: Answer(404) if "/tags/list" in r.target else None
    registry.put(TWINS[2], tag(2))
    assert orphans(pruned(registry, elsewhere)) == [tag(GONE)]


def test_a_source_repository_that_is_not_there_is_a_mistake_and_no_proof(
    registry: Registry, elsewhere: Registry
) -> None:
    elsewhere.manifests.clear()
    refused(registry, NotFound, f"--source {re.escape(str(elsewhere.repository))}", elsewhere)
    elsewhere.in_the_way = answers("GET", "/tags/list", error_answer(404, "NAME_UNKNOWN", "unknown"))
    refused(registry, NotFound, f"--source {re.escape(str(elsewhere.repository))}", elsewhere)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (error_answer(401, "UNAUTHORIZED", "who is that?"), Refused),
        (error_answer(403, "DENIED", "no"), Refused),
        (error_answer(410, "GONE", "gone"), Unavailable),
        (error_answer(429, "TOOMANYREQUESTS", "slowly"), Unavailable),
        (error_answer(500, "UNKNOWN", "oh"), Unavailable),
        (Answer(200, b"something else"), VerificationFailed),
        (Answer(204), VerificationFailed),
        (Answer(304), VerificationFailed),
    ],
)
@pytest.mark.parametrize("which", ["first", "second"])
def test_any_other_answer_for_a_source_ends_the_command(
    registry: Registry, answer: Answer, error: type[RecompressError], which: str
) -> None:
    asked = (answer,) if which == "first" else (None, answer)
    gone = f"/manifests/{Digest.of(SOURCES[GONE])}"
    left = list(asked)

    def handler(request: Request) -> Answer | None:
        return left.pop(0) if left and gone in request.target else None

    registry.in_the_way = handler
    refused(registry, error, None)
    assert left == []


@pytest.mark.parametrize("where", ["token", "storage"])
def test_a_404_that_is_not_the_registrys_own_is_no_proof(registry: Registry, where: str) -> None:
    def token(request: Request) -> Answer | None:
        if request.path == "/token":
            return Answer(404)
        realm = f'Bearer realm="http://{registry.server.host}/token",service="r"'
        return Answer(401, headers={"WWW-Authenticate": realm})

    def storage(request: Request) -> Answer | None:
        return Answer(307, headers={"Location": "/storage/1"}) if "/v2/" in request.path else Answer(404)

    ways = {"token": token, "storage": storage}
    gone = f"/manifests/{Digest.of(SOURCES[GONE])}"
    registry.in_the_way = lambda r: (
        ways[where](r) if gone in r.path or r.path in ("/token", "/storage/1") else None
    )
    refused(registry, NotFound, where)


# Registries that lie, and what changes meanwhile


def test_an_index_whose_tag_is_404_once_is_read(registry: Registry) -> None:
    registry.put(images.index([images.descriptor(MediaType.OCI_MANIFEST, TWINS[GONE])]), "1.1")
    registry.in_the_way = answers("GET", "/manifests/1.1", UNKNOWN)
    nothing_is_deleted(registry)


@pytest.mark.parametrize("name", ["dangling", tag(2), tag(THERE, "oci")])
def test_a_tag_that_is_404_twice_holds_nothing(
    registry: Registry, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    registry.put(TWINS[2], name)
    registry.in_the_way = lambda r: UNKNOWN if r.path.endswith(f"/manifests/{name}") else None
    report = pruned(registry, delete=True)
    assert (orphans(report), report.kept, registry.deletions) == ([tag(GONE)], 1, [tag(GONE)])
    assert len(registry.server.asked("GET", f"/manifests/{name}")) == 2
    assert f"the registry lists {name}, but does not have it" in caplog.text


def test_a_twin_whose_tag_is_404_does_not_show_that_the_sources_are_here(registry: Registry) -> None:
    registry.in_the_way = lambda r: UNKNOWN if r.path.endswith(f"/manifests/{tag(THERE)}") else None
    refused(registry, Unsupported, "of 1 twin in .* not one has .*--source")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (error_answer(403, "DENIED", "no"), Refused),
        (error_answer(410, "GONE", "gone"), Unavailable),
        (error_answer(500, "UNKNOWN", "oh"), Unavailable),
        (Answer(200, b"something else"), Unsupported),
        (Answer(307, headers={"Location": "/storage/1"}), NotFound),
    ],
)
@pytest.mark.parametrize("which", ["first", "second"])
def test_any_other_answer_for_a_tag_ends_the_command(
    registry: Registry, answer: Answer, error: type[RecompressError], which: str
) -> None:
    of_tag = answers("GET", "/manifests/1.0", *((answer,) if which == "first" else (UNKNOWN, answer)))
    registry.in_the_way = lambda r: Answer(404) if r.path == "/storage/1" else of_tag(r)
    refused(registry, error, ":1.0, which the registry lists")


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b'{"schemaVersion": 2, "manifests": [], "manifests": []}', VerificationFailed),
        (images.index([{"mediaType": MediaType.OCI_MANIFEST, "digest": "sha512:1", "size": 1}]), Unsupported),
        (images.index([], "application/vnd.example"), Unsupported),
        (images.index([images.descriptor(MediaType.OCI_INDEX, b"missing")]), NotFound),
        (b"{", Unsupported),
        (b'{"a": ' + b"1" * 10_000 + b"}", Unsupported),
    ],
)
def test_what_may_be_an_index_that_holds_the_twin_is_not_passed_over(
    registry: Registry, content: bytes, error: type[RecompressError]
) -> None:
    registry.add_manifest(content, MediaType.OCI_INDEX, "1.1")
    refused(registry, error, ":1.1")


@pytest.mark.parametrize(
    "content",
    [
        images.manifest(b"{}", artifactType="application/vnd.example"),
        images.manifest(b"{}", config_type="application/vnd.cncf.helm.config.v1+json"),
        b'{"schemaVersion": 1, "fsLayers": [], "history": []}',
    ],
)
def test_what_can_be_no_index_is_passed_over(registry: Registry, content: bytes) -> None:
    registry.add_manifest(content, MediaType.OCI_MANIFEST, "1.1")
    assert orphans(pruned(registry)) == [tag(GONE)]


@pytest.mark.parametrize("answer", [error_answer(405, "UNSUPPORTED", "no"), Answer(400)])
def test_a_registry_that_cannot_delete_tags_is_told(registry: Registry, answer: Answer) -> None:
    registry.in_the_way = answers("DELETE", "", answer)
    before = dict(registry.manifests)
    with pytest.raises(
        Unsupported, match=r"deleted 0 of 1 orphan, failed at.*cannot delete a tag by its name"
    ):
        pruned(registry, delete=True)
    assert registry.manifests == before


@pytest.mark.parametrize("status", [202, 404])
def test_a_tag_that_is_still_there_after_its_deletion_is_an_error(
    registry: Registry, waits: list[float], status: int
) -> None:
    registry.in_the_way = answers("DELETE", "", Answer(status))
    message = (
        f"deleted 0 of 1 orphan, failed at.*{tag(GONE)}.* cannot delete a tag by its name.* is still there"
    )
    with pytest.raises(Unsupported, match=message):
        pruned(registry, delete=True, attempts=3)
    assert len(waits) == 2


def test_a_tag_that_is_there_for_a_moment_after_its_deletion_is_deleted(
    registry: Registry, waits: list[float]
) -> None:
    still = Answer(200, TWINS[GONE], {"Content-Type": MediaType.OCI_MANIFEST})
    of_tag = answers("GET", tag(GONE), still, still)
    registry.in_the_way = lambda r: of_tag(r) if registry.deletions else None
    assert orphans(pruned(registry, delete=True, attempts=3)) == [tag(GONE)]
    assert len(waits) == 2


def test_a_registry_that_fails_after_a_deletion_is_not_one_that_cannot_delete(registry: Registry) -> None:
    failing = answers("GET", tag(GONE), error_answer(500, "UNKNOWN", "oh"))
    registry.in_the_way = lambda r: failing(r) if registry.deletions else None
    with pytest.raises(Unavailable, match="deleted 0 of 1 orphan, failed at"):
        pruned(registry, delete=True)


def test_a_registry_that_deletes_the_manifest_with_the_tag_is_stopped_and_other_tags_are_put_back(
    registry: Registry,
) -> None:
    registry.put(TWINS[GONE], "mine", CACHE)
    registry.put(TWINS[2], tag(2))

    def with_all_its_tags(request: Request) -> Answer | None:
        if request.method != "DELETE":
            return None
        _, content = registry.manifests[request.path.rpartition("/")[2]]
        for name in [name for name, (_, other) in registry.manifests.items() if other == content]:
            del registry.manifests[name]
        return Answer(202)

    registry.in_the_way = with_all_its_tags
    with pytest.raises(Unsupported, match=f"with all its tags.*mine, {CACHE} were put back"):
        pruned(registry, delete=True)
    assert len(registry.deletions) == 1
    assert registry.manifests["mine"][1] == registry.manifests[CACHE][1] == TWINS[GONE]
    assert tag(2) in registry.manifests


def moved(registry: Registry) -> Any:
    registry.add_manifest(TWINS[3], selector=tag(GONE))


def back(registry: Registry) -> Any:
    registry.put(SOURCES[GONE])


@pytest.mark.parametrize("change", [moved, back])
def test_what_changes_between_the_listing_and_the_deletion_stays(
    registry: Registry, change: Callable[[Registry], Any], caplog: pytest.LogCaptureFixture
) -> None:
    reads: list[Request] = []

    def handler(request: Request) -> Answer | None:
        # The first time it is read for the listing, the second time before it is deleted.
        if request.method == "GET" and tag(GONE) in request.target:
            reads.append(request)
            if len(reads) == 2:
                change(registry)
        return None

    registry.in_the_way = handler
    report = pruned(registry, delete=True)
    assert (orphans(report), report.kept, registry.deletions) == ([], 2, [])
    assert f"{tag(GONE)} stays" in caplog.text


def test_what_somebody_else_deletes_meanwhile_is_no_error(registry: Registry) -> None:
    registry.put(TWINS[2], tag(2))
    first, second = sorted([tag(GONE), tag(2)])

    def handler(request: Request) -> Answer | None:
        if request.method == "DELETE":
            registry.manifests.pop(second, None)
        return None

    registry.in_the_way = handler
    report = pruned(registry, delete=True)
    assert (orphans(report), report.kept, registry.deletions) == ([first], 1, [first])


def test_another_tag_of_the_manifest_that_somebody_else_deletes_or_moves_is_not_put_back(
    registry: Registry,
) -> None:
    registry.put(TWINS[GONE], "deleted", "moved")
    reads: list[Request] = []

    def handler(request: Request) -> Answer | None:
        # The first time it is read for the listing, the second time before the orphan is deleted.
        if request.method == "GET" and request.path.endswith("/manifests/deleted"):
            reads.append(request)
            if len(reads) == 2:
                del registry.manifests["deleted"]
                registry.put(TWINS[3], "moved")
        if request.method == "DELETE":
            del registry.manifests["moved"]
        return None

    registry.in_the_way = handler
    assert orphans(pruned(registry, delete=True)) == [tag(GONE)]
    assert registry.server.asked("PUT") == []


def test_an_index_that_is_pushed_while_the_command_waits_is_seen(
    registry: Registry, between: list[Callable[[], object]]
) -> None:
    entries = [images.descriptor(MediaType.OCI_MANIFEST, TWINS[GONE])]
    between.append(lambda: registry.put(images.index(entries), "1.1"))
    nothing_is_deleted(registry)


def test_an_index_whose_tag_the_second_list_lacks_is_read_all_the_same(
    registry: Registry, between: list[Callable[[], object]]
) -> None:
    registry.put(images.index([images.descriptor(MediaType.OCI_MANIFEST, TWINS[GONE])]), "1.1")
    shorter = json.dumps({"tags": [name for name in registry.tags() if name != "1.1"]}).encode()

    def short(request: Request) -> Answer | None:
        return Answer(200, shorter) if request.path.endswith("/tags/list") else None

    between.append(lambda: setattr(registry, "in_the_way", short))
    nothing_is_deleted(registry)


def test_an_index_behind_the_cut_of_a_list_is_seen(registry: Registry) -> None:
    registry.put(images.index([images.descriptor(MediaType.OCI_MANIFEST, TWINS[GONE])]), "zz")

    def cut(request: Request) -> Answer | None:
        if not request.path.endswith("/tags/list"):
            return None
        last = request.target.partition("last=")[2]
        return Answer(
            200, json.dumps({"tags": [name for name in registry.tags() if name > last][:2]}).encode()
        )

    registry.in_the_way = cut
    nothing_is_deleted(registry)


def test_a_tag_that_is_gone_after_the_wait_is_no_orphan(
    registry: Registry, between: list[Callable[[], object]]
) -> None:
    between.append(lambda: registry.manifests.pop(tag(GONE)))
    assert pruned(registry).kept == 1
    assert orphans(pruned(registry)) == []


def test_an_error_in_the_middle_says_how_many_were_deleted(registry: Registry) -> None:
    registry.put(TWINS[2], tag(2))
    registry.in_the_way = answers("DELETE", "", None, error_answer(403, "DENIED", "read only"))
    with pytest.raises(Refused, match=r"deleted 1 of 2 orphans, failed at"):
        pruned(registry, delete=True)


def test_a_repository_named_twice_is_asked_once(registry: Registry) -> None:
    assert pruned(registry, registry).sources == (Repository(registry.server.host, "app"),)
