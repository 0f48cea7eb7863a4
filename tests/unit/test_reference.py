from __future__ import annotations

import pytest

from recompress.errors import UsageError
from recompress.reference import Digest, Reference, Repository

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "registry", "path", "tag", "has_digest"),
    [
        (f"quay.io/org/app@{DIGEST}", "quay.io", "org/app", None, True),
        (f"quay.io/org/app:1.0@{DIGEST}", "quay.io", "org/app", "1.0", True),
        ("quay.io/org/app:1.0", "quay.io", "org/app", "1.0", False),
        ("quay.io/org/app", "quay.io", "org/app", None, False),
        ("localhost/app", "localhost", "app", None, False),
        (f"{'a' * 63}.example/app", f"{'a' * 63}.example", "app", None, False),
        ("localhost:5000/app:v_1", "localhost:5000", "app", "v_1", False),
        ("127.0.0.1:5000/a/b/c/d", "127.0.0.1:5000", "a/b/c/d", None, False),
        (f"[::1]:5000/app@{DIGEST}", "[::1]:5000", "app", None, True),
        ("[2001:db8::1]/app:1", "[2001:db8::1]", "app", "1", False),
        ("QUAY.io/app", "QUAY.io", "app", None, False),
        ("docker.io/library/busybox", "docker.io", "library/busybox", None, False),
        ("docker.io/busybox:1", "docker.io", "library/busybox", "1", False),
        ("index.docker.io/org/app", "docker.io", "org/app", None, False),
        ("registry.example/a__b/c.d/e---f/g_h", "registry.example", "a__b/c.d/e---f/g_h", None, False),
    ],
)
def test_a_reference_is_taken_apart(
    text: str, registry: str, path: str, tag: str | None, has_digest: bool
) -> None:
    reference = Reference.parse(text)
    assert reference.repository == Repository(registry, path)
    assert reference.tag == tag
    assert reference.digest == (Digest(HEX) if has_digest else None)


@pytest.mark.parametrize(
    "text",
    [
        f"quay.io/org/app@{DIGEST}",
        f"quay.io/org/app:1.0@{DIGEST}",
        "[::1]:5000/app:1",
        "localhost/app",
    ],
)
def test_a_reference_is_written_as_it_was_read(text: str) -> None:
    assert str(Reference.parse(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no registry"),
        ("ubuntu", "has no registry"),
        ("library/ubuntu", "has no registry"),
        (f"app@{DIGEST}", "has no registry"),
        ("quay.io/Org/App", "must be lower case: 'org/app'"),
        ("quay.io/", "is not a repository name"),
        ("quay.io//app", "is not a repository name"),
        ("quay.io/app/", "is not a repository name"),
        ("quay.io/-app", "is not a repository name"),
        ("quay.io/a___b", "is not a repository name"),
        ("quay.io/a b", "is not a repository name"),
        ("quay.io/a\n", "is not a repository name"),
        ("quay.io/" + "a" * 250, "is not a repository name"),
        ("quay.io/app:", "is not a tag"),
        ("quay.io/app:-1", "is not a tag"),
        ("quay.io/app:a:b", "is not a tag"),
        ("quay.io/app:" + "a" * 129, "is not a tag"),
        ("quay.io:port/app", "is not a registry host"),
        ("quay.io:0/app", "is not a registry host"),
        ("quay.io:65536/app", "is not a registry host"),
        ("::1:5000/app", "is not a registry host"),
        ("[::1/app", "is not a registry host"),
        ("-quay.io/app", "is not a registry host"),
        (f"{'a' * 64}.example/app", "is not a registry host"),
        (f"quay.{'a' * 64}/app", "is not a registry host"),
        ("https://quay.io/app", "is not a registry host"),
        ("quay.io/app@", "is not a digest"),
        ("quay.io/app@sha256:abc", "is not a digest"),
        (f"quay.io/app@{DIGEST.upper()}", "is not a digest"),
        (f"quay.io/app@{DIGEST}\n", "is not a digest"),
        (f"quay.io/app@{DIGEST}@{DIGEST}", "is not a digest"),
        (f"quay.io/app@sha512:{HEX}{HEX}", "is not a digest"),
        (f"quay.io/app@{HEX}", "is not a digest"),
    ],
)
def test_a_wrong_reference_is_refused_with_the_part_that_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as refused:
        Reference.parse(text)
    assert reason in str(refused.value)


def test_the_manifests_endpoint_is_asked_for_the_digest_before_the_tag_before_latest() -> None:
    assert Reference.parse(f"quay.io/app:1@{DIGEST}").selector == Digest.parse(DIGEST)
    assert Reference.parse("quay.io/app:1").selector == "1"
    assert Reference.parse("quay.io/app").selector == "latest"


def test_a_digest_is_that_of_the_bytes() -> None:
    digest = Digest.of(b"")
    assert str(digest) == "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest.short == "e3b0c44298fc"
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize("value", [None, 7, "", "sha256:", f"sha256:{HEX[:-1]}", f"sha256:{HEX[:-1]}G"])
def test_what_is_no_digest_is_a_value_error(value: object) -> None:
    with pytest.raises(ValueError, match="is not a digest"):
        Digest.parse(value)


def test_a_reference_keeps_its_tag_when_it_gets_a_digest() -> None:
    assert str(Reference.parse("quay.io/app:1").with_digest(Digest(HEX))) == f"quay.io/app:1@{DIGEST}"
