"""The SBOM of a twin says of the twin what its source's says of the source, and is valid where that is."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from recompress import __version__
from recompress.errors import Unsupported, UsageError
from recompress.reference import Digest, Reference
from recompress.sbom_document import MAX_SBOM_BYTES, Derived, SbomFormat, derive, is_same
from tests.sboms import CYCLONEDX, FILES, NOW, SOURCE, SPDX, TWIN, problems

A, B = f"{SOURCE.digest}", f"{TWIN.digest}"
ELSEWHERE = replace(TWIN, repository=Reference.parse("registry.example:5000/other/app-z").repository)
named = pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
spdx = pytest.mark.parametrize("file", SPDX, ids=lambda file: file.name)
cyclonedx = pytest.mark.parametrize("file", CYCLONEDX, ids=lambda file: file.name)

BASE_IMAGE = {"comment": '{"name":"konflux:container:is_base_image","value":"true"}'}


def load(file: Path | str) -> Any:
    path = next(each for each in FILES if each.name == file) if isinstance(file, str) else file
    return json.loads(path.read_bytes())


def derived(document: Any, twin: Reference = TWIN) -> Derived:
    return derive(json.dumps(document).encode(), SOURCE, twin, NOW)


def result(document: Any, twin: Reference = TWIN) -> Any:
    return json.loads(derived(document, twin).content)


def changes(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Where two documents differ, with lists cut to the length of the shorter."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in {**before, **after}:
            if key not in before or key not in after:
                yield f"{path}.{key}"
            else:
                yield from changes(before[key], after[key], f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list):
        for number, (one, other) in enumerate(zip(before, after, strict=False)):
            yield from changes(one, other, f"{path}[{number}]")
        if len(before) != len(after):
            yield f"{path}[]"
    elif before != after:
        yield path


# Both formats


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


def test_sboms_that_differ_in_more_than_the_time_are_not_the_same() -> None:
    one = derived(load("syft.spdx.json")).content
    assert not is_same(one, derived(load("trivy.spdx.json")).content)
    assert not is_same(one, one.replace(b"5.2-1", b"5.2-2", 1))
    assert not is_same(one, b"no JSON")
    assert not is_same(b"no JSON", one)
    assert is_same(one, one + b"\n")
    assert not is_same(b'{"metadata":{"timestamp":1},"a":1.0}', b'{"metadata":{},"a":1.00}')
    assert is_same(b'{"metadata":{"timestamp":1},"creationInfo":1}', b'{"metadata":{},"creationInfo":1}')


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


# SPDX

DOCUMENT_CHANGES = {".name", ".documentNamespace", ".creationInfo.created", ".creationInfo.creators[]"}


@spdx
def test_only_what_is_about_the_image_changes_in_spdx(file: Path) -> None:
    before, after = load(file), result(load(file))
    assert after["packages"].pop(0)["SPDXID"] == f"SPDXRef-image-app-{TWIN.digest.hex if TWIN.digest else ''}"
    expected = {
        "syft.spdx.json": {".relationships[1].spdxElementId", ".relationships[2].relatedSpdxElement"},
        "trivy.spdx.json": {
            ".packages[0].annotations",
            ".relationships[0].spdxElementId",
            ".relationships[1].relatedSpdxElement",
        },
        "mobster.spdx.json": {
            ".relationships[0].spdxElementId",
            ".relationships[1].relatedSpdxElement",
            ".relationships[2].relatedSpdxElement",
            ".relationships[3].spdxElementId",
        },
        "buildx.spdx.json": {
            ".packages[1].checksums",
            ".relationships[0].spdxElementId",
            ".relationships[1].spdxElementId",
        },
        "described.spdx.json": {
            ".packages[0].hasFiles",
            ".relationships[0].spdxElementId",
            ".documentDescribes[0]",
        },
    }[file.name]
    assert set(changes(before, after)) == DOCUMENT_CHANGES | expected | {".relationships[]"}


@spdx
def test_the_twin_is_what_an_spdx_document_describes_and_was_generated_from_the_source(file: Path) -> None:
    after = result(load(file))
    twin = after["packages"][0]
    made = [each for each in after["relationships"] if each["relationshipType"] == "GENERATED_FROM"]
    assert [each["spdxElementId"] for each in made] == [twin["SPDXID"]]
    source = next(each for each in after["packages"] if each["SPDXID"] == made[0]["relatedSpdxElement"])
    assert twin["checksums"] == [{"algorithm": "SHA256", "checksumValue": "b" * 64}]
    assert "a" * 64 in json.dumps(source)
    assert "a" * 64 not in json.dumps(twin)
    described = {*after.get("documentDescribes", [])}
    for each in after["relationships"]:
        if each["relationshipType"] == "DESCRIBES":
            described.add(each["relatedSpdxElement"])
        if each["relationshipType"] == "DESCRIBED_BY":
            described.add(each["spdxElementId"])
    assert described == {twin["SPDXID"]}
    assert after["name"] == f"quay.io/org/app@{B}"
    assert after["creationInfo"]["creators"][-1] == f"Tool: recompress-{__version__}"


def test_a_package_of_the_twin_keeps_what_else_is_known_of_the_source() -> None:
    twin = result(load("syft.spdx.json"))["packages"][0]
    assert twin["name"] == "quay.io/org/app"
    assert twin["versionInfo"] == B
    assert twin["externalRefs"][0]["referenceLocator"] == f"pkg:oci/app@sha256%3A{'b' * 64}?arch=amd64&tag=v1"
    twin = result(load("mobster.spdx.json"))["packages"][0]
    assert (twin["name"], twin["versionInfo"]) == ("app_amd64", "v1-linux-amd64")
    assert twin["supplier"] == "Organization: Red Hat"
    twin = result(load("described.spdx.json"))["packages"][0]
    assert (twin["versionInfo"], twin["packageFileName"]) == ("1.0", f"quay.io/org/app@{B}")
    assert twin["hasFiles"] == ["SPDXRef-File-1"]
    assert [each["referenceLocator"] for each in twin["externalRefs"]] == [
        f"pkg:docker/org/app@{B}?repository_url=quay.io/org/app"
    ]


def test_a_twin_elsewhere_is_named_by_its_repository() -> None:
    after = result(load("syft.spdx.json"), ELSEWHERE)
    assert after["packages"][0]["name"] == str(ELSEWHERE.repository)
    assert after["name"] == f"registry.example:5000/other/app-z@{B}"
    assert result(load("trivy.spdx.json"), ELSEWHERE)["packages"][0]["externalRefs"][0][
        "referenceLocator"
    ] == (
        f"pkg:oci/app-z@sha256%3A{'b' * 64}?arch=amd64&repository_url=registry.example%3A5000%2Fother%2Fapp-z"
    )


def test_a_place_of_the_source_becomes_that_of_the_twin() -> None:
    document = load("syft.spdx.json")
    document["packages"][1] |= {"name": f"app@{A}", "downloadLocation": f"docker://quay.io/org/app@{A}"}
    twin, _, source = result(document, ELSEWHERE)["packages"]
    assert twin["downloadLocation"] == f"docker://{ELSEWHERE.repository}@{B}"
    assert twin["name"] == f"app@{B}"
    assert source["downloadLocation"] == f"docker://quay.io/org/app@{A}"


def test_the_type_of_a_purl_may_be_written_as_the_address_of_its_definition() -> None:
    document = load("syft.spdx.json")
    document["packages"][1]["externalRefs"][0]["referenceType"] = "http://spdx.org/rdf/references/purl"
    twin = result(document)["packages"][0]
    assert [each["referenceLocator"] for each in twin["externalRefs"]] == [
        f"pkg:oci/app@sha256%3A{'b' * 64}?arch=amd64&tag=v1"
    ]


@pytest.mark.parametrize("version", ["SPDX-2.2", "SPDX-2.3"])
def test_a_package_without_a_purl_or_a_version_gets_those_of_the_twin(version: str) -> None:
    twin = result({**load("buildx.spdx.json"), "spdxVersion": version})["packages"][0]
    assert twin["versionInfo"] == B
    assert twin["externalRefs"] == [
        {
            "referenceCategory": "PACKAGE_MANAGER" if version == "SPDX-2.2" else "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": f"pkg:oci/app@{B}?repository_url=quay.io/org/app",
        }
    ]


def test_annotations_go_over_to_the_twin_but_not_those_of_a_base_image() -> None:
    document = load("trivy.spdx.json")
    document["packages"][0]["annotations"].append(BASE_IMAGE)
    document["annotations"] = [
        {"spdxElementId": document["packages"][0]["SPDXID"], "comment": "one"},
        {"spdxElementId": document["packages"][0]["SPDXID"], **BASE_IMAGE},
        {"comment": "of the document"},
    ]
    after = result(document)
    twin, source = after["packages"][:2]
    assert twin["annotations"] == document["packages"][0]["annotations"][:-1]
    assert source["annotations"] == [BASE_IMAGE]
    assert [each.get("spdxElementId") for each in after["annotations"]] == [
        twin["SPDXID"],
        source["SPDXID"],
        None,
    ]


@pytest.mark.parametrize("file", ["mobster.spdx.json", "mobster.cdx.json"])
def test_the_base_image_stays_the_only_one(file: str) -> None:
    assert derived(load(file)).content.count(b"is_base_image") == 1


def test_a_document_with_one_package_need_not_describe_it_but_that_of_the_twin_does() -> None:
    document = load("buildx.spdx.json")
    document |= {"packages": document["packages"][1:], "relationships": []}
    after = result(document)
    assert [each["relationshipType"] for each in after["relationships"]] == ["GENERATED_FROM", "DESCRIBES"]
    assert problems(json.dumps(after).encode()) == []


def test_of_several_described_packages_the_one_with_the_digest_is_the_image() -> None:
    document = load("syft.spdx.json")
    document["documentDescribes"] = [each["SPDXID"] for each in document["packages"]]
    after = result(document)
    assert after["documentDescribes"] == [document["packages"][0]["SPDXID"], after["packages"][0]["SPDXID"]]
    assert after["packages"][0]["versionInfo"] == B


def test_the_spdxid_of_the_twin_is_one_that_is_not_taken() -> None:
    document = load("syft.spdx.json")
    taken = f"SPDXRef-image-app-{'b' * 64}"
    document["packages"][0]["SPDXID"] = taken
    document["files"][0]["SPDXID"] = f"{taken}-2"
    after = result(document)
    assert after["packages"][0]["SPDXID"] == f"{taken}-3"


def test_a_repository_may_have_what_an_spdxid_may_not() -> None:
    twin = replace(TWIN, repository=Reference.parse("quay.io/org/an__app").repository)
    assert result(load("buildx.spdx.json"), twin)["packages"][0]["SPDXID"].startswith(
        "SPDXRef-image-an--app-"
    )


def test_what_go_writes_for_an_empty_list_is_one() -> None:
    document = load("buildx.spdx.json")
    document |= {"files": None, "annotations": None, "documentDescribes": None}
    document["packages"][1] |= {"externalRefs": None, "annotations": None, "checksums": None}
    assert derived(document).packages == 1


def test_the_sbom_of_a_twin_can_be_that_of_a_source_again() -> None:
    third = TWIN.with_digest(Digest("c" * 64))
    for file in FILES:
        again = derive(derive(file.read_bytes(), SOURCE, TWIN, NOW).content, TWIN, third, NOW)
        assert problems(again.content) == []
        tools = (f'"Tool: recompress-{__version__}"', f'"name":"recompress","version":"{__version__}"')
        assert sum(map(again.content.decode().count, tools)) == 1
        assert all(letter * 64 in again.content.decode() for letter in "abc")


# CycloneDX

BOM_CHANGES = {".serialNumber", ".version", ".metadata.timestamp"}
COMPONENT_CHANGES = (".bom-ref", ".hashes", ".pedigree", ".purl")


@cyclonedx
def test_only_what_is_about_the_image_changes_in_cyclonedx(file: Path) -> None:
    before, after = load(file), result(load(file))
    main = {f".metadata.component{key}" for key in COMPONENT_CHANGES}
    tools = ".metadata.tools" + ("[]" if file.name == "signed.cdx.json" else ".components[]")
    expected = {
        "syft.cdx.json": {".metadata.component.version"},
        "trivy.cdx.json": {".dependencies[0].ref", ".vulnerabilities[0].affects[0].ref"},
        "mobster.cdx.json": {
            ".components[0].bom-ref",
            ".components[0].hashes[0].content",
            ".components[0].pedigree",
            ".components[0].purl",
            ".dependencies[0].ref",
            ".compositions[0].assemblies[0]",
            ".compositions[0].dependencies[0]",
            ".annotations[0].subjects[0]",
            ".formulation[0].workflows[0].outputs[0].resource.ref",
            ".metadata.component.hashes[0].content",
        },
        "signed.cdx.json": {
            ".signature",
            ".metadata.component.signature",
            ".metadata.component.pedigree.ancestors[]",
            ".dependencies[0].ref",
            ".compositions[0].assemblies[0]",
            ".compositions[0].signature",
        },
    }[file.name]
    if file.name == "mobster.cdx.json":
        main.remove(".metadata.component.hashes")
    if file.name == "signed.cdx.json":
        main.remove(".metadata.component.pedigree")
    assert set(changes(before, after)) == BOM_CHANGES | {tools} | main | expected


@cyclonedx
def test_the_main_component_is_the_twin_with_the_source_for_an_ancestor(file: Path) -> None:
    before = load(file)["metadata"]["component"]
    after = result(load(file))["metadata"]["component"]
    assert after["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert after["purl"] == after["bom-ref"]
    ancestor = after["pedigree"]["ancestors"][-1]
    assert ancestor["hashes"] == [{"alg": "SHA-256", "content": "a" * 64}]
    assert ancestor["purl"] == before.get("purl", f"pkg:oci/app@{A}?repository_url=quay.io/org/app")
    assert {key: ancestor.get(key) for key in ("type", "name", "version")} == {
        key: before.get(key) for key in ("type", "name", "version")
    }


@cyclonedx
def test_nothing_refers_to_a_bom_ref_that_is_gone(file: Path) -> None:
    before, after = load(file), result(load(file))
    old = before["metadata"]["component"]["bom-ref"]
    new = after["metadata"]["component"]["bom-ref"]
    assert f'"{old}"' not in json.dumps(
        {key: value for key, value in after.items() if key != "metadata"}
    ).replace('"name": "app"', "")
    assert json.dumps(after).count(f'"{new}"') >= json.dumps(before).count(f'": "{old}"') - 1


@pytest.mark.parametrize(
    "place",
    [
        {"dependencies": [{"ref": "app", "dependsOn": ["app"], "provides": ["app"]}]},
        {"compositions": [{"aggregate": "complete", "assemblies": ["app"], "dependencies": ["app"]}]},
        {"vulnerabilities": [{"affects": [{"ref": "app"}]}]},
        {"annotations": [{"subjects": ["app"]}]},
        {"formulation": [{"workflows": [{"tasks": [{"inputs": [{"resource": {"ref": "app"}}]}]}]}]},
        {"declarations": {"claims": [{"target": "app"}]}},
    ],
)
def test_the_twin_is_named_wherever_the_schema_has_a_reference_to_a_component(place: Any) -> None:
    after = result({**load("signed.cdx.json"), **place})
    new = after["metadata"]["component"]["bom-ref"]
    assert {key: after[key] for key in place} == json.loads(
        json.dumps(place).replace('"app"', json.dumps(new))
    )


def test_a_longer_row_of_digits_is_no_digest() -> None:
    document = load("syft.cdx.json")
    document["metadata"]["component"]["version"] = f"sha256:{'c' * 65}"
    assert result(document)["metadata"]["component"]["version"] == f"sha256:{'c' * 65}"


def test_the_time_is_that_of_utc() -> None:
    there = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert json.loads(derive(SPDX[0].read_bytes(), SOURCE, TWIN, there).content)["creationInfo"][
        "created"
    ] == ("2026-11-28T12:30:59Z")


def test_a_bom_ref_that_looks_like_something_else_is_changed_only_where_it_is_one() -> None:
    after = result(load("signed.cdx.json"))
    assert after["metadata"]["component"]["name"] == "app"
    assert after["components"][0]["name"] == "app"
    assert after["services"][0]["name"] == "app"


def test_signatures_that_no_longer_hold_are_dropped_with_a_warning_and_others_stay() -> None:
    outcome = derived(load("signed.cdx.json"))
    after = json.loads(outcome.content)
    assert len(outcome.warnings) == 1
    assert "signature" in outcome.warnings[0]
    assert "signature" in after["components"][0]
    assert "signature" in after["compositions"][1]
    assert outcome.content.count(b'"signature"') == 2
    assert derived(load("syft.cdx.json")).warnings == ()


@pytest.mark.parametrize("version", ["1.4", "1.5", "1.6"])
@pytest.mark.parametrize("tools", [None, [], {}, {"components": []}])
def test_the_tool_is_added_once_in_the_form_of_the_version(version: str, tools: Any) -> None:
    metadata = {"component": {"type": "container", "name": "app"}}
    if tools is not None:
        metadata["tools"] = tools
    after = result({"bomFormat": "CycloneDX", "specVersion": version, "metadata": metadata})
    tool = {"name": "recompress", "version": __version__}
    if tools == [] or (tools is None and version == "1.4"):
        assert after["metadata"]["tools"] == [tool]
    else:
        assert after["metadata"]["tools"] == {"components": [{"type": "application", **tool}]}
    if version != "1.4" or not isinstance(tools, dict):
        assert problems(json.dumps(after).encode()) == []


def test_a_component_without_a_bom_ref_is_found_by_its_purl_in_the_list() -> None:
    document = load("mobster.cdx.json")
    del document["metadata"]["component"]["bom-ref"]
    del document["components"][0]["bom-ref"]
    after = result(document)
    assert after["components"][0]["hashes"][0]["content"] == "b" * 64
    assert after["components"][0]["bom-ref"] == after["metadata"]["component"]["bom-ref"]


# What is no SBOM of the image


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
        (b'{"spdxVersion":"SPDX-2.3","packages":{}}', "not as a list"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[1]}', "not a JSON object"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[{}]}', "without an SPDXID"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":5}]}', "without an SPDXID"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":[]}]}', "without an SPDXID"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":"a"}],"creationInfo":1}', "not as a JSON object"),
        (b'{"spdxVersion":"SPDX-2.3","packages":[{"SPDXID":"a"},{"SPDXID":"b"}]}', "describes 0 packages"),
        (b'{"bomFormat":"CycloneDX","specVersion":"1.5"}', "no metadata.component"),
        (b'{"bomFormat":"CycloneDX","specVersion":"1.5","metadata":[]}', "not as a JSON object"),
        (
            b'{"bomFormat":"CycloneDX","specVersion":"1.5","metadata":{"component":{}}}',
            "no metadata.component",
        ),
        (in_main("syft.cdx.json", hashes=[{"alg": "SHA-256", "content": 5}]), "checksum that is none"),
        (in_main("syft.cdx.json", **{"bom-ref": 5}), "bom-ref"),
        (in_main("syft.cdx.json", pedigree=[]), "not as a JSON object"),
        (
            in_main("buildx.spdx.json", checksums=[{"algorithm": "SHA256", "checksumValue": "short"}]),
            "checksum that is none",
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
        (other("mobster.cdx.json", lambda d: d["components"].append(d["components"][0])), "bom-ref"),
        (
            other("mobster.cdx.json", lambda d: d["components"][1].update(components=[d["components"][0]])),
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
