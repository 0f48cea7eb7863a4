"""The images of an index, and which of them is whose twin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from recompress import plan
from recompress.errors import Artifact, Unsupported
from recompress.image import Image
from recompress.manifest import INDEX_ZSTD_ANNOTATION, Descriptor, Index, Manifest, Platform
from recompress.reference import Reference
from recompress.registry import RepositoryClient


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

    Raises Unsupported for what is no image, or an index in the index; VerificationFailed for what clients
    read differently.
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
    for entry in filter(plan.is_image, index.manifests):
        at = replace(reference, tag=None, digest=entry.digest)
        try:
            manifest = plan.read(client, entry.digest, at)
            if isinstance(manifest, Index):
                plan.check_no_artifact(manifest, at)
                raise Unsupported(f"{reference} contains an index, {entry.digest}: name its manifests")
            image = plan.check_image(client, manifest, at)
        except Artifact:
            # Not all artifacts say in the index what they are.
            continue
        yield Member(replace(image, listed=entry.platform), reference, entry)
