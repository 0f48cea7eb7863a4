"""What hack/e2e.sh runs on a cluster beside the examples: SBOMs for built images, the check of an index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.integration.pods import TASKS, Pods, cluster
from tests.integration.registries import Registry
from tests.integration.test_pipelines import auth_of, push_index
from tests.tekton.pipeline import Ended
from tests.tekton.resources import ROOT, load_task
from tests.tekton.variables import Value

CHECK, ATTACH = (load_task(ROOT / f"hack/e2e/{name}-task.yaml") for name in ("check", "sbom"))
BUNDLE = "dev.sigstore.bundle.predicateType"
SIGNATURE, PROVENANCE = "https://sigstore.dev/cosign/sign/v1", "https://slsa.dev/provenance/v0.2"


@pytest.fixture
def pods(private_registry: Registry, tmp_path: Path) -> Pods:
    return Pods(tmp_path, cluster(private_registry, service_account=auth_of(private_registry)))


def check(pods: Pods, name: str, image: str, *, signed: bool = False, sbom: bool = False) -> Ended:
    params: Mapping[str, Value] = {
        "IMAGE": image,
        "SIGNED": str(signed).lower(),
        "SBOM": str(sbom).lower(),
        "PATIENCE": "0",
    }
    return pods(name, CHECK, params, frozenset())


def attach(registry: Registry, repository: str, digest: str, kind: str) -> None:
    """What Chains pushes in its default format, as far as it is looked at."""
    content = images.manifest(b"{}", [images.descriptor("application/vnd.dsse.envelope.v1+json", b"{}")])
    registry.push_blob(repository, b"{}")
    registry.push_manifest(repository, content, selector=f"{digest}.{kind}".replace(":", "-"))


def refer(registry: Registry, repository: str, digest: str, *predicates: str) -> None:
    """What Chains pushes as bundles, in the list that is kept where there is no referrers API."""
    registry.push_blob(repository, b"{}")
    entries = []
    for predicate in predicates:
        content = images.manifest(b"{}", annotations={BUNDLE: predicate})
        registry.push_manifest(repository, content)
        entries.append(images.descriptor(MediaType.OCI_MANIFEST, content, annotations={BUNDLE: predicate}))
    registry.push_manifest(repository, images.index(entries), selector=digest.replace(":", "-"))


def digests_of(image: str, entries: list[dict[str, Any]]) -> list[str]:
    return [image.partition("@")[2], *(entry["digest"] for entry in entries)]


def test_an_index_is_signed_when_it_and_everything_in_it_have_a_signature_and_an_attestation(
    private_registry: Registry, repository: str, pods: Pods
) -> None:
    image, entries = push_index(private_registry, repository, ("amd64", "arm64"))
    index, amd64, arm64 = digests_of(image, entries)
    nothing = check(pods, "1", image, signed=True)
    assert not nothing.succeeded
    lines = nothing.log.splitlines()
    assert lines[-6:] == [
        f"{digest} has no {what}" for digest in (index, amd64, arm64) for what in ("signature", "attestation")
    ]

    for digest in (index, amd64):
        attach(private_registry, repository, digest, "sig")
        attach(private_registry, repository, digest, "att")
    refer(private_registry, repository, arm64, SIGNATURE)
    almost = check(pods, "2", image, signed=True)
    assert not almost.succeeded
    assert almost.log.splitlines()[-1:] == [f"{arm64} has no attestation"]

    refer(private_registry, repository, arm64, SIGNATURE, PROVENANCE)
    everything = check(pods, "3", image, signed=True)
    assert everything.succeeded, everything.log
    assert everything.out == f"nothing is missing of {image}\n"


def test_sboms_that_are_put_beside_built_images_come_to_their_twins(
    private_registry: Registry, repository: str, pods: Pods
) -> None:
    name = f"{private_registry.host}/{repository}"
    built, entries = push_index(private_registry, repository, ("amd64",))

    def recompressed(step: str) -> str:
        twin = pods(
            f"twin-{step}", TASKS["recompress"], {"IMAGE": f"{name}@{entries[0]['digest']}"}, frozenset()
        )
        assert twin.succeeded, twin.log
        params: Mapping[str, Value] = {"IMAGE": f"{name}:new", "IMAGES": [built, twin.results["IMAGE_REF"]]}
        ended = pods(f"index-{step}", TASKS["recompress-index"], params, frozenset())
        assert ended.succeeded, ended.log
        return f"{name}@{ended.results['IMAGE_DIGEST']}"

    index = recompressed("before")
    twin = private_registry.document(repository, index.partition("@")[2])["manifests"][1]["digest"]
    without = check(pods, "1", index, sbom=True)
    assert not without.succeeded
    assert without.log.splitlines()[-1] == f"{twin} has no SBOM that names it"

    ended = pods("sbom", ATTACH, {"IMAGE": index}, frozenset())
    assert ended.out == f"{entries[0]['digest']} has an SBOM\n", ended.log
    assert recompressed("after") == index
    having = check(pods, "2", index, sbom=True)
    assert having.succeeded, having.log
    layer = private_registry.document(repository, f"{twin}.sbom".replace(":", "-"))["layers"][0]
    derived = json.loads(private_registry.blob(repository, layer["digest"]))
    assert Digest.parse(twin).hex in json.dumps(derived["packages"])
