"""Layers as real tools write them: builders, tar programs, and what puts files into images without them."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path

from recompress.reference import Digest
from tests.data.make_layers import CAPABILITY
from tests.differential.pulls import Stack
from tests.integration.registries import Registry
from tests.integration.sources import command, docker, gnu_tar, hash_of, write_files, write_odd_tree

REPOSITORY = "differential/tools"
_BUSYBOX = Path("/usr/bin/busybox")
_RECORDED = Path(__file__).parents[1] / "data/tools"
_CONTAINERFILE = """
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "sh", "-c", "/bin/busybox --install -s /bin && mkdir -p /etc/conf.d /tmp && \
 mkdir -p /srv/www/old && echo x >/etc/conf.d/app.conf && chmod 1777 /tmp && ln -s /srv /tmp/link"]
RUN ["/bin/sh", "-c", "rm -r /srv/www && mkdir -p /srv/www/new && ln /etc/conf.d/app.conf /srv/hard && \
 mkdir /var && ln -s /srv /var/srv && chown -h 1000:1000 /var/srv && chown -R 1000:1000 /srv/www"]
RUN ["/bin/sh", "-c", "rm /srv/hard; echo y >/etc/conf.d/app.conf"]
COPY tree /opt/tree
ADD tree.tar /opt/unpacked
RUN ["/bin/sh", "-c", "mv /opt/tree /opt/moved && chmod 4755 /opt/moved/setuid && mkfifo /opt/pipe"]
COPY busybox /usr/local/bin/one/file
"""


def tool_images(registry: Registry, directory: Path) -> dict[str, Stack]:
    """The layers of images by all tools that are here, by the tool and what it was given."""
    trees = _trees(directory / "trees")
    found: dict[str, Stack] = {
        f"{tool}, {name}": (stream,) for name, tree in trees.items() for tool, stream in _tars(tree)
    }
    for tool, images in (
        ("docker", _docker(registry, directory / "docker")),
        ("buildah", _buildah(directory / "buildah", trees["files"])),
        ("umoci", _umoci(directory / "umoci", trees)),
        ("crane", _crane(directory / "crane", trees)),
    ):
        found.update({f"{tool}, {name}": stack for name, stack in images})
    found.update(_recorded())
    return found


def _recorded() -> Iterator[tuple[str, Stack]]:
    """Layers of builders that are not here; how they were made is in tests/data/tools/README.md."""
    for name, tool in (
        ("BuildKit, a Containerfile", "buildkit"),
        ("jib, a Maven project", "jib"),
        ("ko, a Go program", "ko"),
    ):
        layers = sorted((_RECORDED / tool).glob("*.tar.xz"))
        yield name, tuple(lzma.decompress(layer.read_bytes()) for layer in layers)


def _trees(directory: Path) -> dict[str, Path]:
    """Directories with files: plain ones, all that a program may install, and what is legal but rare."""
    files, programs, odd = directory / "files", directory / "programs", directory / "odd"
    write_files(files / "etc/app")
    (files / "etc/link").symlink_to("app/file-1")
    for name in ("usr/bin", "usr/lib", "var/lib/app", "tmp", "home/user"):
        (programs / name).mkdir(parents=True)
    (programs / "tmp").chmod(0o1777)
    (programs / "bin").symlink_to("usr/bin")
    for number, mode in enumerate((0o755, 0o4755, 0o2755, 0o644, 0o600, 0o400)):
        (programs / f"usr/bin/{number}").write_text(hash_of(number) * 100 * number)
        (programs / f"usr/bin/{number}").chmod(mode)
    (programs / "usr/bin/hard").hardlink_to(programs / "usr/bin/1")
    (programs / "usr/lib/lib.so").symlink_to("lib.so.1")
    os.setxattr(programs / "usr/bin/0", "security.capability", CAPABILITY)
    os.setxattr(programs / "usr/bin/3", "user.note", b"a note")
    for path in (programs / "home/user", programs / "var/lib/app", programs / "usr/bin/4"):
        os.chown(path, 1000, 1000)
    (programs / "home/user/link").symlink_to("nowhere")
    os.lchown(programs / "home/user/link", 1000, 1000)
    write_odd_tree(odd)
    return {"files": files, "programs": programs, "odd": odd}


def _tars(tree: Path) -> Iterator[tuple[str, bytes]]:
    # ustar and v7 have no way to write long names: what does not fit is left out.
    for format in ("gnu", "posix", "ustar", "v7"):
        yield f"GNU tar {format}", _output("tar", "-C", str(tree), f"--format={format}", "-c", ".")
    with_all = ("--format=posix", "--xattrs", "--xattrs-include=*")
    yield "GNU tar with attributes", _output("tar", "-C", str(tree), *with_all, "-c", ".")
    names = sorted(path.name for path in tree.iterdir())
    for format in ("pax", "gnutar"):
        yield f"bsdtar {format}", _output("bsdtar", "-C", str(tree), f"--format={format}", "-cf", "-", ".")
    yield "bsdtar by names", _output("bsdtar", "-C", str(tree), "-cf", "-", *names)
    yield "busybox tar", _output(str(_BUSYBOX), "tar", "-C", str(tree), "-cf", "-", ".")
    yield "busybox tar by names", _output(str(_BUSYBOX), "tar", "-C", str(tree), "-cf", "-", *names)


def _output(*arguments: str) -> bytes:
    return subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout


def _docker(registry: Registry, directory: Path) -> Iterator[tuple[str, Stack]]:
    files = _context(directory)
    digest = docker(registry, REPOSITORY, _CONTAINERFILE, files)
    yield "many kinds of layers", _pulled(registry, digest, directory / "built")
    base = f"FROM {os.environ['TEST_BASE_IMAGE']}\nRUN rm -r /etc/apt && echo x >/etc/new\n"
    # What mmdebstrap wrote, where no registry is in reach; else what debuerreotype did.
    yield (
        "a distribution",
        _pulled(registry, docker(registry, REPOSITORY, base, {}), directory / "distribution"),
    )


def _context(directory: Path) -> Mapping[str, Path]:
    write_odd_tree(directory / "tree")
    # docker copies no pipe, and of the other it makes a deletion.
    for name in ("fifo", ".wh.gone"):
        (directory / "tree" / name).unlink()
    (directory / "tree.tar").write_bytes(gnu_tar(directory / "tree", "--format=posix"))
    return {"busybox": _BUSYBOX, "tree": directory / "tree", "tree.tar": directory / "tree.tar"}


def _pulled(registry: Registry, digest: Digest, directory: Path) -> Stack:
    image = f"docker://{registry.host}/{REPOSITORY}@{digest}"
    command("skopeo", "copy", "--quiet", "--src-tls-verify=false", image, f"oci:{directory}")
    return _streams(directory)


def _buildah(directory: Path, tree: Path) -> Iterator[tuple[str, Stack]]:
    for name, path in _context(directory).items():
        if not (directory / name).exists():
            shutil.copy(path, directory / name)
    (directory / "Containerfile").write_text(_CONTAINERFILE)
    for name, options in (("layers", ["--layers"]), ("one layer", ["--squash"])):
        image = f"localhost/differential-{name.replace(' ', '-')}"
        command("buildah", "build", "--quiet", "--isolation=chroot", *options, "--tag", image, str(directory))
        yield name, _pushed_by_buildah(image, directory / f"{name}.oci")
    container = command("buildah", "from", "scratch").strip()
    for step in ("/srv/www", "/opt/app/files"):
        command("buildah", "copy", "--quiet", container, str(tree), step)
        command("buildah", "commit", "--quiet", container, "localhost/differential-commit")
    command("buildah", "rm", container)
    yield "commit", _pushed_by_buildah("localhost/differential-commit", directory / "commit.oci")


def _pushed_by_buildah(image: str, directory: Path) -> Stack:
    command("buildah", "push", "--quiet", image, f"oci:{directory}")
    command("buildah", "rmi", "--force", image)
    return _streams(directory)


def _umoci(directory: Path, trees: Mapping[str, Path]) -> Iterator[tuple[str, Stack]]:
    layout, bundle = directory / "layout", directory / "bundle"
    image = f"--image={layout}:image"
    directory.mkdir()
    command("umoci", "init", f"--layout={layout}")
    command("umoci", "new", image)
    command("umoci", "unpack", image, str(bundle))
    for tree, other in pairwise([*trees.values(), None]):
        command("cp", "--archive", f"{tree}/.", str(bundle / "rootfs"))
        # umoci says that it is no name for a file.
        (bundle / "rootfs/.wh.gone").unlink(missing_ok=True)
        command("umoci", "repack", image, "--refresh-bundle", str(bundle))
        if other is None:
            for name in ("etc/app/file-1", "usr/bin/hard"):
                (bundle / "rootfs" / name).unlink()
            shutil.rmtree(bundle / "rootfs/var")
            command("umoci", "repack", image, "--refresh-bundle", str(bundle))
    yield "repack", _streams(layout)
    shutil.rmtree(layout)
    command("umoci", "init", f"--layout={layout}")
    command("umoci", "new", image)
    command("umoci", "insert", image, str(trees["programs"]), "/opt/programs")
    command("umoci", "insert", image, str(trees["files"] / "etc/app/file-1"), "/srv/deep/one")
    command("umoci", "insert", image, "--opaque", str(trees["files"]), "/opt/programs")
    command("umoci", "insert", image, "--whiteout", "/srv/deep/one")
    yield "insert", _streams(layout)


def _crane(directory: Path, trees: Mapping[str, Path]) -> Iterator[tuple[str, Stack]]:
    directory.mkdir()
    tars = []
    for name, tree in trees.items():
        tars.append(directory / f"{name}.tar")
        tars[-1].write_bytes(_output("tar", "-C", str(tree), "-c", *sorted(os.listdir(tree))))
    one = directory / "one.tar"
    one.write_bytes(_output("tar", "-C", str(trees["programs"]), "-c", "usr/bin/0"))
    layers = [f"--new_layer={tar}" for tar in (*tars, one)]
    command("crane", "append", *layers, "--new_tag=image:tag", f"--output={directory}/image.tar")
    command("skopeo", "copy", "--quiet", f"docker-archive:{directory}/image.tar", f"oci:{directory}/oci")
    yield "append", _streams(directory / "oci")


def _streams(layout: Path) -> Stack:
    """The layers of the only image in an OCI layout, without those that it has twice."""

    def blob(digest: str) -> bytes:
        return (layout / "blobs" / digest.replace(":", "/")).read_bytes()

    (image,) = json.loads((layout / "index.json").read_bytes())["manifests"]
    blobs = [blob(layer["digest"]) for layer in json.loads(blob(image["digest"]))["layers"]]
    return tuple(dict.fromkeys(gzip.decompress(b) if b[:2] == b"\x1f\x8b" else b for b in blobs))
