"""The images of an index, and which of them is whose twin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from recompress import plan
from recompress.errors import Artifact, NotFound, Unsupported, VerificationFailed
from recompress.image import Image
from recompress.manifest import INDEX_ZSTD_ANNOTATION, Descriptor, Index, Manifest, Platform
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient

_MOST_IMAGES = 256
"""Each is kept with its manifest and its config, which can be 4 MB each."""


@dataclass(frozen=True, slots=True)
class Member:
    """An image, what it was named by, and its entry where that is an index."""

    image: Image
    named: Reference
    entry: Descriptor | None = None

    @property
    def is_marked(self) -> bool:
        """Whether its entry has the annotation by which clients choose a zstd image."""
        return self.entry is not None and INDEX_ZSTD_ANNOTATION in self.entry.annotations

    @property
    def is_twin(self) -> bool:
        """Whether it is there for clients that read zstd."""
        return self.image.manifest.has_zstd or self.is_marked

    @property
    def platform(self) -> Platform:
        """What clients choose it by: linux/arm64 and linux/arm64/v8 are one platform to them."""
        return plan.normalized(self.image.platform)


def read(client: RepositoryClient, found: Manifest | Index, reference: Reference) -> tuple[Member, ...]:
    """The images in an index, in its order, without attestations and artifacts; or the one that is there.

    What an entry says of itself does not matter to clients: containers/image looks at its platform, its
    annotation for zstd and its place (oci_index.go, chooseInstance). Raises Unsupported for what is no image,
    for an index in the index and for too many images; VerificationFailed for what clients read differently,
    and for an image whose entry says that it is none.
    """
    if isinstance(found, Manifest):
        at = reference.with_digest(found.digest)
        return (Member(plan.check_image(client, found, at), at),)
    return tuple(_members(client, found, reference))


def sources_of(twin: Member, members: Iterable[Member]) -> list[Member]:
    """The images whose twin it can be: by the config, else by the platform; the likeliest first."""
    gzip = [member for member in members if not member.is_twin]
    same_platform = [member for member in gzip if member.platform == twin.platform]
    same_config = [member for member in gzip if member.image.config.digest == twin.image.config.digest]
    return [member for member in same_config if member in same_platform] or same_config or same_platform


def _members(client: RepositoryClient, index: Index, reference: Reference) -> Iterator[Member]:
    images: dict[Digest, Image | None] = {}
    for entry in index.manifests:
        if plan.is_for_nobody(entry):
            continue
        at = replace(reference, tag=None, digest=entry.digest)
        if entry.digest not in images:
            if len(images) == _MOST_IMAGES:
                raise Unsupported(
                    f"{reference} has more than {_MOST_IMAGES} images: name two of its manifests"
                )
            try:
                images[entry.digest] = _image(client, at, reference)
            except NotFound:
                if plan.is_image(entry):
                    raise
                # An attestation that was left behind when the index was copied.
                continue
        image = images[entry.digest]
        if image is None:
            continue
        if not plan.is_image(entry):
            raise VerificationFailed(
                f"{at} is an image, but its entry in {reference} says that it is not: clients can choose it"
            )
        yield Member(replace(image, listed=entry.platform), reference, entry)


def _image(client: RepositoryClient, at: Reference, index: Reference) -> Image | None:
    """The image at a reference; None for an artifact: not all of them say in the index what they are."""
    try:
        manifest = plan.read(client, at.selector, at)
        if isinstance(manifest, Index):
            plan.check_no_artifact(manifest, at)
            raise Unsupported(f"{index} has an index in it, {at.digest}: name its manifests")
        return plan.check_image(client, manifest, at)
    except Artifact:
        return None
