"""The SPDX document of a twin: all that was said of the source's package is said of the twin's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from recompress import __version__
from recompress.reference import Digest, Reference
from recompress.sbom_document import derive
from tests.sboms import (
    ELSEWHERE,
    FILES,
    NOW,
    SOURCE,
    SPDX,
    TWIN,
    changes,
    derived,
    load,
    problems,
    result,
)

A, B = f"{SOURCE.digest}", f"{TWIN.digest}"
spdx = pytest.mark.parametrize("file", SPDX, ids=lambda file: file.name)

BASE_IMAGE = {"comment": '{"name":"konflux:container:is_base_image","value":"true"}'}


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
