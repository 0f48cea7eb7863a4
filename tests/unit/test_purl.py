"""Purls of images: those that other tools write, with another digest."""

from __future__ import annotations

import pytest

from recompress.reference import Digest, Reference
from recompress.sbom_document import purl

A, B = "a" * 64, "b" * 64
HERE = Reference.parse("quay.io/org/app").repository
THERE = Reference.parse("registry.example:5000/other/team/app-z").repository


def test_a_purl_has_the_last_part_of_the_repository_for_a_name() -> None:
    assert purl.of_image(HERE, Digest(A)) == f"pkg:oci/app@sha256:{A}?repository_url=quay.io/org/app"
    assert purl.of_image(THERE, Digest(A), "arm64") == (
        f"pkg:oci/app-z@sha256:{A}?arch=arm64&repository_url=registry.example:5000/other/team/app-z"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"pkg:oci/app@sha256:{A}", f"pkg:oci/app-z@sha256:{B}"),
        (f"pkg:oci/app@sha256%3A{A}", f"pkg:oci/app-z@sha256%3A{B}"),
        (f"pkg:oci/app@sha256%3a{A}?arch=arm64&tag=v1", f"pkg:oci/app-z@sha256%3A{B}?arch=arm64&tag=v1"),
        (
            f"pkg:oci/app@sha256%3A{A}?repository_url=quay.io%2Forg%2Fapp&arch=amd64",
            f"pkg:oci/app-z@sha256%3A{B}?repository_url=registry.example%3A5000%2Fother%2Fteam%2Fapp-z&arch=amd64",
        ),
        (
            f"pkg:oci/app@sha256:{A}?arch=amd64&repository_url=quay.io/org/app#sub/path",
            f"pkg:oci/app-z@sha256:{B}?arch=amd64&repository_url=registry.example:5000/other/team/app-z#sub/path",
        ),
        (f"pkg:oci/named-otherwise@sha256:{A}", f"pkg:oci/named-otherwise@sha256:{B}"),
        (f"pkg:docker/org/app@sha256:{A}", f"pkg:docker/org/app@sha256:{B}"),
        ("pkg:oci/app", f"pkg:oci/app-z@sha256:{B}"),
        ("pkg:oci/app@v1?", f"pkg:oci/app-z@sha256:{B}?"),
        ("PKG://OCI/App@v1", f"PKG://OCI/app-z@sha256:{B}"),
        ("no purl", "no purl"),
        ("", ""),
    ],
)
def test_a_purl_moves_with_its_qualifiers_and_as_it_is_spelled(before: str, after: str) -> None:
    assert purl.moved(before, HERE, THERE, Digest(B)) == after


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        (f"pkg:oci/app@sha256:{A}", A),
        (f"pkg:oci/app@SHA256%3A{A.upper()}?arch=amd64", A),
        (f"pkg:docker/org/app@sha256:{A}?platform=linux", A),
        (f"pkg:oci/app@v1?digest=sha256:{A}", None),
        (f"pkg:oci/app@sha256:{A}0", None),
        (f"pkg:oci/app@sha512:{A}{A}", None),
        (f"oci/app@sha256:{A}", None),
        ("pkg:oci/app", None),
        ("pkg:", None),
        ("", None),
        ("pkg:oci/" + "a/" * 100_000, None),
        ("pkg:" + "/" * 100_000, None),
    ],
)
def test_the_digest_of_a_purl_is_its_version(text: str, digest: str | None) -> None:
    assert purl.digest_of(text) == (Digest(digest) if digest else None)


def test_a_purl_of_an_image_is_of_the_type_oci() -> None:
    assert purl.is_of_image("pkg:oci/app@v1")
    assert purl.is_of_image("PKG:/OCI/app")
    assert not purl.is_of_image("pkg:docker/app")
    assert not purl.is_of_image("pkg:ocis/app")
