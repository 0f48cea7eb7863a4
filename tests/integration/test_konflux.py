"""The example for Konflux against a real registry: our Task in its container, and an index by real buildah.

Konflux's own tasks are replaced by what they do to the registry, as konflux-build-cli of August 2026 does it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recompress.manifest import INDEX_ZSTD_ANNOTATION, MediaType
from recompress.reference import Digest, Reference
from tests import images
from tests.integration.clients import command
from tests.integration.pods import TASKS, Pods, cluster, example
from tests.integration.registries import Registry
from tests.tekton import konflux, pipeline
from tests.tekton.pipeline import Ended
from tests.tekton.resources import Task
from tests.tekton.variables import Value

ARCHITECTURES = {"linux/x86_64": "amd64", "linux/arm64": "arm64"}


@dataclass(frozen=True, slots=True)
class Konflux:
    """Starts TaskRuns; scans find nothing."""

    registry: Registry
    repository: str
    pods: Pods

    def __call__(
        self, name: str, task: Task, params: Mapping[str, Value], workspaces: frozenset[str]
    ) -> Ended:
        """Run one to its end."""
        if task.name == "recompress":
            return self.pods(name, task, params, workspaces)
        found = dict.fromkeys(task.results, "")
        if task.name == "buildah-remote-oci-ta":
            found |= self.build(str(params["PLATFORM"]), str(params["IMAGE"]))
        if task.name == "build-image-index":
            found |= self.index(str(params["IMAGE"]), list(params["IMAGES"]), str(params["BUILDAH_FORMAT"]))
        return Ended(True, found)

    def build(self, platform: str, to: str) -> dict[str, str]:
        """An image at a tag of its platform, and its SBOM where `cosign attach sbom` leaves it."""
        image = images.gzip_image({"built-for": platform.encode()}, architecture=ARCHITECTURES[platform])
        self.registry.push(self.repository, image)
        url = f"{to}-{platform.replace('/', '-').replace('_', '-')}"
        self.registry.push_manifest(self.repository, image.manifest, selector=url.rpartition(":")[2])
        return {
            "IMAGE_URL": url,
            "IMAGE_DIGEST": str(image.digest),
            "IMAGE_REF": f"{url}@{image.digest}",
            "SBOM_BLOB_URL": f"{self.registry.host}/{self.repository}@{self.attach_sbom(image.digest)}",
        }

    def attach_sbom(self, image: Digest) -> Digest:
        """The digest of the SBOM's JSON."""
        sbom = json.dumps(spdx(f"{self.registry.host}/{self.repository}", image)).encode()
        config = b'{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":[]}}'
        for blob in (sbom, config):
            self.registry.push_blob(self.repository, blob)
        layers = [images.descriptor("text/spdx+json", sbom)]
        manifest = images.manifest(config, layers, MediaType.OCI_MANIFEST, MediaType.OCI_CONFIG)
        self.registry.push_manifest(self.repository, manifest, selector=f"sha256-{image.hex}.sbom")
        return Digest.of(sbom)

    def index(self, to: str, members: list[str], format_: str) -> dict[str, str]:
        """As `konflux-build-cli image build-image-index` makes one."""
        assert len(set(members)) == len(members), "duplicate image reference"
        insecure, name = "--tls-verify=false", self.repository
        command("buildah", "manifest", "create", name).succeeded()
        for member in map(Reference.parse, members):
            # Without the tag: buildah takes no reference with both.
            source = f"docker://{member.repository}@{member.digest}"
            command("buildah", "manifest", "add", "--all", insecure, name, source).succeeded()
        push = ("manifest", "push", "--rm", f"--format={format_}", insecure, name, f"docker://{to}")
        command("buildah", *push).succeeded()
        digest = str(Digest.of(self.registry.manifest(self.repository, to.rpartition(":")[2])))
        return {"IMAGE_URL": to, "IMAGE_DIGEST": digest}


def spdx(repository: str, image: Digest) -> dict[str, Any]:
    """An SBOM of an image without packages, in the form of mobster's."""
    name = repository.rpartition("/")[2]
    purl = f"pkg:oci/{name}@{image}?repository_url={repository}"
    return {
        "spdxVersion": "SPDX-2.3",
        "SPDXID": "SPDXRef-DOCUMENT",
        "dataLicense": "CC0-1.0",
        "name": f"{repository}@{image}",
        "documentNamespace": f"https://sbom.example.com/{image.hex}",
        "creationInfo": {"created": "2026-01-01T00:00:00Z", "creators": ["Tool: an-example-1.0"]},
        "packages": [
            {
                "SPDXID": "SPDXRef-image",
                "name": name,
                "versionInfo": "1.0",
                "downloadLocation": "NOASSERTION",
                "filesAnalyzed": False,
                "checksums": [{"algorithm": "SHA256", "checksumValue": image.hex}],
                "externalRefs": [
                    {
                        "referenceCategory": "PACKAGE-MANAGER",
                        "referenceType": "purl",
                        "referenceLocator": purl,
                    }
                ],
            }
        ],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": "SPDXRef-image",
            }
        ],
    }


def test_konflux_index_has_the_gzip_images_first_and_the_twins_annotated(
    registry: Registry, repository: str, tmp_path: Path
) -> None:
    start = Konflux(registry, repository, Pods(tmp_path, cluster(registry)))
    params: dict[str, Value] = {
        "git-url": "https://git.example.com/app",
        "output-image": f"{registry.host}/{repository}:1.0",
        "build-platforms": list(ARCHITECTURES),
    }
    ran = pipeline.run(example("konflux"), konflux.beside(TASKS), start, params)
    assert ran.succeeded, ran.log
    gzip, zstd = (
        [ran.runs[f"{task}-{number}"][0].results["IMAGE_DIGEST"] for number in range(2)]
        for task in ("build-images", "recompress")
    )
    found = registry.document(repository, str(ran.results["IMAGE_DIGEST"]))["manifests"]
    assert [entry["digest"] for entry in found] == [*gzip, *zstd]
    assert [entry["platform"]["architecture"] for entry in found] == 2 * list(ARCHITECTURES.values())
    marks = [entry.get("annotations", {}).get(INDEX_ZSTD_ANNOTATION) for entry in found]
    assert marks == [None, None, "true", "true"]
    for digest in zstd:
        layers = registry.document(repository, digest)["layers"]
        assert [layer["mediaType"] for layer in layers] == [MediaType.OCI_LAYER_ZSTD]
