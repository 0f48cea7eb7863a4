"""Having skopeo recompress an image, or copy it, and finding out why where it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from recompress import blobcache, limits, plan, skopeo
from recompress.errors import RecompressError, Unsupported, VerificationFailed, about
from recompress.image import Image
from recompress.layer import check_source, uncompressed_digest
from recompress.printable import counted
from recompress.progress import Reporter
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient, retrying
from recompress.reuse import Offer
from recompress.workspace import Workspace

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Copy:
    """One image to be recompressed: read by `source_client`, pushed to the repository of `destination`.

    `reference` is where skopeo reads it, which may be another manifest with the same layers and config. With
    `is_exact` the image is not recompressed but copied as it is.
    """

    source: Image
    reference: Reference
    source_client: RepositoryClient
    destination: RepositoryClient
    reporter: Reporter
    level: int | None
    jobs: int
    is_exact: bool = False

    def run(self, space: Workspace, attempts: int) -> skopeo.Copied:
        """Run skopeo, at most `attempts` times, until it has pushed the image by its digest.

        Raises what the registry answers where that is why skopeo fails; Unsupported for an image of which no
        zstd:chunked one can be made; SkopeoFailed where all is well but skopeo fails.
        """
        source, repository = self.source, self.destination.repository
        command = (
            skopeo.exact_copy_command(self.reference, repository, space, self.jobs)
            if self.is_exact
            else skopeo.copy_command(self.reference, repository, space, self.level, self.jobs)
        )
        on_layer = _layer_progress(source, self.reporter)
        failed: list[str] = []
        is_checked = False

        def attempt() -> skopeo.Copied:
            nonlocal is_checked
            try:
                return skopeo.copy(command, space, on_layer)
            except skopeo.SkopeoFailed as error:
                log.debug("%s", error)
                self._ask_registry()
                if not self.is_exact and (error.words in failed or not is_checked):
                    self.reporter.step("reading the source's layers, to find what skopeo failed on")
                    check_layers(self.source_client, self.source)
                    is_checked = True
                if not self.is_exact and self._offer_what_was_pushed(space, attempts):
                    # It got further than before, so the next failure is another one, whatever its message.
                    failed.clear()
                elif error.words in failed:
                    # Twice the same message, with a registry that answers well: it would fail a third time.
                    error.temporary = False
                elif error.words:
                    failed.append(error.words)
                raise

        return retrying(attempts, attempt)

    def _offer_what_was_pushed(self, space: Workspace, attempts: int) -> bool:
        """Tell skopeo which layers it pushed before it failed, or it would compress and send them again.

        What they hold is found by reading them back. They are proven after the copy, as all others are.
        Returns whether there are any that were not offered before.
        """
        source, repository = self.source, self.destination.repository
        try:
            database = blobcache.opened(space)
            layers = blobcache.pushed(database, repository)
            if layers:
                self.reporter.step(
                    f"reading back {counted(len(layers), 'layer')} that skopeo pushed before it failed"
                )
            offers = {}
            for layer in layers:
                # What was just pushed is not everywhere at once.
                self.destination.expect(layer.digest)
                try:
                    diff_id = retrying(attempts, partial(self._diff_id, layer.digest))
                except RecompressError as error:
                    log.debug("skopeo copies this layer again: %s", error)
                    continue
                if diff_id in source.config.diff_ids:
                    offers[diff_id] = Offer(diff_id, layer, repository, str(source.reference))
            blobcache.fill(database, ((b.digest, offers[d]) for d, b in source.layers if d in offers))
        except blobcache.UnknownCache as error:
            log.debug("skopeo copies all layers again: %s", error)
            return False
        return bool(offers)

    def _diff_id(self, pushed: Digest) -> Digest:
        """What a layer that skopeo pushed decompresses to. Raises Unsupported where no twin may have it."""
        layers = self.source.manifest.layers
        most = max(map(limits.most_compressed, layers)), max(map(limits.most_uncompressed, layers))
        with self.destination.blob(pushed) as chunks:
            return uncompressed_digest(chunks, *most)

    def _ask_registry(self) -> None:
        # What stands in the way is asked of the registry: its answers have status codes, skopeo's messages
        # do not. A question that used up its tries ends this, too.
        plan.read(self.source_client, self.source.digest, self.source.reference)
        for layer in self.source.manifest.layers:
            self.source_client.stat_blob(layer.digest)
        self.destination.check_push()
        self.destination.try_upload()


def check_layers(client: RepositoryClient, source: Image, of: Digest | None = None) -> None:
    """Read the layers of the source once, or only those of one diff_id.

    Raises Unsupported, with the path, where no zstd:chunked layer can be made of one; VerificationFailed
    where one is not what the image's config says.
    """
    for diff_id, layer in source.layers:
        if of in (None, diff_id):
            with (
                about(str(source.reference), (Unsupported, VerificationFailed)),
                client.blob(layer.digest) as chunks,
            ):
                check_source(chunks, layer, diff_id, limits.most_uncompressed(layer))


def _layer_progress(source: Image, reporter: Reporter) -> Callable[[skopeo.LayerEvent], None]:
    sizes = {layer.digest.short: layer.size for layer in source.manifest.layers}

    def on_layer(event: skopeo.LayerEvent) -> None:
        title = f"layer {event.layer}"
        match event:
            case skopeo.LayerProgress(layer, done):
                reporter.update(title, done, sizes.get(layer, done))
            case skopeo.LayerEnd(layer):
                # skopeo names a layer that it takes over by the digest it has at the destination.
                reporter.finish(title, "done" if layer in sizes else "reused")

    return on_layer
