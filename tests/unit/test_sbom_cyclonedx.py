"""The CycloneDX document of a twin: its main component is the twin, and the source an ancestor."""

from __future__ import annotations

import json
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from recompress import __version__
from recompress.sbom_document import derive
from tests.sboms import (
    CYCLONEDX,
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

A = f"{SOURCE.digest}"
cyclonedx = pytest.mark.parametrize("file", CYCLONEDX, ids=lambda file: file.name)


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


@pytest.mark.parametrize("empty", [None, ""])
def test_components_without_a_name_are_not_the_main_one(empty: str | None) -> None:
    document = load("syft.cdx.json")
    document["metadata"]["component"] |= {"bom-ref": empty, "purl": empty}
    document["components"] = [
        {"type": "library", "name": "a"},
        {"type": "library", "name": "b", "purl": empty},
    ]
    after = result(document)
    assert after["components"] == document["components"]
