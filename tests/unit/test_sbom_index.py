"""The SBOM of an index lists its images, each with its platform and digest."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from recompress import __version__
from recompress.errors import UsageError
from recompress.manifest import Descriptor, MediaType, Platform
from recompress.reference import Digest, Reference
from recompress.report import EntryKind, IndexEntry
from recompress.sbom_document import is_same, of_index
from tests.sboms import NOW, problems

INDEX = Reference.parse(f"quay.io/org/app:v1@sha256:{'f' * 64}")


def entry(letter: str, kind: EntryKind, platform: Platform | None) -> IndexEntry:
    return IndexEntry(
        Descriptor(MediaType.OCI_MANIFEST, Digest(letter * 64), 100, platform=platform),
        kind,
    )


ENTRIES = (
    entry("a", EntryKind.GZIP, Platform("linux", "amd64")),
    entry("b", EntryKind.ZSTD, Platform("linux", "amd64")),
    entry("c", EntryKind.GZIP, Platform("linux", "arm", "v7")),
    entry("d", EntryKind.GZIP, Platform("windows", "amd64", None, "10.0.17763.1", ("win32k",))),
    entry("e", EntryKind.ATTESTATION, Platform("unknown", "unknown")),
    entry("0", EntryKind.ARTIFACT, None),
    entry("1", EntryKind.GZIP, None),
)


def document(reference: Reference = INDEX) -> Any:
    return json.loads(of_index(reference, ENTRIES, NOW))


def test_it_is_valid_and_made_again_the_same_but_for_the_time() -> None:
    content = of_index(INDEX, ENTRIES, NOW)
    assert problems(content) == []
    assert problems(of_index(INDEX, (), NOW)) == []
    assert content == of_index(INDEX, ENTRIES, NOW)
    assert is_same(content, of_index(INDEX, ENTRIES, NOW + timedelta(days=1)))
    assert not is_same(content, of_index(INDEX.with_digest(Digest("9" * 64)), ENTRIES, NOW))


def test_it_describes_the_index_and_each_image_is_a_variant_of_it() -> None:
    found = document()
    index, *images = found["packages"]
    assert (found["name"], found["spdxVersion"]) == (f"quay.io/org/app@sha256:{'f' * 64}", "SPDX-2.3")
    assert found["creationInfo"] == {
        "created": "2026-11-28T12:30:59Z",
        "creators": [f"Tool: recompress-{__version__}"],
    }
    assert found["relationships"] == [
        {
            "spdxElementId": "SPDXRef-DOCUMENT",
            "relationshipType": "DESCRIBES",
            "relatedSpdxElement": index["SPDXID"],
        },
        *(
            {
                "spdxElementId": image["SPDXID"],
                "relationshipType": "VARIANT_OF",
                "relatedSpdxElement": index["SPDXID"],
            }
            for image in images
        ),
    ]


def test_each_image_has_its_checksum_platform_and_purl_and_a_twin_says_that_it_is_one() -> None:
    rows = [
        (
            package["name"],
            package["checksums"][0]["checksumValue"][0],
            package["externalRefs"][0]["referenceLocator"].partition(":")[2][:16],
            package["externalRefs"][0]["referenceLocator"].partition("?")[2],
            package.get("comment"),
        )
        for package in document()["packages"]
    ]
    here = "repository_url=quay.io/org/app"
    zstd = "io.github.containers.compression.zstd=true"
    assert rows == [
        ("app", "f", "oci/app@sha256:f", here, None),
        ("app_amd64", "a", "oci/app@sha256:a", f"arch=amd64&{here}", "linux/amd64"),
        ("app_amd64_zstd", "b", "oci/app@sha256:b", f"arch=amd64&{here}", f"linux/amd64, {zstd}"),
        ("app_arm_v7", "c", "oci/app@sha256:c", f"arch=arm&{here}", "linux/arm/v7"),
        ("app_amd64", "d", "oci/app@sha256:d", f"arch=amd64&{here}", "windows/amd64 10.0.17763.1 win32k"),
        ("app", "1", "oci/app@sha256:1", here, None),
    ]


def test_the_version_is_the_tag_of_the_index_or_else_the_digest() -> None:
    assert {package["versionInfo"] for package in document()["packages"]} == {"v1"}
    versions = [
        package["versionInfo"]
        for package in document(Reference(INDEX.repository, None, INDEX.digest))["packages"]
    ]
    assert versions == [f"sha256:{letter * 64}" for letter in "fabcd1"]


def test_an_image_that_is_there_twice_is_two_packages() -> None:
    content = of_index(INDEX, (ENTRIES[0], ENTRIES[0]), NOW)
    assert len({package["SPDXID"] for package in json.loads(content)["packages"]}) == 3
    assert problems(content) == []


def test_an_index_without_a_digest_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(UsageError, match="has no digest"):
        of_index(Reference(INDEX.repository, "v1"), ENTRIES, NOW)
