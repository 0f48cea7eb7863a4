"""Proxies that the environment names, for httpx and skopeo alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import images
from tests.images import HandmadeImage
from tests.integration.certificates import Authority
from tests.integration.command import Outcome, recompress
from tests.integration.conftest import Run
from tests.integration.forward_proxy import forward_proxy
from tests.integration.proxy import proxy_to
from tests.integration.registries import SECRETS, Registry

IMAGE = images.gzip_image({"a": b"a"})
NOWHERE = "http://127.0.0.1:1"
Push = Callable[[HandmadeImage], str]


@pytest.fixture
def path(push: Push) -> str:
    """The image, without the registry."""
    return push(IMAGE).partition("/")[2]


@pytest.mark.parametrize(
    "variables", [("HTTP_PROXY", "HTTPS_PROXY"), ("http_proxy", "https_proxy"), ("ALL_PROXY",)]
)
def test_a_registry_that_only_the_proxy_can_reach_is_reached(
    run: Run, registry: Registry, path: str, variables: tuple[str, ...]
) -> None:
    with forward_proxy({"registry.test": registry.host}) as proxy:
        outcome = run(f"registry.test/{path}", **dict.fromkeys(variables, proxy.url)).succeeded()
    assert outcome.results["IMAGE_REF"].startswith("registry.test/")
    assert any(asked.startswith("PATCH http://registry.test/v2/") for asked in proxy.asked)


def test_a_registry_with_tls_is_reached_through_a_tunnel_and_its_certificate_checked(
    results: Path, registry: Registry, path: str, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    with (
        proxy_to(registry, authority.server("DNS:registry.test")) as front,
        forward_proxy({"registry.test:443": front.host, "other.test:443": front.host}) as proxy,
    ):

        def at(host: str) -> Outcome:
            fixed = ("run", f"{host}/{path}", f"--ca-file={authority.ca_file}")
            return recompress(*fixed, results=results, env={"HTTPS_PROXY": proxy.url})

        at("other.test").failed(7, "not valid for 'other.test'")
        at("registry.test").succeeded()
    assert set(proxy.asked) == {"CONNECT registry.test:443", "CONNECT other.test:443"}


def test_a_proxy_with_a_password_gets_it_and_nobody_is_told(run: Run, registry: Registry, path: str) -> None:
    password = "proxys-own-password"
    SECRETS.add(password)
    with forward_proxy({"registry.test": registry.host}, password) as proxy:
        wrong = proxy.url.replace("proxy-user", "nobody")
        run(f"registry.test/{path}", "--attempts=1", HTTP_PROXY=wrong).failed(7, "registry.test", "407")
        run(f"registry.test/{path}", "--debug", HTTP_PROXY=proxy.url).succeeded()


@pytest.mark.parametrize("debug", [(), ("--debug",)])
@pytest.mark.parametrize(
    "password",
    # A port that is none to httpx; an escape that is none to Go, which passes over the whole proxy for it.
    ["unreadable-password/x", "unreadable-password%zz"],
)
def test_no_part_of_a_password_that_cannot_be_read_is_told(
    run: Run, path: str, debug: tuple[str, ...], password: str
) -> None:
    SECRETS.add("unreadable-password")
    outcome = run(f"registry.test/{path}", *debug, HTTPS_PROXY=f"http://me:{password}@proxy.test:1")
    assert outcome.code == 2
    assert "the proxy that the environment names cannot be used" in outcome.error


def test_a_proxy_that_is_down_is_told_after_all_tries(run: Run, path: str) -> None:
    outcome = run(f"registry.test/{path}", "--attempts=2", HTTP_PROXY=NOWHERE, HTTPS_PROXY=NOWHERE)
    outcome.failed(7, "the registry did not answer", "registry.test")
    assert "try 2 of 2" in outcome.err


def test_a_proxy_that_cannot_be_used_is_told_at_once(run: Run, path: str) -> None:
    outcome = run(f"registry.test/{path}", HTTPS_PROXY="gopher://proxy.test")
    outcome.failed(2, "the proxy that the environment names cannot be used")


def test_a_registry_on_this_machine_is_never_reached_by_proxy(
    run: Run, registry: Registry, path: str
) -> None:
    run(f"{registry.host}/{path}", HTTP_PROXY=NOWHERE, HTTPS_PROXY=NOWHERE).succeeded()


@pytest.mark.parametrize(
    "excepted", ["{address}", "{address}:5000", "{network}/8, .svc", "10.0.0.0/8,{network}/8"]
)
def test_a_registry_that_is_excepted_is_reached_without_the_proxy(
    run: Run, registry: Registry, path: str, excepted: str
) -> None:
    address = registry.inside.partition(":")[0]
    network = f"{address.partition('.')[0]}.0.0.0"
    no_proxy = excepted.format(address=address, network=network)
    run(f"{registry.inside}/{path}", HTTP_PROXY=NOWHERE, HTTPS_PROXY=NOWHERE, NO_PROXY=no_proxy).succeeded()
