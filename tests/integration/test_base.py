"""The first run of an image whose base has a twin, against a real registry and with the real skopeo."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from recompress.reference import Digest
from tests import images
from tests.http_server import Answer, Request
from tests.images import HandmadeImage
from tests.integration.command import Outcome, recompress
from tests.integration.conftest import Run
from tests.integration.proxy import Proxy
from tests.integration.registries import Account, Registry
from tests.integration.sources import hash_of
from tests.integration.token_server import TokenServer, User
from tests.integration.twins import assert_twin

NAME = "org.opencontainers.image.base.name"
DIGEST = "org.opencontainers.image.base.digest"


def files(*names: str) -> list[Mapping[str, bytes]]:
    """What is in the layers of these names; each is some tens of kilobytes, however it is compressed."""
    return [{name: "".join(hash_of(f"{name} {n}") for n in range(1000)).encode()} for name in names]


BASE = images.gzip_image(*files("one", "two"))


def built_on(base: str, *names: str, digest: Digest = BASE.digest) -> HandmadeImage:
    """An image of these layers whose annotations say that it was built on a base."""
    return images.gzip_image(*files(*names), annotations={NAME: base, DIGEST: str(digest)})


def actions(outcome: Outcome) -> list[str]:
    return [layer["action"] for layer in outcome.report["layers"]]


@pytest.fixture
def base(registry: Registry, repository: str, run: Run) -> str:
    """The repository of a base that has a twin."""
    name = f"{repository}-base"
    run(f"{registry.host}/{name}@{registry.push(name, BASE)}").succeeded()
    return name


def uploaded(proxy: Proxy) -> int:
    """The bytes of blobs that were sent."""
    uploads = [r for r in proxy.server.requests if "/blobs/uploads/" in r.path and r.method != "POST"]
    return sum(len(request.body) for request in uploads)


def asked(proxy: Proxy, repository: str) -> list[Request]:
    return [r for r in proxy.server.requests if r.path.startswith(f"/v2/{repository}/")]


def mounted(proxy: Proxy) -> set[tuple[str, str]]:
    """The blobs that were asked to be mounted, each with the repository that has it."""
    queries = [parse_qs(r.target.partition("?")[2]) for r in proxy.server.requests if r.method == "POST"]
    return {(query["mount"][0], query["from"][0]) for query in queries if "mount" in query}


def test_the_layers_of_the_base_are_mounted_from_its_twin_and_not_sent(
    run: Run, proxy: Proxy, registry: Registry, repository: str, base: str
) -> None:
    image = built_on(f"{proxy.host}/{base}:latest", "one", "two", "app")
    registry.push(repository, image)
    outcome = run(f"{proxy.host}/{repository}@{image.digest}").succeeded()
    assert actions(outcome) == ["reused", "reused", "compressed"]
    one, two, app = outcome.report["layers"]
    origin = f"{proxy.host}/{base}:sha256-{BASE.digest.hex}.zstd-chunked"
    assert (one["reused_from"], two["reused_from"]) == (origin, origin)
    assert outcome.report["warnings"] == []
    assert mounted(proxy) == {(layer["to"]["digest"], base) for layer in (one, two)}
    assert uploaded(proxy) < app["to"]["size"] + 2000
    directly = {name: value.replace(proxy.host, registry.host) for name, value in outcome.results.items()}
    assert_twin(registry, repository, image.digest, directly)


def test_the_zstd_entry_of_the_index_of_a_base_is_enough(
    run: Run, registry: Registry, repository: str, base: str
) -> None:
    tag = f"sha256-{BASE.digest.hex}.zstd-chunked"
    twin = Digest.of(registry.manifest(base, tag))
    to = f"{registry.host}/{base}:1.0"
    members = [f"{registry.host}/{base}@{digest}" for digest in (BASE.digest, twin)]
    recompress("index", "--no-tls-verify", f"--to={to}", *members).succeeded()
    index = Digest.of(registry.manifest(base, "1.0"))
    registry.push_manifest(base, BASE.manifest, selector=tag)
    image = built_on(to, "one", "two", "app", digest=index)
    outcome = run(f"{registry.host}/{repository}@{registry.push(repository, image)}").succeeded()
    assert actions(outcome) == ["reused", "reused", "compressed"]
    assert outcome.report["layers"][0]["reused_from"] == f"{registry.host}/{base}@{twin}"


def refused(proxy: Proxy, request: Request) -> Answer:
    return Answer(403, b'{"errors":[{"code":"DENIED","message":"requested access is denied"}]}')


def begun_as_an_upload(proxy: Proxy, request: Request) -> Answer:
    """As registries without mounts do."""
    return proxy.forward(Request("POST", request.path, request.headers, b""))


@pytest.mark.parametrize("answer", [refused, begun_as_an_upload])
def test_where_nothing_can_be_mounted_the_layers_are_compressed_and_nothing_is_said(
    run: Run,
    proxy: Proxy,
    registry: Registry,
    repository: str,
    base: str,
    answer: Callable[[Proxy, Request], Answer],
) -> None:
    proxy.fault = lambda request: answer(proxy, request) if "mount=" in request.target else None
    image = built_on(f"{proxy.host}/{base}", "one", "two", "app")
    registry.push(repository, image)
    outcome = run(f"{proxy.host}/{repository}@{image.digest}").succeeded()
    assert len(mounted(proxy)) == 2
    assert actions(outcome) == ["compressed"] * 3
    assert outcome.report["warnings"] == []


@pytest.mark.parametrize("option", ["--no-reuse", "--verify=structure"])
def test_a_base_is_not_asked_for_layers_that_are_not_wanted_or_would_not_be_proven(
    run: Run, proxy: Proxy, registry: Registry, repository: str, base: str, option: str
) -> None:
    image = built_on(f"{proxy.host}/{base}", "one", "app")
    registry.push(repository, image)
    outcome = run(f"{proxy.host}/{repository}@{image.digest}", option).succeeded()
    assert actions(outcome) == ["compressed", "compressed"]
    assert asked(proxy, base) == []


def test_what_a_user_names_and_what_is_there_come_before_the_base(
    run: Run, proxy: Proxy, registry: Registry, repository: str, base: str
) -> None:
    image = built_on(f"{proxy.host}/{base}", "one", "two")
    registry.push(repository, image)
    named = f"{proxy.host}/{base}:zstd-chunked-cache-linux-amd64"
    reference = f"{proxy.host}/{repository}@{image.digest}"
    first = run(reference, f"--reuse-from={named}").succeeded()
    assert {layer["reused_from"] for layer in first.report["layers"]} == {named}
    proxy.server.requests.clear()
    again = run(reference).succeeded()
    assert {layer["reused_from"] for layer in again.report["layers"]} == {again.results["IMAGE_URL"]}
    assert asked(proxy, base) == []


def test_a_forged_layer_in_the_twin_of_a_base_is_compressed_afresh_and_not_said(
    run: Run, registry: Registry, repository: str, base: str
) -> None:
    # Who writes the label can write there, too.
    tag = f"sha256-{BASE.digest.hex}.zstd-chunked"
    document = registry.document(base, tag)
    document["layers"].reverse()
    registry.push_manifest(base, json.dumps(document).encode(), selector=tag)
    image = built_on(f"{registry.host}/{base}", "one", "two")
    outcome = run(f"{registry.host}/{repository}@{registry.push(repository, image)}").succeeded()
    assert actions(outcome) == ["compressed", "compressed"]
    assert outcome.report["warnings"] == []
    assert_twin(registry, repository, image.digest, outcome.results)


def test_a_secret_layer_is_not_pulled_into_an_image_that_claims_to_hold_it(
    run: Run, registry: Registry, repository: str, base: str
) -> None:
    """Its author knows all digests of the base and of its twin, and cannot read one of them."""
    secret = registry.document(base, f"sha256-{BASE.digest.hex}.zstd-chunked")["layers"][1]["digest"]
    own = images.gzip_image(*files("one", "harmless"))
    config = json.dumps({**json.loads(own.config), "rootfs": json.loads(BASE.config)["rootfs"]}).encode()
    layers = json.loads(own.manifest)["layers"]
    said = {NAME: f"{registry.host}/{base}", DIGEST: str(BASE.digest)}
    image = HandmadeImage(images.manifest(config, layers, annotations=said), config, own.layers)
    outcome = run(f"{registry.host}/{repository}@{registry.push(repository, image)}")
    outcome.failed(6)
    assert base not in outcome.err
    with registry.client() as client:
        assert client.head(f"{repository}/blobs/{secret}").status_code == 404


# A registry with rights for each repository.


@pytest.fixture
def with_rights(
    tokens: TokenServer, door: Registry, repository: str, results: Path, tmp_path: Path
) -> Callable[[str, Mapping[str, str]], Outcome]:
    """`recompress run` of an image by somebody with these rights."""

    def call(digest: str, rights: Mapping[str, str]) -> Outcome:
        user = User(Account("pipeline", "pipelines-password"), rights)
        tokens.users = [user]
        file = tmp_path / "auth.json"
        # What there is for the base alone is not used.
        others = {f"{door.host}/{repository}-base": {"auth": Account(password="password-of-another").auth}}
        file.write_text(json.dumps({"auths": {door.host: {"auth": user.account.auth}, **others}}))
        image = f"{door.host}/{repository}@{digest}"
        fixed = ("--no-tls-verify", "--output=json", f"--authfile={file}")
        return recompress("run", image, *fixed, results=results)

    return call


def test_a_base_that_may_be_pulled_is_mounted_with_a_token_for_both_repositories(
    with_rights: Callable[..., Outcome], door: Registry, registry: Registry, repository: str, base: str
) -> None:
    image = built_on(f"{door.host}/{base}", "one", "app")
    registry.push(repository, image)
    outcome = with_rights(image.digest, {repository: "pull,push,delete", base: "pull"}).succeeded()
    assert actions(outcome) == ["reused", "compressed"]


@pytest.mark.parametrize("suffix", ["", "-none"])
def test_a_base_that_may_not_be_pulled_is_as_one_that_is_not_there(
    with_rights: Callable[..., Outcome],
    door: Registry,
    registry: Registry,
    repository: str,
    base: str,
    suffix: str,
) -> None:
    image = built_on(f"{door.host}/{base}{suffix}", "one")
    registry.push(repository, image)
    outcome = with_rights(image.digest, {repository: "pull,push,delete"}).succeeded()
    assert actions(outcome) == ["compressed"]
    assert outcome.report["warnings"] == []
    assert base not in outcome.out + outcome.err
