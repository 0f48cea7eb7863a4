"""What is taken of the base that an image names, and who is asked for it, in a registry of the tests' own."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from recompress import base, reuse
from recompress.image import Image
from recompress.manifest import Manifest, MediaType, parse_config, parse_manifest
from recompress.reference import Digest, Reference, Repository
from recompress.registry import Connection, Tls
from recompress.reuse import Offer
from tests import images
from tests.fake_registry import FakeRegistry, error_answer
from tests.http_server import Answer, Request

BASE = images.gzip_image({"a": b"a"}, {"b": b"b"})
NAME = "org.opencontainers.image.base.name"
DIGEST = "org.opencontainers.image.base.digest"
PLATFORM = {"os": "linux", "architecture": "amd64"}


class Registry(FakeRegistry):
    """Has two repositories: `app`, of the image's author, and `base`, which may be refused."""

    def __init__(self) -> None:
        super().__init__()
        self.base = FakeRegistry()
        self.refusal: Answer | None = None

    def handle(self, request: Request) -> Answer:
        if not request.path.startswith("/v2/base/"):
            return super().handle(request)
        return self.refusal or self.base.handle(request)

    def asked_of_base(self) -> list[str]:
        """What was asked for in `base`: the ends of the paths."""
        return [r.path.rpartition("/")[2] for r in self.server.requests if r.path.startswith("/v2/base/")]


@pytest.fixture
def registry() -> Iterator[Registry]:
    both = Registry()
    with both.server:
        yield both


def zstd_layers(image: images.HandmadeImage) -> list[dict[str, Any]]:
    """Descriptors of layers that say that they are zstd."""
    annotations = images.chunked_annotations()
    return [
        images.descriptor(MediaType.OCI_LAYER_ZSTD, b"zstd of " + layer, annotations=annotations)
        for layer in image.layers
    ]


def twin_of(image: images.HandmadeImage) -> bytes:
    """The manifest of a twin; its layers are never read here."""
    return images.manifest(image.config, zstd_layers(image))


def tag_of(manifest: bytes) -> str:
    return f"sha256-{Digest.of(manifest).hex}.zstd-chunked"


def add_base(registry: Registry, image: images.HandmadeImage = BASE, twin: bytes | None = None) -> Digest:
    """Serve a base, and its twin under its tag."""
    registry.base.add(image)
    registry.base.add_manifest(twin_of(image) if twin is None else twin, selector=tag_of(image.manifest))
    return image.digest


def built_on(
    registry: Registry,
    digest: Digest,
    name: str = "",
    files: tuple[Mapping[str, bytes], ...] = ({"a": b"a"}, {"b": b"b"}, {"app": b"app"}),
) -> Image:
    """An image in `app` whose manifest says that it was built on a base."""
    said = {NAME: name or f"{registry.server.host}/base:latest", DIGEST: str(digest)}
    image = images.gzip_image(*files, annotations=said)
    registry.add(image)
    return read(registry, image.manifest, image.config)


def read(registry: Registry, manifest: bytes, config: bytes) -> Image:
    parsed = parse_manifest(manifest, "")
    assert isinstance(parsed, Manifest)
    return Image(registry.reference(parsed.digest), parsed, parse_config(config))


def find(registry: Registry, source: Image) -> list[Offer]:
    with registry.client() as client:
        found = base.find(
            source,
            client,
            registry.repository,
            Connection((), Tls(verify=False), attempts=5),
            reuse.wanted(source, ()),
            jobs=2,
        )
    assert all(diff_id == offer.diff_id for diff_id, offer in found.items())
    return list(found.values())


def test_the_layers_that_a_base_shares_are_taken_from_its_twin(registry: Registry) -> None:
    source = built_on(registry, add_base(registry))
    found = find(registry, source)
    assert [offer.diff_id for offer in found] == list(source.config.diff_ids[:2])
    assert [str(offer.layer.digest) for offer in found] == [layer["digest"] for layer in zstd_layers(BASE)]
    repository = Repository(registry.server.host, "base")
    assert {(offer.repository, offer.origin) for offer in found} == {
        (repository, f"{repository}:{tag_of(BASE.manifest)}")
    }
    assert all(offer.is_from_base for offer in found)


def test_labels_name_a_base_where_annotations_do_not(registry: Registry) -> None:
    labels = {NAME: f"{registry.server.host}/base", DIGEST: str(add_base(registry))}
    config = json.loads(BASE.config) | {"config": {"Labels": labels}}
    content = json.dumps(config).encode()
    manifest = json.loads(BASE.manifest) | {"config": images.descriptor(MediaType.OCI_CONFIG, content)}
    image = images.HandmadeImage(json.dumps(manifest).encode(), content, BASE.layers)
    registry.add(image)
    assert len(find(registry, read(registry, image.manifest, content))) == 2
    # Half of it in each place is not what a builder writes.
    manifest["annotations"] = {NAME: "quay.io/other/base"}
    both = read(registry, json.dumps(manifest).encode(), content)
    assert base.named(both) == Reference(Repository(registry.server.host, "base"), None, BASE.digest)


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("", str(BASE.digest)),
        ("quay.io/org/base", ""),
        ("quay.io/org/base", "latest"),
        ("quay.io/org/base", "sha512:" + "0" * 128),
        ("scratch", str(BASE.digest)),
        ("quay.io/org/../base", str(BASE.digest)),
        ("https://quay.io/org/base", str(BASE.digest)),
    ],
)
def test_what_names_no_base_is_passed_over(registry: Registry, name: str, digest: str) -> None:
    image = images.gzip_image({"a": b"a"}, annotations={NAME: name, DIGEST: digest})
    assert base.named(read(registry, image.manifest, image.config)) is None


def test_a_base_is_read_by_its_digest_whatever_tag_its_name_has(registry: Registry) -> None:
    digest = add_base(registry)
    other = images.gzip_image({"other": b"other"})
    registry.base.add(other)
    registry.base.add_manifest(other.manifest, selector="latest")
    name = f"{registry.server.host}/base:latest@{other.digest}"
    assert len(find(registry, built_on(registry, digest, name))) == 2
    assert set(registry.asked_of_base()) == {
        str(digest),
        tag_of(BASE.manifest),
        str(Digest.of(BASE.config)),
    }


def test_a_base_in_another_registry_is_not_asked(registry: Registry) -> None:
    digest = add_base(registry)
    with FakeRegistry().server as other:
        assert find(registry, built_on(registry, digest, f"{other.host}/base")) == []
        assert other.requests == []
    assert registry.asked_of_base() == []


def test_of_an_index_the_image_of_the_platform_is_the_base(registry: Registry) -> None:
    add_base(registry)
    foreign = images.gzip_image({"a": b"arm"}, architecture="arm64")
    registry.base.add(foreign)
    entries = [
        images.descriptor(
            MediaType.OCI_MANIFEST, foreign.manifest, platform=PLATFORM | {"architecture": "arm64"}
        ),
        images.descriptor(MediaType.OCI_MANIFEST, BASE.manifest, platform=PLATFORM),
    ]
    index = registry.base.add_manifest(images.index(entries))
    assert len(find(registry, built_on(registry, index))) == 2
    assert str(foreign.digest) not in registry.asked_of_base()


def test_a_zstd_entry_of_the_index_of_a_base_is_its_twin(registry: Registry) -> None:
    registry.base.add(BASE)
    zstd = twin_of(BASE)
    registry.base.add_manifest(zstd)
    entries = [
        images.descriptor(MediaType.OCI_MANIFEST, content, platform=PLATFORM)
        for content in (BASE.manifest, zstd)
    ]
    index = registry.base.add_manifest(images.index(entries))
    found = find(registry, built_on(registry, index))
    origin = f"{registry.server.host}/base@{Digest.of(zstd)}"
    assert [offer.origin for offer in found] == [origin, origin]


def test_of_an_endless_index_a_few_images_are_read_and_nothing_is_said(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    many = [images.manifest(BASE.config, annotations={"number": str(number)}) for number in range(100)]
    for content in many:
        registry.base.add_manifest(content)
    entries = [images.descriptor(MediaType.OCI_MANIFEST, content, platform=PLATFORM) for content in many]
    source = built_on(registry, registry.base.add_manifest(images.index(entries)))
    assert find(registry, source) == []
    assert len(registry.asked_of_base()) == 1 + reuse.MOST_ENTRIES
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


# Who writes annotations may not be allowed to read what they name.


@dataclass(frozen=True)
class Attack:
    """A try to get at a layer of `base`, of which the author of `app` knows but digests."""

    base: images.HandmadeImage = BASE
    twin: bytes | None = None
    files: tuple[Mapping[str, bytes], ...] = ({"a": b"a"}, {"b": b"b"})
    diff_ids: tuple[Digest, ...] = ()
    layers: tuple[bytes, ...] = ()
    withheld: tuple[bytes, ...] = field(default=())


SECRET = images.gzip_image({"secret": b"secret"})
SECRET_DIFF_ID = Digest.of(images.tar({"secret": b"secret"}))
WITH_SECRET = images.gzip_image({"a": b"a"}, {"secret": b"secret"})
(A,) = images.gzip_image({"a": b"a"}).layers

ATTACKS = {
    "the base does not list a blob of the source": Attack(
        SECRET, diff_ids=(SECRET_DIFF_ID,), files=({"a": b"a"},)
    ),
    "the base lists the source's blob, and the source says that its content is the secret's": Attack(
        WITH_SECRET, files=({"a": b"a"},), diff_ids=(SECRET_DIFF_ID,)
    ),
    "the base lists the source's blob in another place": Attack(
        WITH_SECRET, files=({"b": b"b"}, {"a": b"a"}), diff_ids=(Digest.of(b"b"), SECRET_DIFF_ID)
    ),
    "the source lists the secret's blob, which its repository does not have": Attack(
        SECRET, files=({"secret": b"secret"},), withheld=SECRET.layers
    ),
    "the twin has another config, which says that the secret is what the source's blob holds": Attack(
        images.gzip_image({"a": b"a"}),
        twin=images.manifest(
            images.gzip_image({"a": b"a"}, architecture="arm64").config, zstd_layers(SECRET)
        ),
        files=({"a": b"a"},),
    ),
    "the twin has the layers of another image": Attack(
        images.gzip_image({"a": b"a"}), twin=twin_of(SECRET), files=({"a": b"a"},)
    ),
    "the twin has more layers than its config": Attack(
        images.gzip_image({"a": b"a"}),
        twin=images.manifest(
            images.gzip_image({"a": b"a"}).config, [*zstd_layers(SECRET), *zstd_layers(BASE)]
        ),
        files=({"a": b"a"},),
    ),
    "the twin's layer is far larger than the source's": Attack(
        images.gzip_image({"a": b"a"}),
        twin=images.manifest(
            images.gzip_image({"a": b"a"}).config, [{**zstd_layers(BASE)[0], "size": 2**40}]
        ),
        files=({"a": b"a"},),
    ),
    "the tag of the twin is on the base itself": Attack(
        images.gzip_image({"a": b"a"}), twin=images.gzip_image({"a": b"a"}).manifest, files=({"a": b"a"},)
    ),
    "the tag of the twin is on an index": Attack(
        images.gzip_image({"a": b"a"}), twin=images.index([]), files=({"a": b"a"},)
    ),
    "the tag of the twin is on an artifact": Attack(
        images.gzip_image({"a": b"a"}),
        twin=images.manifest(BASE.config, artifactType="application/vnd.example"),
        files=({"a": b"a"},),
    ),
}


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS.keys())
def test_no_layer_that_its_author_could_not_have_is_pulled_into_an_image(
    registry: Registry, caplog: pytest.LogCaptureFixture, attack: Attack
) -> None:
    digest = add_base(registry, attack.base, attack.twin)
    for known in (SECRET, BASE, images.gzip_image({"a": b"a"}, architecture="arm64")):
        registry.base.blobs |= known.blobs()
    source = built_on(registry, digest, files=attack.files)
    if attack.diff_ids:
        source = replace(source, config=replace(source.config, diff_ids=attack.diff_ids))
    for blob in attack.withheld:
        del registry.blobs[str(Digest.of(blob))]
    assert find(registry, source) == []
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_layer_that_is_another_one_in_the_base_is_not_taken_from_there_whatever_it_says_to_hold(
    registry: Registry,
) -> None:
    source = built_on(registry, add_base(registry, WITH_SECRET), files=({"a": b"a"}, {"b": b"b"}))
    lying = replace(source.config, diff_ids=(source.config.diff_ids[0], SECRET_DIFF_ID))
    assert [offer.diff_id for offer in find(registry, replace(source, config=lying))] == [lying.diff_ids[0]]


@pytest.mark.parametrize(
    "refusal",
    [
        error_answer(401, "UNAUTHORIZED", "authentication required"),
        error_answer(403, "DENIED", "access denied"),
        error_answer(404, "NAME_UNKNOWN", "repository name not known"),
        error_answer(404, "MANIFEST_UNKNOWN", "manifest unknown"),
        error_answer(412, "PROJECTPOLICYVIOLATION", "scan first"),
        error_answer(429, "TOOMANYREQUESTS", "later", **{"Retry-After": "60"}),
        error_answer(503, "UNAVAILABLE", "later"),
        Answer(200, b"no manifest"),
        Answer(200, b"{}", {"Content-Type": MediaType.OCI_MANIFEST}),
        Answer(reset=True),
    ],
    ids=lambda answer: f"{answer.status} {answer.body[:40]!r}",
)
def test_what_the_repository_of_a_base_answers_is_no_error_is_not_said_and_is_asked_for_once(
    registry: Registry, waits: list[float], caplog: pytest.LogCaptureFixture, refusal: Answer
) -> None:
    registry.refusal = refusal
    assert find(registry, built_on(registry, add_base(registry))) == []
    assert len(registry.asked_of_base()) == 1
    assert waits == []
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


def test_a_source_whose_repository_does_not_say_that_it_has_a_layer_gets_none_for_it(
    registry: Registry,
) -> None:
    source = built_on(registry, add_base(registry))
    del registry.blobs[str(source.manifest.layers[0].digest)]
    assert [offer.diff_id for offer in find(registry, source)] == [source.config.diff_ids[1]]


def test_a_base_is_read_with_the_credentials_for_the_destination(registry: Registry, tmp_path: Path) -> None:
    # Skopeo has no others to mount from there; and a run can have some that are for the base alone.
    auths = {
        f"{registry.server.host}/{name}": {"auth": f"{auth}="}
        for name, auth in (("app", "YXBwOmE"), ("base", "YmFzZTpi"))
    }
    file = tmp_path / "auth.json"
    file.write_text(json.dumps({"auths": auths}))
    registry.refusal = Answer(401, headers={"WWW-Authenticate": 'Basic realm="tests"'})
    source = built_on(registry, add_base(registry))
    with registry.client() as client:
        connection = Connection((file,), Tls(verify=False), 1)
        found = base.find(source, client, registry.repository, connection, reuse.wanted(source, ()), 1)
    assert found == {}
    shown = [r.headers.get("authorization") for r in registry.server.requests if "/base/" in r.path]
    assert shown == [None, "Basic YXBwOmE="]
