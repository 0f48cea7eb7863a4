#!/usr/bin/env python3
"""Make the layers in this directory with the real skopeo: `make_layers.py [NAME…]`.

Each case below is a tar stream. skopeo turns an image that has it as its only layer into zstd:chunked, and
what comes out is kept as NAME.layer, with its descriptor and diff_id in layers.json. The fixtures here were
made with skopeo 1.22.0 (Debian forky). Nothing but skopeo and Python is needed; no registry.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

HERE = Path(__file__).parent
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
CONFIG = "application/vnd.oci.image.config.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
END = bytes(1024)
Format = Literal[0, 1, 2]
TIME = 1_700_000_000
CAPABILITY = b"\1\0\0\2" + b"\0\x20\0\0" + bytes(12)  # cap_net_raw=ep


def info(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mtime = TIME
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def archive(format: Format, *members: tuple[tarfile.TarInfo, bytes], end: bytes = END) -> bytes:
    parts = []
    for member, content in members:
        if content:
            member.size = len(content)
        parts += [member.tobuf(format, "utf-8", "surrogateescape"), content, bytes(-len(content) % 512)]
    return b"".join(parts) + end


def header(
    name: bytes, *, kind: bytes = b"0", size: int = 0, magic: bytes = b"ustar\x0000", **more: bytes
) -> bytes:
    """A header written by hand, for what tarfile does not write."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:136] = b"0000644\x000000000\x000000000\x00%011o\x00" % size
    block[136:148] = b"%011o\x00" % TIME
    block[156:157] = kind
    block[257:265] = magic
    for offset, field in ((int(key[1:]), value) for key, value in more.items()):
        block[offset : offset + len(field)] = field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\x00 " % sum(block)
    return bytes(block)


def kinds() -> bytes:
    return archive(
        tarfile.USTAR_FORMAT,
        (info("./", tarfile.DIRTYPE, mode=0o755), b""),
        (info("./dir/", tarfile.DIRTYPE, mode=0o1777, uid=1000, gid=100), b""),
        (info("./dir/file", mode=0o640, uname="somebody", gname="users"), b"content of a file\n"),
        (info("./dir/second", mode=0o600), b"content of another file\n"),
        (info("./dir/setuid", mode=0o4755), b"#!/bin/sh\n" * 60),
        (info("./dir/empty"), b""),
        (info("./dir/hard", tarfile.LNKTYPE, linkname="./dir/file"), b""),
        (info("./dir/soft", tarfile.SYMTYPE, linkname="../../etc/passwd", mode=0o777), b""),
        (info("./dev/null", tarfile.CHRTYPE, mode=0o666, devmajor=1, devminor=3), b""),
        (info("./dev/sda", tarfile.BLKTYPE, mode=0o660, devmajor=8, devminor=0, gid=6), b""),
        (info("./dev/fifo", tarfile.FIFOTYPE), b""),
        (info("./dir/.wh.gone"), b""),
        (info("./dir/.wh..wh..opq"), b""),
        (info("/absolute"), b"x"),
        (info("../outside"), b"y" * 512),
    )


def pax() -> bytes:
    xattrs = {"SCHILY.xattr.security.capability": CAPABILITY.decode(), "SCHILY.xattr.user.empty": ""}
    return archive(
        tarfile.PAX_FORMAT,
        (info("n" * 90 + "/" + "m" * 60 + "/" + "o" * 150), b"long name"),
        (info("p" * 120, tarfile.SYMTYPE, linkname="q" * 300), b""),
        (
            info("ping", pax_headers=xattrs),
            b"p",
        ),
        (info("xattrs", tarfile.DIRTYPE, pax_headers={"SCHILY.xattr.user.ä<&>": "ß", "comment": "c"}), b""),
        (info("times", pax_headers={"mtime": "1700000000.123456789", "atime": "1.5", "ctime": "-1.5"}), b"t"),
        (info("before-1970", mtime=-86400), b"t"),
        (info("at-1970", mtime=0), b"t"),
        (info("big-ids", uid=4_000_000_000, gid=3_000_000), b"b"),
        (info('naïve ☃ 😀 <html> & "quoted" \\ \u2028 \x7f \t'), b"utf-8"),
    )


def gnu() -> bytes:
    return archive(
        tarfile.GNU_FORMAT,
        (info("n" * 150 + "/" + "m" * 150), b"long name"),
        (info("l" * 120, tarfile.LNKTYPE, linkname="n" * 150 + "/" + "m" * 150), b""),
        (info("big-ids", uid=4_000_000_000, gid=3_000_000), b"b"),
        (info("before-1970", mtime=-86400), b"t"),
        end=header(b"times", magic=b"ustar  \0", o345=b"%011o\0" % 17, o357=b"%011o\0" % 18)
        + header(b"go-before-1.8", magic=b"ustar  \0", o345=b"prefix/of/go")
        + END,
    )


def old() -> bytes:
    """STAR headers, and V7 ones without a magic, where type NUL is a file or, with a slash, a directory."""
    v7 = bytes(8)
    return (
        header(b"dir/", kind=b"\0", magic=v7)
        + header(b"dir/file", kind=b"\0", magic=v7, size=3)
        + b"abc".ljust(512, b"\0")
        + header(b"name", o345=b"star", o476=b"%011o " % 5, o488=b"%011o " % 6, o508=b"tar\0")
        + header(b"spaces", o100=b"   644 \0", o108=b"     0 \0")
        + END
    )


def chunks() -> bytes:
    random_bytes = random.Random(5).randbytes
    holes = b"a" * 100 + bytes(5000) + b"b" * 3000 + bytes(1024) + b"c" + bytes(1023) + b"d" + bytes(9000)
    return archive(
        tarfile.USTAR_FORMAT,
        (info("random"), random_bytes(24_000)),
        (info("holes"), holes),
        (info("again"), holes),
        (info("hole"), bytes(70_000)),
        (info("compressible"), b"".join(b"%d\n" % number for number in range(2000))),
    )


def large() -> bytes:
    """More than is decompressed at once, in one frame."""
    return archive(tarfile.USTAR_FORMAT, (info("large"), b"0123456789abcde\n" * 200_000), (info("end"), b"."))


def deep() -> bytes:
    """Enough entries that the table is read in pieces."""
    return archive(tarfile.USTAR_FORMAT, *((info(f"usr/share/doc/package-{n}"), b"x") for n in range(1200)))


def trailing() -> bytes:
    """Blocking factors and appended archives leave something behind the end marker."""
    file = archive(tarfile.USTAR_FORMAT, (info("file"), b"x" * 1000), end=b"")
    return file + END + bytes(1_500_000) + b"garbage"


def link_with_size() -> bytes:
    return archive(tarfile.USTAR_FORMAT, (info("file"), b"12345"), end=b"") + (
        header(b"link", kind=b"1", size=5, o157=b"file") + END
    )


def sparse_gnu() -> bytes:
    sparse = b"%011o\0%011o\0%011o\0%011o\0" % (0, 512, 4096, 0)
    return header(b"sparse", kind=b"S", size=512, magic=b"ustar  \0", o386=sparse, o483=b"%011o\0" % 4096) + (
        b"s" * 512 + END
    )


def sparse_pax() -> bytes:
    fields = {"major": "1", "minor": "0", "name": "sparse", "realsize": "4096"}
    headers = {f"GNU.sparse.{name}": value for name, value in fields.items()}
    content = b"2\n0\n512\n4096\n0\n".ljust(512, b"\0") + b"s" * 512
    return archive(tarfile.PAX_FORMAT, (info("GNUSparseFile.1/sparse", pax_headers=headers), content))


def global_pax() -> bytes:
    return tarfile.TarInfo.create_pax_global_header({"comment": "abc"}) + archive(
        tarfile.USTAR_FORMAT, (info("file"), b"x")
    )


def file(name: str = "file", end: bytes = END) -> bytes:
    return archive(tarfile.USTAR_FORMAT, (info(name), b"x" * 700), end=end)


CASES: dict[str, Callable[[], bytes]] = {
    "kinds": kinds,
    "pax": pax,
    "gnu": gnu,
    "old": old,
    "chunks": chunks,
    "large": large,
    "deep": deep,
    "trailing": trailing,
    "empty": lambda: END,
    "no-bytes": lambda: b"",
    "no-end": lambda: file(end=b""),
    "half-end": lambda: file(end=bytes(512)),
    # What skopeo compresses without a word, and clients cannot pull.
    "not-utf-8": lambda: file("caf\udce9"),
    "link-with-size": link_with_size,
    "garbage-at-end": lambda: file(end=END + b"garbage"),
    "two-archives": lambda: file() + file("other"),
    "zeros-at-end": lambda: file(end=END + bytes(700)),
    "same-file-absolute": lambda: file(end=b"") + file("/file"),
    # What skopeo compresses without a word into another tar stream.
    "sparse-pax": sparse_pax,
    "no-padding": lambda: file(end=b"")[:-100],
}

REFUSED: dict[str, Callable[[], bytes]] = {
    "sparse-gnu": sparse_gnu,
    "global-pax": global_pax,
    "duplicate": lambda: file(end=b"") + file("./file"),
    "zero-then-garbage": lambda: file(end=bytes(512)) + file(),
    "type-7": lambda: header(b"contiguous", kind=b"7") + END,
}
"""What skopeo fails to compress, so that there is no fixture."""


def put(layout: Path, content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs/sha256").mkdir(parents=True, exist_ok=True)
    (layout / "blobs/sha256" / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def image(layout: Path, tar: bytes, layer: bytes) -> str:
    diff_id = "sha256:" + hashlib.sha256(tar).hexdigest()
    config = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, **put(layout, json.dumps(config).encode())},
        "layers": [{"mediaType": LAYER, **put(layout, layer)}],
    }
    entry = {"mediaType": MANIFEST, **put(layout, json.dumps(manifest).encode())}
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return diff_id


def recompress(tar: bytes, packed: bytes | None = None) -> tuple[bytes, dict[str, object]]:
    """What skopeo makes of a layer, packed with gzip unless given otherwise, and its descriptor.

    Raises CalledProcessError where skopeo fails.
    """
    with tempfile.TemporaryDirectory() as directory:
        source, result = Path(directory, "source"), Path(directory, "result")
        source.mkdir()
        diff_id = image(source, tar, gzip.compress(tar, mtime=0) if packed is None else packed)
        flags = ["--quiet", "--dest-compress-format", "zstd:chunked", "--dest-force-compress-format"]
        subprocess.run(["skopeo", "copy", *flags, f"oci:{source}", f"oci:{result}"], check=True)
        index = json.loads((result / "index.json").read_bytes())
        (layer,) = json.loads(blob(result, index["manifests"][0]["digest"]))["layers"]
        return blob(result, layer["digest"]), {"diffId": diff_id, **layer}


def blob(layout: Path, digest: str) -> bytes:
    return (layout / "blobs/sha256" / digest.removeprefix("sha256:")).read_bytes()


def main(names: list[str]) -> Iterator[str]:
    described = HERE / "layers.json"
    layers = json.loads(described.read_bytes()) if described.exists() else {}
    for name, make in (CASES | REFUSED).items():
        if names and name not in names:
            continue
        try:
            content, layer = recompress(make())
        except subprocess.CalledProcessError:
            yield f"{name}: skopeo fails"
            continue
        if name in CASES:
            (HERE / f"{name}.layer").write_bytes(content)
            layers[name] = layer
        yield f"{name}: {len(content)} bytes"
    described.write_text(json.dumps(layers, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    for line in main(sys.argv[1:]):
        print(line)
