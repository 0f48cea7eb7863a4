"""Real images by real builders, of the kinds that a user has, pushed to a registry."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.images import HandmadeImage
from tests.integration.registries import Registry, labels

Build = Callable[[Registry, str, Path], Digest]
"""Pushes an image to a repository, with a directory to work in, and returns the manifest's digest."""

HEALTHCHECK = {"Test": ["CMD", "/bin/check"], "Interval": 30_000_000_000}
_DOCKER_ONLY = """
HEALTHCHECK --interval=30s CMD ["/bin/check"]
ONBUILD COPY later /later
SHELL ["/bin/bash", "-c"]
"""


def command(*arguments: str, **more: Any) -> str:
    """Run a tool to its end and return what it says."""
    ended = subprocess.run(arguments, capture_output=True, check=False, **more)
    assert ended.returncode == 0, (arguments, ended.stdout, ended.stderr)
    return ended.stdout.decode() if isinstance(ended.stdout, bytes) else str(ended.stdout)


def write_files(directory: Path, text: str = "") -> None:
    """Some files of a few kilobytes that compress neither to nothing nor not at all."""
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(8):
        lines = (f"{text} file {number} line {line} {hash_of(text, number, line)}\n" for line in range(400))
        (directory / f"file-{number}").write_text("".join(lines))
    (directory / "empty").touch()


def hash_of(*parts: object) -> str:
    """Text that looks random and is the same each time."""
    return Digest.of(repr(parts).encode()).hex


def write_odd_tree(directory: Path) -> None:
    """All that makes tar streams differ: links, attributes, holes, names, modes, nothing at all."""
    write_files(directory / "plain")
    (directory / "hard-link").hardlink_to(directory / "plain/file-1")
    (directory / "link").symlink_to("plain/file-1")
    with (directory / "sparse").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 18)
        file.write(os.urandom(5000))
        file.seek(3 << 18)
        file.write(b"data")
    long = directory
    for letter in "abcd":
        long /= letter * 90
    long.mkdir(parents=True)
    (long / ("name-" * 30)).write_text("long")
    (directory / "ünïcode — name\nwith a new line").write_text("odd")
    (directory / "setuid").write_text("setuid")
    (directory / "setuid").chmod(0o4755)
    (directory / "nothing").mkdir()
    (directory / ".wh.gone").touch()
    os.mkfifo(directory / "fifo")
    os.setxattr(directory / "plain/file-2", "user.note", b"binary \0 value")
    os.setxattr(
        directory / "plain/file-3", "security.capability", bytes.fromhex("0100000200040000" + "00" * 12)
    )


def gnu_tar(directory: Path, *options: str) -> bytes:
    """What GNU tar makes of a directory."""
    always = ("--sort=name", "--mtime=@1700000000", "--owner=root:0", "--group=users:100")
    return subprocess.run(
        ["tar", "-C", str(directory), *always, *options, "-c", "."], check=True, capture_output=True
    ).stdout


def docker(registry: Registry, repository: str, containerfile: str, files: Mapping[str, Path]) -> Digest:
    """Build with the Docker Engine and push; it makes v2s2 manifests."""
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as archive:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(containerfile.encode())
        archive.addfile(member, io.BytesIO(containerfile.encode()))
        for name, path in files.items():
            archive.add(path, name)
    image = f"{registry.host}/{repository}:built"
    label = "".join(f"{name}={value}" for name, value in labels().items())
    command("docker", "build", "--label", label, "--tag", image, "-", input=context.getvalue(),
            env={**os.environ, "DOCKER_BUILDKIT": "0"})  # fmt: skip
    command("docker", "push", image)
    command("docker", "rmi", image)
    return Digest.of(registry.manifest(repository, "built"))


def docker_one_layer(registry: Registry, repository: str, directory: Path) -> Digest:
    """The least that the Docker Engine builds."""
    write_files(directory / "files")
    return docker(registry, repository, "FROM scratch\nCOPY files /\n", {"files": directory / "files"})


def docker_many_layers(registry: Registry, repository: str, directory: Path) -> Digest:
    """Several layers, odd files, and all the fields that only Docker knows."""
    write_files(directory / "files")
    write_odd_tree(directory / "odd")
    (directory / "odd.tar").write_bytes(gnu_tar(directory / "odd", "--format=posix", "--xattrs"))
    (directory / "nothing").mkdir()
    containerfile = (
        "FROM scratch\nCOPY files /first\nADD odd.tar /odd\nCOPY nothing /\nENV A=b\n"
        f'COPY files/file-0 /zero\nCMD ["/bin/sh"]\n{_DOCKER_ONLY}'
    )
    files = {name: directory / name for name in ("files", "odd.tar", "nothing")}
    return docker(registry, repository, containerfile, files)


def docker_real_base(registry: Registry, repository: str, directory: Path) -> Digest:
    """A distribution with a shell, and a layer on it that a RUN made. Tens of megabytes."""
    containerfile = (
        f"FROM {os.environ['TEST_BASE_IMAGE']}\n"
        "RUN mkdir /work && cd /work && cp /bin/sh one && ln one two && touch empty && rm -r /etc/apt\n"
        "RUN true\n"
        f"{_DOCKER_ONLY}"
    )
    return docker(registry, repository, containerfile, {})


def buildah(
    registry: Registry,
    repository: str,
    directory: Path,
    containerfile: str,
    build: tuple[str, ...] = (),
    push: tuple[str, ...] = (),
) -> Digest:
    """Build with buildah and push; it makes OCI manifests."""
    (directory / "Containerfile").write_text(containerfile)
    name = f"localhost/{repository}"
    command("buildah", "build", "--quiet", "--timestamp=1700000000", *build, "--tag", name, str(directory))
    digest_file = directory / "digest"
    command("buildah", "push", "--tls-verify=false", f"--digestfile={digest_file}", *push, name,
            f"docker://{registry.host}/{repository}:built")  # fmt: skip
    command("buildah", "rmi", name)
    return Digest.parse(digest_file.read_text().strip())


def buildah_one_layer(registry: Registry, repository: str, directory: Path) -> Digest:
    """From scratch, one COPY, and an annotation of the manifest."""
    write_files(directory / "files")
    annotations = ("--annotation=org.opencontainers.image.title=one layer", "--annotation=example.key=ü")
    return buildah(registry, repository, directory, "FROM scratch\nCOPY files /\n", annotations)


def buildah_many_layers(
    registry: Registry, repository: str, directory: Path, *push: str, arch: str = "amd64"
) -> Digest:
    """Several layers, one of them with odd files."""
    write_files(directory / "files", arch)
    write_odd_tree(directory / "odd")
    (directory / "odd.tar").write_bytes(gnu_tar(directory / "odd", "--format=gnu"))
    containerfile = "FROM scratch\nCOPY files /first\nADD odd.tar /odd\nCOPY files/file-0 /zero\n"
    return buildah(registry, repository, directory, containerfile, ("--layers", f"--arch={arch}"), push)


def buildah_zstd(registry: Registry, repository: str, directory: Path) -> Digest:
    """Plain zstd layers."""
    return buildah_many_layers(registry, repository, directory, "--compression-format=zstd")


def buildah_uncompressed(registry: Registry, repository: str, directory: Path) -> Digest:
    """Layers that are tar streams as they are."""
    return buildah_many_layers(registry, repository, directory, "--disable-compression")


def buildah_zstd_chunked(registry: Registry, repository: str, directory: Path) -> Digest:
    """Already what it should become."""
    return buildah_many_layers(registry, repository, directory, "--compression-format=zstd:chunked")


def odd_tar_streams(registry: Registry, repository: str, directory: Path) -> Digest:
    """Layers by GNU tar in all its formats, and one with nothing in it."""
    write_odd_tree(directory / "odd")
    streams = (
        gnu_tar(directory / "odd", "--format=gnu"),
        gnu_tar(directory / "odd", "--format=posix", "--xattrs"),
        gnu_tar(directory / "odd/plain", "--format=ustar"),
        gnu_tar(directory / "odd/plain", "--format=v7"),
        bytes(1024),
        gnu_tar(directory / "odd/plain", "--blocking-factor=1"),
    )
    return registry.push(repository, handmade([(s, gzipped(s)) for s in streams]))


Layer = tuple[dict[str, Any], bytes]
"""A descriptor and the blob that it describes."""


def gzipped(stream: bytes) -> Layer:
    """A gzip layer."""
    blob = gzip.compress(stream, mtime=0)
    return images.descriptor(MediaType.OCI_LAYER_GZIP, blob), blob


def zstd_compressed(stream: bytes) -> Layer:
    """A plain zstd layer."""
    blob = subprocess.run(["zstd", "-c"], input=stream, capture_output=True, check=True).stdout
    return images.descriptor(MediaType.OCI_LAYER_ZSTD, blob), blob


def uncompressed(stream: bytes) -> Layer:
    """A layer that is the tar stream."""
    return images.descriptor(MediaType.OCI_LAYER, stream), stream


def handmade(layers: list[tuple[bytes, Layer]], **more: Any) -> HandmadeImage:
    """An OCI image of these tar streams in these forms."""
    config = images.config([str(Digest.of(stream)) for stream, _ in layers])
    manifest = images.manifest(config, [descriptor for _, (descriptor, _) in layers], **more)
    return HandmadeImage(manifest, config, tuple(blob for _, (_, blob) in layers))


def same_layer_twice(registry: Registry, repository: str, directory: Path) -> Digest:
    """The same layer twice, with another one between."""
    streams = [images.tar({name: hash_of(name).encode() * 500}) for name in ("a", "b")]
    layers = [(stream, gzipped(stream)) for stream in (streams[0], streams[1], streams[0])]
    return registry.push(repository, handmade(layers, annotations={"example.key": "value"}))


def mixed_compressions(registry: Registry, repository: str, directory: Path) -> Digest:
    """gzip, plain zstd, uncompressed and zstd:chunked layers in one image."""
    chunked = registry.document(repository, str(buildah_zstd_chunked(registry, repository, directory)))
    chunked_diff_ids = registry.blob(repository, chunked["config"]["digest"])
    streams = [images.tar({name: hash_of(name).encode() * 500}) for name in ("a", "b", "c")]
    forms = [
        form(stream) for form, stream in zip((gzipped, zstd_compressed, uncompressed), streams, strict=True)
    ]
    diff_ids = [
        *(str(Digest.of(stream)) for stream in streams),
        *json.loads(chunked_diff_ids)["rootfs"]["diff_ids"],
    ]
    config = images.config(diff_ids)
    manifest = images.manifest(config, [*(descriptor for descriptor, _ in forms), *chunked["layers"]])
    return registry.push(repository, HandmadeImage(manifest, config, tuple(blob for _, blob in forms)))


ALL: dict[str, Build] = {
    build.__name__: build
    for build in (
        docker_one_layer,
        docker_many_layers,
        buildah_one_layer,
        buildah_many_layers,
        buildah_zstd,
        buildah_uncompressed,
        odd_tar_streams,
        same_layer_twice,
        mixed_compressions,
    )
}
