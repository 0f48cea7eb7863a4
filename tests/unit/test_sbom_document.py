"""The SBOM of a twin says of the twin what its source's says of the source, and is valid where that is."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from recompress.errors import Unsupported, UsageError
from recompress.reference import Digest, Reference
from recompress.sbom_document import MAX_SBOM_BYTES, SbomFormat, cyclonedx, derive, is_same, spdx
from tests.sboms import (
    ELSEWHERE,
    FILES,
    NOW,
    SOURCE,
    SPDX,
    TWIN,
    derived,
    load,
    problems,
    result,
)

A = f"{SOURCE.digest}"
named = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)


@named
def test_what_tools_write_is_valid_and_so_is_what_is_derived_of_it(file: Path) -> None:
    assert problems(file.read_bytes()) == []
    for twin in (TWIN, ELSEWHERE):
        assert problems(derive(file.read_bytes(), SOURCE, twin, NOW).content) == []


def test_the_judge_finds_what_is_wrong() -> None:
    for file, key in (("syft.spdx.json", "SPDXID"), ("syft.cdx.json", "bomFormat")):
        assert problems(json.dumps({**load(file), key: "?"}).encode())
        broken = load(file)
        del broken[key]
        assert problems(json.dumps(broken).encode())


@named
def test_the_same_sbom_is_derived_again_but_for_the_time(file: Path) -> None:
    content = file.read_bytes()
    first = derive(content, SOURCE, TWIN, NOW).content
    later = derive(content, SOURCE, TWIN, NOW + timedelta(days=1)).content
    assert first == derive(content, SOURCE, TWIN, NOW).content
    assert first != later
    assert is_same(first, later)
    assert b"2026-11-28T12:30:59Z" in first


@named
def test_another_source_sbom_or_another_twin_makes_another_one(file: Path) -> None:
    def identity(content: bytes, twin: Reference) -> Any:
        document = json.loads(derive(content, SOURCE, twin, NOW).content)
        return document.get("serialNumber") or document["documentNamespace"]

    content = file.read_bytes()
    here = identity(content, TWIN)
    assert here == identity(content, ELSEWHERE)
    assert here != identity(content + b" ", TWIN)
    assert here != identity(content, TWIN.with_digest(Digest("c" * 64)))


@named
def test_another_version_of_the_tool_makes_the_same_sbom(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = file.read_bytes()
    first = derive(content, SOURCE, TWIN, NOW).content
    for module in (spdx, cyclonedx):
        monkeypatch.setattr(module, "VERSION", "12.34.56")
    later = derive(content, SOURCE, TWIN, NOW).content
    assert b"12.34.56" in later
    assert b"12.34.56" not in first
    assert is_same(first, later)
    assert not is_same(later, content)


def test_other_tools_count() -> None:
    def made_by(*tools: str) -> bytes:
        return json.dumps({"creationInfo": {"creators": [f"Tool: {tool}" for tool in tools]}}).encode()

    assert is_same(made_by("a", "recompress-1"), made_by("a", "recompress-2.0.0"))
    assert not is_same(made_by("a", "recompress-1"), made_by("b", "recompress-1"))
    assert not is_same(made_by("recompressor"), made_by("b"))


def test_sboms_that_differ_in_more_than_the_time_are_not_the_same() -> None:
    one = derived(load("syft.spdx.json")).content
    assert not is_same(one, derived(load("trivy.spdx.json")).content)
    assert not is_same(one, one.replace(b"5.2-1", b"5.2-2", 1))
    assert not is_same(one, b"no JSON")
    assert not is_same(b"no JSON", one)
    assert is_same(one, one + b"\n")
    assert not is_same(b'{"metadata":{"timestamp":1},"a":1.0}', b'{"metadata":{},"a":1.00}')
    assert not is_same(b'{"metadata":{"timestamp":1},"creationInfo":1}', b'{"metadata":{},"creationInfo":1}')


@named
def test_the_number_of_packages_is_told_without_the_image_itself(file: Path) -> None:
    expected = {"mobster.spdx.json": 3, "trivy.spdx.json": 2, "syft.cdx.json": 2}
    assert derive(file.read_bytes(), SOURCE, TWIN, NOW).packages == expected.get(file.name, 1)


@named
def test_the_format_is_that_of_the_source(file: Path) -> None:
    found = derive(file.read_bytes(), SOURCE, TWIN, NOW).format
    assert found is (SbomFormat.SPDX if file in SPDX else SbomFormat.CYCLONEDX)


def test_media_types_are_those_of_cosign_and_artifact_types_the_registered_ones() -> None:
    assert [(str(each), each.artifact_type) for each in SbomFormat] == [
        ("text/spdx+json", "application/spdx+json"),
        ("application/vnd.cyclonedx+json", "application/vnd.cyclonedx+json"),
    ]


@named
def test_what_is_not_about_the_image_stays_also_what_nobody_knows(file: Path) -> None:
    chance = random.Random(file.name)
    unknown = ["1.10", "1e400", "-0", "9" * 500, r'"\ud800"', '"ключ"', "null", '[[],{"a":0.10}]', '"]}"']
    for _ in range(20):
        document = load(file)
        wanted = []
        for number, place in enumerate(
            chance.sample(objects := list(every_object(document)), len(objects) // 2)
        ):
            place[f"x-{number}"] = f"<{number}>"
            wanted.append((f'"x-{number}":', chance.choice(unknown)))
        content = json.dumps(document, ensure_ascii=False)
        for number, (_, value) in enumerate(wanted):
            content = content.replace(f'"<{number}>"', value)
        after = derive(content.encode(), SOURCE, TWIN, NOW).content.decode()
        for key, value in wanted:
            assert f"{key}{value}" in after


def every_object(value: Any) -> Iterator[dict[str, Any]]:
    """The objects in a document, save those that are replaced as a whole."""
    if isinstance(value, dict):
        yield value
        for key, child in value.items():
            if key not in ("signature", "hashes", "checksums"):
                yield from every_object(child)
    elif isinstance(value, list):
        for child in value:
            yield from every_object(child)


def other(file: str, change: Callable[[Any], object]) -> bytes:
    document = load(file)
    change(document)
    return json.dumps(document).encode()


def in_main(file: str, **fields: Any) -> bytes:
    def change(document: Any) -> None:
        if "packages" in document:
            document["packages"][-1 if file.startswith(("buildx", "syft")) else 0].update(fields)
        else:
            document["metadata"]["component"].update(fields)

    return other(file, change)


@pytest.mark.parametrize("name", [f"app@SHA256:{'A' * 64}", f"app@sha256%3A{'a' * 64}"])
def test_a_digest_that_is_spelled_otherwise_is_the_same_one(name: str) -> None:
    for file in ("buildx.spdx.json", "syft.cdx.json"):
        after = json.loads(derive(in_main(file, name=name), SOURCE, TWIN, NOW).content)
        twin = after["packages"][0] if "packages" in after else after["metadata"]["component"]
        assert twin["name"] == name[: -len("a" * 64)] + "b" * 64


ANOTHER = f"describes another image, sha256:{'c' * 64}, not {A}"


@pytest.mark.parametrize(
    "content",
    [
        in_main("buildx.spdx.json", checksums=[{"algorithm": "SHA256", "checksumValue": "C" * 64}]),
        in_main("buildx.spdx.json", name=f"quay.io/org/app@sha256:{'c' * 64}"),
        in_main("buildx.spdx.json", versionInfo=f"sha256:{'c' * 64}"),
        in_main("syft.spdx.json", versionInfo=f"sha256:{'c' * 64}"),
        in_main(
            "buildx.spdx.json",
            externalRefs=[
                {"referenceType": "purl", "referenceLocator": f"pkg:oci/app@sha256%3A{'c' * 64}?arch=amd64"}
            ],
        ),
        in_main("syft.cdx.json", version=f"sha256:{'c' * 64}"),
        in_main("syft.cdx.json", name=f"app@sha256:{'c' * 64}"),
        in_main("syft.cdx.json", purl=f"pkg:oci/app@sha256:{'c' * 64}"),
        in_main("syft.cdx.json", hashes=[{"alg": "SHA-256", "content": "c" * 64}]),
        other("mobster.cdx.json", lambda d: d["components"][0]["hashes"][0].update(content="c" * 64)),
    ],
)
def test_a_main_component_with_another_digest_is_of_another_image(content: bytes) -> None:
    with pytest.raises(Unsupported, match=ANOTHER):
        derive(content, SOURCE, TWIN, NOW)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"{}", "of no known kind"),
        (b'{"spdxVersion":"SPDX-2.1"}', "of the kind 'SPDX-2.1'"),
        (b'{"bomFormat":"CycloneDX","specVersion":"1.3"}', "of the kind 'CycloneDX 1.3'"),
        (b'{"bomFormat":"CycloneDX","specVersion":1.5}', "of the kind 'CycloneDX'"),
        (b'{"spdxVersion":"SPDX-2.3","bomFormat":"CycloneDX","specVersion":"1.5"}', "of the kind"),
        (b'{"_type":"https://in-toto.io/Statement/v1"}', "in-toto.io"),
        (b'{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld"}', "3.0.1"),
        (b'{"spdxVersion":"SPDX-2.3"}', "describes 0 packages"),
        (b'{"spdxVersion":"SPDX-2.3","packages":{}}', "not a list"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[1]}', "not a JSON object"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[{}]}', "without an SPDXID"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":5}]}', "without an SPDXID"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":[]}]}', "without an SPDXID"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":"a"}],"creationInfo":1}', "not a JSON object"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":"a"},{"SPDXID":"b"}]}', "describes 0 packages"),
        (b'{"bomFormat":"CycloneDX","specVersion":"1.5"}', "no metadata.component"),
        (b'{"bomFormat":"CycloneDX","specVersion":"1.5","metadata":[]}', "not a JSON object"),
        (
            b'{"bomFormat":"CycloneDX","specVersion":"1.5","metadata":{"component":{}}}',
            "no metadata.component",
        ),
        (in_main("syft.cdx.json", hashes=[{"alg": "SHA-256", "content": 5}]), "not 64 hex digits"),
        (in_main("syft.cdx.json", **{"bom-ref": 5}), "bom-ref"),
        (in_main("syft.cdx.json", pedigree=[]), "not a JSON object"),
        (
            in_main("buildx.spdx.json", checksums=[{"algorithm": "SHA256", "checksumValue": "short"}]),
            "not 64 hex digits",
        ),
        (
            other("syft.spdx.json", lambda d: d["files"][0].update(SPDXID=d["packages"][0]["SPDXID"])),
            "the SPDXID 'SPDXRef-Package-deb-bash-0011223344556677' twice",
        ),
        (other("syft.spdx.json", lambda d: d["packages"][0].update(SPDXID="SPDXRef-DOCUMENT")), "twice"),
        (other("syft.spdx.json", lambda d: d["relationships"].pop()), "describes 0 packages"),
        (
            other("buildx.spdx.json", lambda d: d.update(documentDescribes=[d["packages"][0]["SPDXID"]])),
            "describes 2 packages",
        ),
        (
            other("syft.spdx.json", lambda d: d.update(documentDescribes=["SPDXRef-File"], relationships=[])),
            "describes 0 packages",
        ),
        (other("trivy.cdx.json", lambda d: d["components"].append(d["components"][0])), "bom-ref"),
        (other("mobster.cdx.json", lambda d: d["components"].append(d["components"][0])), "more than once"),
        (
            other("mobster.cdx.json", lambda d: d["components"][1].update(components=[d["components"][0]])),
            "more than once",
        ),
        (
            other(
                "mobster.cdx.json", lambda d: d["components"][1].update(components=[dict(d["components"][1])])
            ),
            "bom-ref",
        ),
        (
            other("signed.cdx.json", lambda d: d["services"].append({"bom-ref": "lib", "name": "x"})),
            "bom-ref",
        ),
        (
            other("signed.cdx.json", lambda d: d["services"][0].update(services=[{"bom-ref": "service"}])),
            "bom-ref",
        ),
        (
            other("syft.spdx.json", lambda d: d.update(snippets=[{"SPDXID": d["files"][0]["SPDXID"]}])),
            "twice",
        ),
        (b" " * (MAX_SBOM_BYTES + 1), f"more than {MAX_SBOM_BYTES}"),
    ],
)
def test_what_is_no_usable_sbom_is_unsupported_and_says_why(content: bytes, problem: str) -> None:
    with pytest.raises(Unsupported, match=problem) as caught:
        derive(content, SOURCE, TWIN, NOW)
    assert str(caught.value).startswith("its SBOM ")


def test_an_image_without_a_digest_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(UsageError, match="has no digest"):
        derive(json.dumps(load("syft.spdx.json")).encode(), SOURCE, replace(TWIN, digest=None), NOW)


def test_relationships_in_a_circle_stay_one() -> None:
    document = load("syft.spdx.json")
    root = document["packages"][1]["SPDXID"]
    document["relationships"] += [
        {"spdxElementId": root, "relationshipType": "DEPENDS_ON", "relatedSpdxElement": root},
        {"spdxElementId": root, "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-DOCUMENT"},
        {"spdxElementId": 5, "relationshipType": None},
        {},
    ]
    after = result(document)
    twin = after["packages"][0]["SPDXID"]
    assert after["relationships"][3] == {
        "spdxElementId": twin,
        "relationshipType": "DEPENDS_ON",
        "relatedSpdxElement": twin,
    }
    assert after["relationships"][5:7] == [{"spdxElementId": 5, "relationshipType": None}, {}]


def calls(content: bytes) -> int:
    """How many functions are called to derive an SBOM, those written in C included."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        derive(content, SOURCE, TWIN, NOW)
    finally:
        sys.setprofile(None)
    return count


def large(file: str, count: int) -> bytes:
    """An SBOM with many packages, each of which something says something of, and of the image."""
    document = load(file)
    names = [f"SPDXRef-{number}" for number in range(count)]
    if "packages" in document:
        root = document["packages"][-1]["SPDXID"]
        document["packages"] += [{"SPDXID": name, "name": "x", "downloadLocation": "NONE"} for name in names]
        for ends in ((root, name) for name in names):
            document["relationships"].append(
                {"spdxElementId": ends[0], "relationshipType": "CONTAINS", "relatedSpdxElement": ends[1]}
            )
            document["relationships"].append(
                {"spdxElementId": ends[1], "relationshipType": "DESCRIBED_BY", "relatedSpdxElement": ends[0]}
            )
    else:
        root = document["metadata"]["component"]["bom-ref"]
        document["components"] += [{"type": "library", "bom-ref": name, "name": "x"} for name in names]
        document["dependencies"] += [{"ref": name, "dependsOn": [root, root]} for name in names]
    return json.dumps(document).encode()


@pytest.mark.parametrize("file", ["syft.spdx.json", "trivy.cdx.json"])
def test_twice_as_many_packages_and_relationships_take_twice_the_work(file: str) -> None:
    assert calls(large(file, 4000)) < 2.1 * calls(large(file, 2000))
