"""What a user gets wrong, and what is wrong with what is in the registry: one helpful line each."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests import images
from tests.fake_registry import FakeRegistry, fake_registry
from tests.http_server import serving
from tests.images import HandmadeImage
from tests.integration.command import recompress
from tests.integration.conftest import Run
from tests.integration.registries import Registry

IMAGE = images.gzip_image({"a": b"a"})
Push = Callable[[HandmadeImage], str]


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with fake_registry() as started:
        yield started


@pytest.mark.parametrize(
    ("image", "told"),
    [
        ("quay.io/org/app", "has no digest: a tag can move between two reads"),
        ("quay.io/org/app:1", "name the image as quay.io/org/app@sha256:…"),
        ("quay.io/org/app@sha256:abc", "'sha256:abc' is not a digest of the form sha256:<64 hex digits>"),
        (f"quay.io/org/app@sha512:{'0' * 128}", "is not a digest"),
        (f"quay.io/Org/App@sha256:{'0' * 64}", "the repository name must be lower case: 'org/app'"),
        (f"app@sha256:{'0' * 64}", "has no registry"),
        (f"https://quay.io/app@sha256:{'0' * 64}", "is not a registry host"),
    ],
)
def test_a_wrong_reference_is_told_before_anything_is_asked(run: Run, image: str, told: str) -> None:
    run(image).failed(2, image, told)


def test_a_digest_that_is_not_there_is_told(run: Run, push: Push) -> None:
    repository = push(IMAGE).partition("@")[0]
    missing = f"{repository}@{Digest.of(b'missing')}"
    run(missing).failed(4, str(Digest.of(b"missing")), "MANIFEST_UNKNOWN")


def test_a_repository_that_is_not_there_is_told(run: Run, registry: Registry, repository: str) -> None:
    run(f"{registry.host}/{repository}@{Digest.of(b'missing')}").failed(4, repository)


def test_a_layer_that_is_not_there_is_told(run: Run, registry: Registry, repository: str) -> None:
    for blob in IMAGE.blobs().values():
        registry.push_blob(repository, blob)
    registry.push_manifest(repository, IMAGE.manifest)
    layer = Digest.of(IMAGE.layers[0])
    with registry.client() as client:
        client.delete(f"{repository}/blobs/{layer}").raise_for_status()
    run(f"{registry.host}/{repository}@{IMAGE.digest}", "--attempts=1").failed(4, str(layer))


def test_a_tag_beside_the_digest_is_no_hindrance(
    run: Run, registry: Registry, repository: str, push: Push
) -> None:
    push(IMAGE)
    outcome = run(f"{registry.host}/{repository}:any-tag@{IMAGE.digest}").succeeded()
    assert outcome.results["IMAGE_URL"].endswith(f":sha256-{IMAGE.digest.hex}.zstd-chunked")


@pytest.fixture
def ipv6(registry: Registry, tmp_path: Path) -> Iterator[str]:
    """The registry's address for IPv6."""
    relay = tmp_path / "relay.py"
    relay.write_text(RELAY)
    command = ["python3", str(relay), registry.host.partition(":")[2]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        yield f"[::1]:{process.stdout.readline().strip()}"
        process.terminate()


def test_a_registry_by_its_ipv6_address_is_looked_into(ipv6: str, repository: str, push: Push) -> None:
    push(IMAGE)
    outcome = recompress("inspect", f"{ipv6}/{repository}@{IMAGE.digest}", "--no-tls-verify", "--output=json")
    assert outcome.succeeded().report["manifests"][0]["digest"] == str(IMAGE.digest)


def test_a_registry_by_its_ipv6_address_is_refused_at_once_because_skopeo_cannot_reach_it(
    run: Run, ipv6: str, repository: str, push: Push
) -> None:
    image = push(IMAGE)
    told = ("skopeo", "IPv6", ipv6, "host name")
    run(f"{ipv6}/{repository}@{IMAGE.digest}").failed(2, *told)
    run(image, f"--to={ipv6}/{repository}").failed(2, *told)


RELAY = """
import asyncio, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()

async def relay(reader, writer):
    ours = await asyncio.open_connection("127.0.0.1", int(sys.argv[1]))
    await asyncio.gather(pump(reader, ours[1]), pump(ours[0], writer))

async def main():
    server = await asyncio.start_server(relay, "::1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


def test_a_registry_that_is_down_is_told_after_all_tries(run: Run) -> None:
    with serving(lambda _: pytest.fail("it is down")) as server:
        host = server.host
    outcome = run(f"{host}/app@{IMAGE.digest}", "--attempts=2")
    outcome.failed(7, "the registry did not answer", host)
    assert "try 2 of 2" in outcome.err


def test_a_plain_http_registry_without_no_tls_verify_is_told_the_way_out(
    registry: Registry, results: Path, push: Push
) -> None:
    outcome = recompress("run", push(IMAGE), results=results)
    outcome.failed(7, "no TLS connection", "if it is a plain HTTP registry for tests, use --no-tls-verify")


def test_a_helm_chart_is_told_to_be_no_image(run: Run, registry: Registry, repository: str) -> None:
    chart = images.gzip_image({"Chart.yaml": b"name: app"})
    config = b'{"name": "app", "version": "1.0.0"}'
    layers = [images.descriptor("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart.layers[0])]
    manifest = images.manifest(config, layers, config_type="application/vnd.cncf.helm.config.v1+json")
    digest = registry.push(repository, HandmadeImage(manifest, config, chart.layers))
    run(f"{registry.host}/{repository}@{digest}").failed(
        5, "is an artifact ('application/vnd.cncf.helm.config.v1+json'), not an image"
    )


def test_a_schema_1_manifest_is_told_to_carry_no_zstd(run: Run, fake: FakeRegistry) -> None:
    content = b'{"schemaVersion": 1, "name": "app", "tag": "1", "fsLayers": [], "history": []}'
    reference = fake.reference(fake.add_manifest(content, MediaType.DOCKER_SCHEMA1_SIGNED))
    run(str(reference)).failed(5, str(reference), "schema 1", "rebuild or convert the image")


@pytest.mark.parametrize(
    ("layer_type", "told"),
    [
        (f"{MediaType.OCI_LAYER_GZIP}+encrypted", "cannot be recompressed (encrypted, foreign and unknown"),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "cannot be recompressed"),
    ],
)
def test_layers_that_cannot_be_recompressed_are_told(
    run: Run, fake: FakeRegistry, layer_type: str, told: str
) -> None:
    fake.blobs |= IMAGE.blobs()
    manifest = images.manifest(IMAGE.config, [images.descriptor(layer_type, IMAGE.layers[0])])
    run(str(fake.reference(fake.add_manifest(manifest)))).failed(5, layer_type, told)


def test_a_manifest_whose_bytes_do_not_match_its_digest_is_not_used(run: Run, fake: FakeRegistry) -> None:
    wrong = Digest.of(b"something else")
    fake.blobs |= IMAGE.blobs()
    fake.add_manifest(IMAGE.manifest, selector=str(wrong))
    run(str(fake.reference(wrong))).failed(6, str(wrong), str(IMAGE.digest))


def test_a_results_directory_that_is_not_there_is_told_before_any_work(
    tmp_path: Path, registry: Registry, repository: str, push: Push
) -> None:
    missing = tmp_path / "missing"
    recompress("run", push(IMAGE), "--no-tls-verify", results=missing).failed(
        2, str(missing), "does not exist"
    )
    assert registry.tags(repository) == []


def test_a_read_only_results_directory_is_told_before_any_work(
    registry: Registry, repository: str, push: Push
) -> None:
    # The source tree is mounted read-only, for root too.
    read_only = Path(__file__).parent
    assert os.statvfs(read_only).f_flag & os.ST_RDONLY
    ended = recompress("run", push(IMAGE), "--no-tls-verify", f"--results-dir={read_only}")
    ended.failed(2, str(read_only), "cannot be written: Read-only file system")
    assert registry.tags(repository) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--authfile=/does/not/exist",), "there is no auth file /does/not/exist"),
        (("--ca-file=/does/not/exist",), "there is no CA file /does/not/exist"),
        (("--platform=amd64",), "'amd64' is not a platform of the form os/arch or os/arch/variant"),
        (("--to=quay.io/App",), "must be lower case"),
        ((f"--to=quay.io/app@{IMAGE.digest}",), "a digest cannot be chosen"),
    ],
)
def test_a_wrong_option_is_told(run: Run, arguments: tuple[str, ...], told: str) -> None:
    run(f"quay.io/app@{IMAGE.digest}", *arguments).failed(2, told)


def test_inspect_tells_what_is_wrong_the_same_way(registry: Registry, repository: str) -> None:
    image = f"{registry.host}/{repository}:missing"
    recompress("inspect", image, "--no-tls-verify").failed(4, "missing: 404 MANIFEST_UNKNOWN")
    recompress("inspect", "App").failed(2, "has no registry")
