"""Layers of which a partial pull would make other files: in the twin without the annotations for one."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from typing import Any

import pytest

from recompress.manifest import CHUNKED_ANNOTATIONS
from recompress.reference import Digest
from tests import images
from tests.images import HandmadeImage
from tests.integration import sources
from tests.integration.command import Outcome, recompress
from tests.integration.conftest import Run
from tests.integration.registries import Registry
from tests.integration.twins import assert_twin, is_annotated

Push = Callable[[HandmadeImage], str]


def entry(name: str, kind: bytes, **fields: Any) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    for field, value in fields.items():
        setattr(member, field, value)
    return member


def stream(*entries: tarfile.TarInfo, behind: bytes = b"") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for member in entries:
            archive.addfile(member, io.BytesIO(bytes(member.size)))
    return file.getvalue() + behind


BASE = stream(
    entry("etc", tarfile.DIRTYPE, mode=0o755), entry("etc/file", tarfile.REGTYPE, size=3000, mode=0o644)
)
LINK = stream(entry("etc/link", tarfile.SYMTYPE, linkname="b"))
LATIN_1 = stream(entry("caf\udce9", tarfile.REGTYPE, size=5))
AT_END = stream(entry("file", tarfile.REGTYPE, size=5), behind=b"a table of somebody else's")
ROOT = stream(entry("/", tarfile.DIRTYPE, mode=0o700))


def image(*streams: bytes) -> HandmadeImage:
    return sources.handmade([(s, sources.gzipped(s)) for s in streams])


def verify(source: str, result: str) -> Outcome:
    return recompress("verify", source, result, "--no-tls-verify", "--output=json")


@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (LINK, "etc/link: its directory etc is not in the layer"),
        (LATIN_1, "a name in it is not UTF-8"),
        (AT_END, "there are bytes behind the end of its archive"),
    ],
    ids=["no directory", "not UTF-8", "bytes at the end"],
)
@pytest.mark.parametrize("mode", ["content", "structure"])
def test_such_a_layer_alone_goes_without_the_annotations_and_the_report_says_why(
    run: Run, registry: Registry, repository: str, push: Push, odd: bytes, why: str, mode: str
) -> None:
    source = image(BASE, odd)
    outcome = run(push(source), f"--verify={mode}").succeeded()
    twin = assert_twin(registry, repository, source.digest, outcome.results)
    assert list(map(is_annotated, twin["layers"])) == [True, False]
    assert outcome.report["layers"][0]["why_full"] is None
    assert why in outcome.report["layers"][1]["why_full"]
    (warning,) = outcome.report["warnings"]
    assert warning in outcome.err
    assert why in warning
    assert twin["layers"][1]["digest"] in warning


def test_the_same_layer_is_reused_and_the_twin_is_the_same(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    reference = push(image(BASE, LINK))
    first = run(reference).succeeded()
    again = run(reference).succeeded()
    assert again.results == first.results
    assert [layer["action"] for layer in again.report["layers"]] == ["reused", "reused"]
    fresh = run(reference, "--no-reuse").succeeded()
    assert fresh.results == first.results
    assert [layer["action"] for layer in fresh.report["layers"]] == ["compressed", "compressed"]


def test_a_twin_none_of_whose_layers_can_be_pulled_partially_succeeds_with_a_warning(
    run: Run, push: Push
) -> None:
    outcome = run(push(image(LINK))).succeeded()
    assert any("saves clients nothing" in warning for warning in outcome.report["warnings"])


def test_layers_above_one_that_sets_the_root_directory_are_pulled_in_full(run: Run, push: Push) -> None:
    report = run(push(image(BASE, ROOT, BASE))).succeeded().report
    # In the layer itself both pulls set it; what counts is that only a full one hands it on.
    assert [layer["why_full"] is None for layer in report["layers"]] == [True, True, False]
    assert "root directory" in report["layers"][2]["why_full"]


def test_a_twin_with_such_a_layer_is_proven_and_is_its_own_twin(run: Run, push: Push) -> None:
    reference = push(image(BASE, LINK))
    twin = run(reference).succeeded().results["IMAGE_REF"]
    report = verify(reference, twin).succeeded().report
    assert report["layers"][1]["why_full"].startswith("etc/link: ")
    again = run(twin).succeeded()
    assert again.results["IMAGE_REF"] == twin
    assert again.report["outcome"] == "already zstd:chunked"


def changed_twin(
    registry: Registry, repository: str, twin: str, annotations: list[dict[str, str] | None]
) -> str:
    """The twin's manifest with other annotations of its layers, pushed."""
    document = registry.document(repository, twin.partition("@")[2])
    for layer, of_layer in zip(document["layers"], annotations, strict=True):
        layer.pop("annotations", None)
        if of_layer:
            layer["annotations"] = of_layer
    content = json.dumps(document).encode()
    registry.push_manifest(repository, content)
    return f"{registry.host}/{repository}@{Digest.of(content)}"


def test_somebody_elses_twin_with_annotations_on_such_a_layer_is_refused_with_the_path(
    run: Run, registry: Registry, repository: str, push: Push, tmp_path: Any
) -> None:
    source = image(BASE, LINK)
    reference = push(source)
    twin = run(reference).succeeded().results["IMAGE_REF"]
    # skopeo's own manifest has annotations on every layer.
    skopeos = tmp_path / "digest"
    sources.command(
        "skopeo", "copy", "--format=oci", "--dest-compress-format=zstd:chunked",
        "--dest-force-compress-format",
        "--src-tls-verify=false", "--dest-tls-verify=false", f"--digestfile={skopeos}",
        f"docker://{reference}", f"docker://{registry.host}/{repository}:skopeos",
    )  # fmt: skip
    annotated = f"{registry.host}/{repository}@{skopeos.read_text().strip()}"
    outcome = verify(reference, annotated)
    assert outcome.code == 6
    failure = "\n".join(outcome.report["failures"])
    assert "etc/link: its directory etc is not in the layer" in failure
    # As a source it gets a twin of the same blobs, which is the one from the gzip image.
    assert run(annotated).succeeded().results["IMAGE_DIGEST"] == twin.partition("@")[2]


def test_somebody_elses_twin_without_annotations_is_refused_where_nothing_is_a_reason(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    reference = push(image(BASE, stream(entry("file", tarfile.REGTYPE, size=99))))
    twin = run(reference).succeeded().results["IMAGE_REF"]
    layers = registry.document(repository, twin.partition("@")[2])["layers"]
    bare = changed_twin(registry, repository, twin, [layers[0]["annotations"], None])
    outcome = verify(reference, bare)
    assert outcome.code == 6
    assert "but can be pulled partially" in outcome.report["failures"][0]
    # As a source it is given them back.
    assert run(bare).succeeded().results["IMAGE_DIGEST"] == twin.partition("@")[2]


@pytest.mark.parametrize("missing", CHUNKED_ANNOTATIONS)
def test_a_layer_with_only_some_of_the_annotations_is_refused(
    run: Run, registry: Registry, repository: str, push: Push, missing: str
) -> None:
    reference = push(image(BASE))
    twin = run(reference).succeeded().results["IMAGE_REF"]
    annotations = dict(registry.document(repository, twin.partition("@")[2])["layers"][0]["annotations"])
    del annotations[missing]
    outcome = verify(reference, changed_twin(registry, repository, twin, [annotations]))
    assert outcome.code == 6
    assert missing in outcome.report["failures"][0]


def test_annotations_of_layers_are_kept_but_for_those_of_compressed_bytes(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    toc = {"containerd.io/snapshot/stargz/toc.digest": f"sha256:{'0' * 64}"}
    descriptor, blob = sources.gzipped(BASE)
    config = images.config([str(Digest.of(BASE))])
    layer = {**descriptor, "annotations": {"example.layer": "1", **toc}}
    source = HandmadeImage(images.manifest(config, [layer]), config, (blob,))
    reference = push(source)
    for _ in range(2):
        # With the layer compressed, and with it reused.
        outcome = run(reference).succeeded()
        (of_twin,) = registry.document(repository, outcome.results["IMAGE_DIGEST"])["layers"]
        assert of_twin["annotations"]["example.layer"] == "1"
        assert not toc.keys() & of_twin["annotations"].keys()
        verify(reference, outcome.results["IMAGE_REF"]).succeeded()


def test_annotations_of_a_docker_manifest_are_the_twins(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    # ko, crane mutate and regctl write them.
    base = {"org.opencontainers.image.base.digest": f"sha256:{'0' * 64}"}
    source = images.gzip_image({"a": b"a" * 999}, docker=True, annotations=base)
    outcome = run(push(source), "--oci-twin").succeeded()
    for result in ("IMAGE_REF", "OCI_IMAGE_REF"):
        digest = outcome.results[result].partition("@")[2]
        assert registry.document(repository, digest)["annotations"] == base
