"""The proof in processes of its own, as the command runs it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.fake_registry import FakeRegistry
from tests.tampering import DESCRIBED, Packed


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_the_workers_have_read_of_each_layer_is_reported(registry: FakeRegistry, jobs: int) -> None:
    names = ("chunks", "no-end", "large")
    config = images.config([DESCRIBED[name]["diffId"] for name in names])
    gzipped = [images.descriptor(MediaType.OCI_LAYER_GZIP, name.encode()) for name in names]
    chunked = [
        {key: DESCRIBED[name][key] for key in ("mediaType", "digest", "size", "annotations")}
        for name in names
    ]
    registry.blobs |= {str(Digest.of(blob)): blob for blob in (config, *(Packed.load(n).blob for n in names))}
    source, twin = (
        registry.reference(registry.add_manifest(images.manifest(config, layers)))
        for layers in (gzipped, chunked)
    )
    program = [sys.executable, "-m", "recompress", "verify", f"--jobs={jobs}", "--no-tls-verify"]
    ended = subprocess.run([*program, str(source), str(twin)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    for name in names:
        title = f"proof of {Packed.load(name).layer.digest.short}"
        # What makes a proof start, in the progress, is that a worker counted bytes of its layer.
        assert f"] {title}: started, " in ended.stderr
        assert f"] {title}: proven after " in ended.stderr
