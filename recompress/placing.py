"""The tags of a result: none is moved away from its source, and none is named that does not exist."""

from __future__ import annotations

import logging

from recompress import plan, twin
from recompress.errors import NOTHING_THERE, NotFound, Refused, UsageError
from recompress.image import Image
from recompress.manifest import Index
from recompress.reference import Digest, Reference
from recompress.registry import RepositoryClient

log = logging.getLogger(__name__)


def check_tag(client: RepositoryClient, to: Reference, source: Image, *, may_be_source: bool) -> None:
    """Raise UsageError where the tag of `to` names the source or an index that has it.

    Clients that cannot read zstd pull the image by that name, which would become the twin's. A Docker v2s2
    source is the same image to them where it is an OCI one. With `may_be_source` the tag may name the source
    itself, but no such index.
    """
    if to.tag is None:
        return
    try:
        found = plan.read(client, to.tag, to)
    except NOTHING_THERE as error:
        # It is not there, or no image: nothing is lost. Some registries refuse what is not there, and whether
        # pushing is refused is asked next.
        log.debug("%s names no image that it would be taken away from: %s", to, error)
        return
    own = {source.digest, Digest.of(twin.as_oci(source.manifest))}
    is_index = isinstance(found, Index)
    named = {entry.digest for entry in found.manifests} if isinstance(found, Index) else {found.digest}
    if not named & own or (may_be_source and not is_index):
        return
    raise UsageError(
        f"--to {to}: this tag names {'an index with the image' if is_index else 'the image'} "
        f"{source.reference}, and would be moved away from it to the twin, which old clients cannot pull: "
        "choose another tag"
    )


def existing_tag(client: RepositoryClient, image: Reference, source: Digest) -> str | None:
    """The tag that an image is named with, beside its digest; None, with a warning, where it names another.

    It names this one where it is on what `image` says, or on `source`, the manifest of it for a platform.
    """
    if image.tag is None:
        return None
    try:
        found = Digest.of(client.manifest(image.tag).content)
    except NotFound:
        log.warning("the results name no tag: there is no %s:%s", image.repository, image.tag)
        return None
    except Refused as error:
        # The image itself could be read: this tag is there, or it is another's to say that it is not.
        log.debug("could not check whether %s exists: %s", image, error)
        return image.tag
    if found not in (image.digest, source):
        log.warning("the results name no tag: %s:%s is another image", image.repository, image.tag)
        return None
    return image.tag
