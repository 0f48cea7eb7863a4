"""Certificates, good and bad: httpx and skopeo take the same ones, and what is wrong is told once."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests import images
from tests.images import HandmadeImage
from tests.integration.certificates import EXPIRED, Authority
from tests.integration.command import Outcome, recompress
from tests.integration.proxy import Proxy, proxy_to
from tests.integration.registries import Registry

IMAGE = images.gzip_image({"a": b"a"})
Push = Callable[[HandmadeImage], str]
Serve = Callable[[ssl.SSLContext], Proxy]


@pytest.fixture
def serve(registry: Registry) -> Iterator[Serve]:
    """Puts TLS before the registry."""
    with ExitStack() as stack:
        yield lambda tls: stack.enter_context(proxy_to(registry, tls))


@pytest.fixture
def run_at(results: Path, push: Push) -> Callable[..., Outcome]:
    """`recompress run` of an image in the registry behind this proxy."""

    def call(proxy: Proxy, *arguments: str, **env: str) -> Outcome:
        _, _, path = push(IMAGE).partition("/")
        return recompress("run", f"{proxy.host}/{path}", *arguments, "--attempts=2", results=results, env=env)

    return call


RunAt = Callable[..., Outcome]


def test_a_private_ca_is_trusted_by_file_by_directory_and_by_the_systems_variable(
    serve: Serve, run_at: RunAt, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    proxy = serve(authority.server())
    run_at(proxy, f"--ca-file={authority.ca_file}").succeeded()
    directory = tmp_path / "directory"
    directory.mkdir()
    (directory / "ca-bundle.crt").write_bytes(authority.ca_file.read_bytes())
    (directory / "README").write_text("no certificate")
    run_at(proxy, f"--ca-file={directory}").succeeded()
    run_at(proxy, RECOMPRESS_CA_FILE=str(directory)).succeeded()
    run_at(proxy, SSL_CERT_FILE=str(authority.ca_file)).succeeded()


def test_a_bundle_of_several_cas_is_trusted_as_a_whole(serve: Serve, run_at: RunAt, tmp_path: Path) -> None:
    first, second = Authority(tmp_path, "first"), Authority(tmp_path, "second")
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(b"# comment\n" + first.ca_file.read_bytes() + b"\n" + second.ca_file.read_bytes())
    run_at(serve(second.server()), f"--ca-file={bundle}").succeeded()


def test_what_is_no_certificate_in_a_bundle_is_warned_of_and_the_others_are_trusted(
    serve: Serve, run_at: RunAt, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    directory = tmp_path / "directory"
    directory.mkdir()
    (directory / "empty.crt").touch()
    bad = b"-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n"
    (directory / "bundle.crt").write_bytes(bad + authority.ca_file.read_bytes())
    outcome = run_at(serve(authority.server()), f"--ca-file={directory}").succeeded()
    assert f"WARNING: the CA file {directory}/empty.crt holds no certificates\n" in outcome.err
    told = f"WARNING: certificate 1 in the CA file {directory}/bundle.crt cannot be read and is left out\n"
    assert told in outcome.err


def test_a_ca_of_the_old_fashion_is_trusted_as_skopeo_trusts_it(
    serve: Serve, run_at: RunAt, tmp_path: Path
) -> None:
    authority = Authority(tmp_path, is_old_fashioned=True)
    run_at(serve(authority.server()), f"--ca-file={authority.ca_file}").succeeded()


@pytest.mark.parametrize(
    ("san", "options", "told"),
    [
        ("IP:127.0.0.1", EXPIRED, ("certificate has expired", "renew its certificate")),
        ("DNS:registry.example", (), ("not valid for '127.0.0.1'", "use the name that its certificate is")),
        ("", (), ("not valid for '127.0.0.1'", "use the name that its certificate is")),
    ],
)
def test_a_certificate_that_is_wrong_is_told_once_with_what_to_do(
    serve: Serve, run_at: RunAt, tmp_path: Path, san: str, options: tuple[str, ...], told: tuple[str, ...]
) -> None:
    authority = Authority(tmp_path)
    # Go does not look at common names, so nothing here may either.
    proxy = serve(authority.server(san, *options, common_name="127.0.0.1"))
    outcome = run_at(proxy, f"--ca-file={authority.ca_file}")
    outcome.failed(7, "no TLS connection to the registry", proxy.host, *told)
    assert "try 2" not in outcome.err
    assert proxy.server.requests == []


def test_a_certificate_of_another_ca_is_told_once_with_the_option_for_it(
    serve: Serve, run_at: RunAt, tmp_path: Path
) -> None:
    proxy = serve(Authority(tmp_path, "theirs").server())
    outcome = run_at(proxy, f"--ca-file={Authority(tmp_path, 'other').ca_file}")
    outcome.failed(7, "no TLS connection to the registry", "use --ca-file")
    assert "try 2" not in outcome.err


def test_without_verification_any_certificate_will_do_and_a_warning_is_given(
    serve: Serve, run_at: RunAt, tmp_path: Path
) -> None:
    proxy = serve(Authority(tmp_path).server("DNS:registry.example", *EXPIRED))
    outcome = run_at(proxy, "--no-tls-verify").succeeded()
    assert "WARNING: TLS certificates are not verified: this is for tests only" in outcome.err
