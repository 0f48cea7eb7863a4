"""Images by the real skopeo, pulled by the real podman in each form in which a client may get them."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from recompress.errors import Unsupported
from recompress.manifest import Descriptor, MediaType
from recompress.reference import Digest
from tests import images
from tests.differential.entries import Entry, stream
from tests.differential.layers import Image
from tests.differential.trees import Tree, read_tree
from tests.images import HandmadeImage
from tests.integration import sources
from tests.integration.clients import Ended, Podman, command
from tests.integration.command import Outcome, recompress
from tests.integration.registries import Registry
from tests.tampering import Packed

REPOSITORY = "differential/layers"
BASE = stream(
    [
        Entry("dir", b"etc/", mode=0o755),
        Entry("reg", b"etc/a", content=b"of the base\n"),
        Entry("dir", b"opt/", mode=0o755),
        Entry("dir", b"usr/", mode=0o755),
        Entry("dir", b"usr/bin/", mode=0o755),
    ]
)
"""The layer below those under test, in all images."""

_REQUESTS = 4
"""How many requests to the registry are made at a time."""

_PULLS = 4
"""How many clients pull at a time."""

Stack = tuple[bytes, ...]
"""The layers of an image above the base, as tar streams."""


def stack_of(image: Image) -> Stack:
    """The layers of an image made by chance, as tar streams."""
    return tuple(layer.stream for layer in image)


@dataclass(frozen=True, slots=True)
class Pulled:
    """What came of pulling an image: a tree for each layer of its stack, or why the pull failed.

    `partially` says of each layer whether the client pulled it partially.
    """

    trees: tuple[Tree, ...]
    partially: tuple[bool, ...]
    error: str | None = None


class Form(NamedTuple):
    """A way to get an image: by whom, as what, which is for the caller to say, and by what kind of client."""

    is_rootless: bool
    what: str
    pulls_partially: bool = True


@dataclass(frozen=True, slots=True)
class Laboratory:
    """A registry, and podman with a new image store for each form of each batch of images."""

    registry: Registry

    def compress(self, streams: Sequence[bytes]) -> dict[bytes, Packed | None]:
        """Each layer as skopeo makes it zstd:chunked; None for those that it fails on."""
        wanted = list(dict.fromkeys(streams))
        packed = self._compress(wanted)
        if packed is not None:
            return dict(zip(wanted, packed, strict=True))
        if len(wanted) == 1:
            return {wanted[0]: None}
        middle = len(wanted) // 2
        return {**self.compress(wanted[:middle]), **self.compress(wanted[middle:])}

    def _compress(self, streams: Sequence[bytes]) -> list[Packed] | None:
        layers = [gzipped(stream) for stream in streams]
        source = _image(streams, layers)
        self.push([source])
        repository, tag = f"docker://{self.registry.host}/{REPOSITORY}", uuid.uuid4().hex
        ended = subprocess.run(
            ["skopeo", "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false", "--format=oci",
             "--dest-compress-format=zstd:chunked", "--dest-force-compress-format", "--dest-compress-level=1",
             f"{repository}@{source.digest}", f"{repository}:{tag}"],
            capture_output=True, check=False,
        )  # fmt: skip
        if ended.returncode:
            return None
        with ThreadPoolExecutor(_REQUESTS) as pool:
            found = pool.map(self._chunked, streams, self.registry.document(REPOSITORY, tag)["layers"])
            return list(found)

    def _chunked(self, stream: bytes, layer: Mapping[str, Any]) -> Packed:
        digest = Digest.parse(layer["digest"])
        described = Descriptor(layer["mediaType"], digest, layer["size"], layer["annotations"])
        return Packed(described, Digest.of(stream), self.registry.blob(REPOSITORY, str(digest)))

    def run(self, stack: Stack) -> list[bool]:
        """Whether the twin that `recompress run` makes of what was pushed lets layers be pulled partially."""
        ended = self._run(stack).succeeded()
        layers = self.registry.document(REPOSITORY, ended.report["twin_digest"])["layers"]
        return ["annotations" in layer for layer in layers[1:]]

    def run_fails(self, stack: Stack) -> str:
        """Why `recompress run` makes no twin, where that is exit 5; else all that it says."""
        ended = self._run(stack)
        return ended.error if ended.code == Unsupported.exit_code else f"exit {ended.code}: {ended.err}"

    def _run(self, stack: Stack) -> Outcome:
        reference = f"{self.registry.host}/{REPOSITORY}@{gzip_image(stack).digest}"
        return recompress("run", reference, "--no-tls-verify", "--no-reuse", "--level=1", "--output=json")

    def push(self, pushed: Sequence[HandmadeImage]) -> None:
        """Push images, each blob once: the registry fails where two upload the same at the same time."""
        self.push_blobs({blob for image in pushed for blob in (image.config, *image.layers)})
        with ThreadPoolExecutor(_REQUESTS) as pool:
            list(pool.map(self._push_manifest, pushed))

    def push_blobs(self, blobs: Set[bytes]) -> None:
        """Push blobs."""
        with ThreadPoolExecutor(_REQUESTS) as pool:
            list(pool.map(lambda blob: self.registry.push_blob(REPOSITORY, blob), blobs))

    def _push_manifest(self, image: HandmadeImage) -> None:
        self.registry.push_manifest(REPOSITORY, image.manifest, MediaType.OCI_MANIFEST)

    def pull(self, forms: Mapping[Form, Mapping[Stack, HandmadeImage]]) -> dict[Form, dict[Stack, Pulled]]:
        """Pull the images of each form into a store of their own, all forms at the same time."""
        self.push(list({image.digest: image for form in forms.values() for image in form.values()}.values()))
        with ThreadPoolExecutor(_PULLS) as pool:
            return dict(zip(forms, pool.map(self._pull, forms, forms.values()), strict=True))

    def _pull(self, form: Form, pushed: Mapping[Stack, HandmadeImage]) -> dict[Stack, Pulled]:
        if not pushed:
            return {}
        repository = f"{self.registry.host}/{REPOSITORY}"
        with _podman(form) as podman:
            # One that fails does not keep it from pulling the others.
            names = [f"{repository}@{image.digest}" for image in pushed.values()]
            ended = podman("pull", "--quiet", "--tls-verify=false", *names)
            found = _found(podman.store)
            return {
                stack: found.get(str(image.digest)) or Pulled((), (), _error(ended.err, image.digest))
                for stack, image in pushed.items()
            }


@lru_cache(1000)
def gzipped(layer: bytes) -> sources.Layer:
    """The descriptor and the blob of a layer as the gzip image has it."""
    blob = gzip.compress(layer, 1, mtime=0)
    return images.descriptor(MediaType.OCI_LAYER_GZIP, blob), blob


def gzip_image(stack: Stack) -> HandmadeImage:
    """The gzip image with these layers on the base."""
    return _image((BASE, *stack), [gzipped(stream) for stream in (BASE, *stack)])


def twin_image(
    stack: Stack, packed: Mapping[bytes, Packed | None], partially: Sequence[bool]
) -> HandmadeImage:
    """The zstd:chunked image of it, where only those layers have annotations that are to be pulled partially.

    Its layers are in the registry.
    """
    layers = []
    for layer, keeps in zip((BASE, *stack), (any(partially), *partially), strict=True):
        made = packed[layer]
        assert made is not None
        annotations = {"annotations": made.layer.annotations} if keeps else {}
        layers.append(images.descriptor(MediaType.OCI_LAYER_ZSTD, made.blob, **annotations))
    return HandmadeImage(*_manifest((BASE, *stack), layers), ())


def _image(streams: Sequence[bytes], layers: Sequence[sources.Layer]) -> HandmadeImage:
    described = [descriptor for descriptor, _ in layers]
    return HandmadeImage(*_manifest(streams, described), tuple(blob for _, blob in layers))


def _manifest(streams: Sequence[bytes], layers: Sequence[Mapping[str, Any]]) -> tuple[bytes, bytes]:
    """A manifest and its config; images of the same streams have one ID, in whatever form."""
    config = images.config([str(Digest.of(stream)) for stream in streams])
    return images.manifest(config, layers), config


@contextmanager
def _podman(form: Form) -> Iterator[Podman]:
    """A podman without images. Its store is on a volume, where overlays can be mounted."""
    directory = Path("/var/lib/containers") / uuid.uuid4().hex
    directory.mkdir()
    try:
        yield _Client(directory / "store", form)
    finally:
        shutil.rmtree(directory)


@dataclass(frozen=True, slots=True)
class _Client(Podman):
    """podman as it gets images of a form."""

    form: Form

    def __call__(self, *arguments: str) -> Ended:
        """Run a command."""
        start: tuple[str | Path, ...] = ()
        if self.form.is_rootless:
            start = ("python3", "-m", "tests.differential.rootless", self.store.parent)
        if not self.form.pulls_partially:
            start = (*start, "env", f"CONTAINERS_STORAGE_CONF={_without_partial_pulls(self.store.parent)}")
        return command(*start, "podman", f"--root={self.store}", f"--runroot={self.store}-run", *arguments)


def _without_partial_pulls(directory: Path) -> Path:
    file = directory / "storage.conf"
    conf = Path("/etc/containers/storage.conf").read_text()
    assert 'enable_partial_images = "true"' in conf
    file.write_text(conf.replace('enable_partial_images = "true"', 'enable_partial_images = "false"'))
    return file


def _found(store: Path) -> dict[str, Pulled]:
    """What is in a store, by the digest of the manifest."""
    # Where the very first layer fails, there is neither file.
    pulled = _listed(store / "overlay-images/images.json")
    layers = {layer["id"]: layer for layer in _listed(store / "overlay-layers/layers.json")}
    found = {}
    for image in pulled:
        chain = []
        at = image["layer"]
        while parent := layers[at].get("parent"):
            chain.append(layers[at])
            at = parent
        chain.reverse()
        found[image["digest"]] = Pulled(
            tuple(read_tree(store / "overlay" / layer["id"] / "diff") for layer in chain),
            tuple("toc-digest" in layer for layer in chain),
        )
    return found


def _listed(file: Path) -> list[dict[str, Any]]:
    return json.loads(file.read_bytes()) if file.exists() else []


def _error(err: str, digest: Digest) -> str:
    """What podman says of an image that it could not pull."""
    said = [line for line in err.splitlines() if str(digest) in line and "rror" in line]
    return said[-1].partition(str(digest))[2].lstrip(": ") if said else err[-500:]
