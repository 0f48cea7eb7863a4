"""Images that hosts boot from, whose clients are not podman and may not read zstd."""

from __future__ import annotations

import logging

from recompress.image import Image

log = logging.getLogger(__name__)


def warn(image: Image) -> None:
    """Warn where the labels of an image say that bootc or rpm-ostree pull it.

    Before ostree-rs-ext 0.13.4 of 2024 these fail with "Unhandled layer type".
    """
    if labels := sorted(filter(_is_of_hosts, image.config.labels)):
        log.warning(
            "%s has the label %s: bootc and rpm-ostree from before mid-2024 cannot read zstd layers, and may "
            "pick them from an index: let such hosts pull the gzip image by its digest or a tag of its own",
            *(image.reference, ", ".join(labels)),
        )


def _is_of_hosts(label: str) -> bool:
    return label == "containers.bootc" or label.startswith("ostree.")
