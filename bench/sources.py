"""The images that are measured: built by the container engine out of a real Debian, or put together here."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.processes import run, say
from bench.setting import Setting
from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.images import HandmadeImage
from tests.integration.registries import labels

_BASE_NAME = "org.opencontainers.image.base.name"
_BASE_DIGEST = "org.opencontainers.image.base.digest"
_VERSIONS = Path(__file__).with_name("versions.Containerfile")


@dataclass(frozen=True, slots=True)
class Source:
    """An image in the registry: its reference with digest, and the bytes of its layers."""

    reference: str
    size: int

    @property
    def digest(self) -> str:
        """The digest of its manifest."""
        return self.reference.partition("@")[2]


@dataclass(frozen=True, slots=True)
class Sources:
    """Two builds that differ in a small layer, the first one with annotations of its base, and the base."""

    first: Source
    changed: Source
    annotated: Source
    base: Source


def four_layers(setting: Setting) -> Sources:
    """Images of four layers, 300 MB and more of a real Debian, and a small layer of their own."""
    context = setting.work / "context"
    context.mkdir(parents=True)
    # A base of its own: in one go with it, the large layer would be built again each time.
    base = f"{setting.repository('base')}:1"
    _build_text(
        context,
        base,
        "FROM recompress-test AS tools\n"
        "FROM recompress-runtime\n"
        "COPY --from=tools /usr/bin/buildah /usr/bin/crane /usr/sbin/dockerd /opt/tools/\n",
    )
    built = []
    for version in ("first", "changed"):
        _write_application(context / "app", version)
        name = f"{setting.repository('source')}:{version}"
        _build_text(context, name, f"FROM {base}\nCOPY app /app\n")
        built.append(pushed(setting, name))
    base_source = pushed(setting, base)
    first, changed = built
    return Sources(first, changed, _annotated(setting, first, base, base_source), base_source)


def version_of(setting: Setting, version: str) -> Source:
    """An image of versions.Containerfile, built again: "first", "rebuilt" or "patched"."""
    name = f"{setting.repository('versions')}:{version}"
    base = os.environ["TEST_BASE_IMAGE"]
    # As in hack/images.sh: this base was made from a mirror that may be past its date.
    default = "-o Acquire::Check-Valid-Until=false" if base.startswith("recompress-base:") else ""
    arguments = {
        "BASE_IMAGE": base,
        "APT_OPTIONS": os.environ.get("APT_OPTIONS", default),
        "PATCH": "yes" if version == "patched" else "",
    }
    _build(_VERSIONS, name, "--no-cache", *(f"--build-arg={key}={value}" for key, value in arguments.items()))
    return pushed(setting, name)


def pushed(setting: Setting, name: str) -> Source:
    """Push an image of the container engine, which then has it no more under this name."""
    run(["docker", "push", "--quiet", name])
    run(["docker", "rmi", name])
    inspected = json.loads(run(["recompress", "inspect", name, "--no-tls-verify", "--output=json"]))
    (found,) = inspected["manifests"]
    # Without the tag: skopeo takes none beside a digest.
    return Source(f"{name.rpartition(':')[0]}@{found['digest']}", found["size"])


def push(setting: Setting, repository: str, image: HandmadeImage) -> Source:
    """Push an image that was put together here."""
    digest = setting.registry.push(f"bench/{repository}", image)
    return Source(f"{setting.repository(repository)}@{digest}", sum(map(len, image.layers)))


def layered(
    streams: Iterable[bytes],
    architecture: str = "amd64",
    settings: Mapping[str, object] | None = None,
    annotations: Mapping[str, str] | None = None,
    docker: bool = False,
) -> HandmadeImage:
    """An image with a gzip layer for each of these tar streams; `settings` are of its config."""
    diff_ids, blobs = [], []
    for stream in streams:
        diff_ids.append(str(Digest.of(stream)))
        # At the level of builders; Python's own is the slowest.
        blobs.append(gzip.compress(stream, compresslevel=6, mtime=0))
    config = images.config(diff_ids, architecture, settings)
    layer_type = MediaType.DOCKER_LAYER_GZIP if docker else MediaType.OCI_LAYER_GZIP
    manifest = images.manifest(
        config,
        [images.descriptor(layer_type, blob) for blob in blobs],
        MediaType.DOCKER_MANIFEST if docker else MediaType.OCI_MANIFEST,
        MediaType.DOCKER_CONFIG if docker else MediaType.OCI_CONFIG,
        **({"annotations": annotations} if annotations else {}),
    )
    return HandmadeImage(manifest, config, tuple(blobs))


def tar(members: Iterable[tuple[str, bytes]]) -> bytes:
    """A tar stream with these files."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def tar_of(*paths: str | Path) -> bytes:
    """A tar stream with these files and directories of this container, and the directories above them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        above = {parent for path in paths for parent in Path(path).parents}
        for directory in sorted(above - {Path("/")}):
            archive.add(directory, recursive=False)
        for path in paths:
            archive.add(path)
    return stream.getvalue()


def real_files(parts: int, size: int) -> Iterator[list[Path]]:
    """Files of this container, none larger than `size`, in so many parts of about so many bytes each."""
    found = (Path(at, name) for at, _, names in os.walk("/usr") for name in sorted(names))
    regular = (path for path in found if path.is_file() and not path.is_symlink())
    small = (path for path in regular if path.stat().st_size <= size)
    for _ in range(parts):
        part: list[Path] = []
        have = 0
        while have < size:
            part.append(next(small))
            have += part[-1].stat().st_size
        yield part


def _build(containerfile: Path, name: str, *options: str) -> None:
    say(f"building {name}")
    label = next(f"{key}={value}" for key, value in labels().items())
    command = ["docker", "build", "--quiet", "--label", label, "--tag", name, "--file", str(containerfile)]
    run([*command, *options, str(containerfile.parent)], {"DOCKER_BUILDKIT": "0"})


def _build_text(context: Path, name: str, text: str) -> None:
    (context / "Containerfile").write_text(text)
    _build(context / "Containerfile", name)


def _write_application(directory: Path, version: str) -> None:
    directory.mkdir(exist_ok=True)
    for number in range(40):
        (directory / f"module{number}.py").write_text(f"VERSION = {version!r}\n" * 1000)
    (directory / "data").write_bytes(os.urandom(1_000_000))


def _annotated(setting: Setting, image: Source, base_name: str, base: Source) -> Source:
    """The image as OCI, with the annotations that buildah and BuildKit write: which base it is made from."""
    document = setting.registry.document("bench/source", image.digest)
    descriptors = [document["config"], *document["layers"]]
    types = [MediaType.OCI_CONFIG, *[MediaType.OCI_LAYER_GZIP] * len(document["layers"])]
    for descriptor, media_type in zip(descriptors, types, strict=True):
        descriptor["mediaType"] = media_type
    document["mediaType"] = MediaType.OCI_MANIFEST
    document["annotations"] = {_BASE_NAME: base_name, _BASE_DIGEST: base.digest}
    digest: Digest = setting.registry.push_manifest("bench/source", json.dumps(document).encode())
    return Source(f"{setting.repository('source')}@{digest}", image.size)
