"""An image: a manifest and its config, both checked, and where they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from recompress.manifest import Config, Descriptor, Manifest, Platform
from recompress.reference import Digest, Reference


@dataclass(frozen=True, slots=True)
class Image:
    """An image manifest and its config; the source is one, and so is its twin.

    `listed` is the platform that an index has it under, where it was found in one. Who makes an image has
    checked that the config lists as many diff_ids as the manifest has layers.
    """

    reference: Reference
    manifest: Manifest
    config: Config
    listed: Platform | None = None

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return self.manifest.digest

    @property
    def platform(self) -> Platform:
        """The platform, as config and index say together: older builders write no variant into the config.

        Where they differ it is as the index says, by which clients choose.
        """
        own = self.config.platform
        return self.listed.completed(own) if self.listed else own

    @property
    def layers(self) -> Iterator[tuple[Digest, Descriptor]]:
        """The layers in their order, each with its diff_id."""
        return zip(self.config.diff_ids, self.manifest.layers, strict=True)
