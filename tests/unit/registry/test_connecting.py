"""Which host is spoken to, and which certificates are trusted."""

from __future__ import annotations

import re
import ssl
from pathlib import Path

import httpx
import pytest

from recompress.errors import Unavailable, UsageError
from recompress.reference import Repository
from recompress.registry.client import RepositoryClient
from recompress.registry.credentials import Credentials
from recompress.registry.transport import Tls, ssl_context, transport_error
from tests.http_server import Answer, serving
from tests.unit.registry.answering import MANIFEST, OK, TAG, answering


def test_docker_hub_is_spoken_to_at_its_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, stream=httpx.ByteStream(MANIFEST))

    real = httpx.Client

    def offline(**options: object) -> httpx.Client:
        return real(**{**options, "transport": httpx.MockTransport(handler)})  # type: ignore[arg-type]

    monkeypatch.setattr(httpx, "Client", offline)
    for name in ("docker.io", "index.docker.io"):
        with RepositoryClient(Repository(name, "library/busybox"), Credentials(), Tls(), 1) as client:
            client.manifest(TAG)
    assert set(asked) == {"https://registry-1.docker.io/v2/library/busybox/manifests/1"}


def test_a_plain_http_registry_is_told_apart_and_the_way_out_named(waits: list[float]) -> None:
    with serving(lambda _: OK) as server:
        with RepositoryClient(Repository(server.host, "app"), Credentials(), Tls(), 3) as client:
            with pytest.raises(Unavailable, match=r"no TLS connection.*--no-tls-verify"):
                client.manifest(TAG)
    assert waits == []


@pytest.mark.parametrize(
    ("verify_code", "advice"),
    [
        *((code, "--ca-file") for code in (18, 19, 20, 21)),
        *((code, "use the name that its certificate is for") for code in (62, 64)),
        *((code, "renew its certificate") for code in (9, 10)),
        (23, "its certificate has to be replaced"),
    ],
)
def test_what_openssl_says_of_a_certificate_is_told_with_what_to_do(verify_code: int, advice: str) -> None:
    cause = ssl.SSLCertVerificationError()
    cause.verify_code, cause.verify_message = verify_code, "what OpenSSL says"
    error = httpx.ConnectError("failed", request=httpx.Request("GET", "https://quay.io/v2/"))
    error.__cause__ = cause
    told = str(transport_error(error))
    assert "what OpenSSL says" in told
    assert advice in told


def test_certificates_are_verified_unless_told_otherwise() -> None:
    assert ssl_context(Tls()).verify_mode is ssl.CERT_REQUIRED
    assert ssl_context(Tls(verify=False)).verify_mode is ssl.CERT_NONE


def test_a_ca_file_without_certificates_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(UsageError, match=r"the CA file .*ca\.pem cannot be read or holds no certificates"):
        ssl_context(Tls(ca_files=(tmp_path / "ca.pem",)))


def test_a_file_of_certificates_that_holds_none_is_a_usage_error(tmp_path: Path) -> None:
    file = tmp_path / "ca.crt"
    file.write_text("no certificate")
    with pytest.raises(UsageError, match=f"{file} cannot be read or holds no certificates"):
        RepositoryClient(Repository("quay.io", "app"), Credentials(), Tls(ca_files=(file,)), 1)


@pytest.mark.parametrize(
    "proxy",
    ["http://me:se/cret@proxy.test:3128", "http://me:se#cret@proxy.test", "socks5://me:secret@proxy.test"],
)
def test_a_proxy_that_cannot_be_used_is_told_without_its_password(
    proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(UsageError, match="the proxy that the environment names cannot be used") as told:
        RepositoryClient(Repository("quay.io", "app"), Credentials(), Tls(), 1)
    assert not any(part in str(told.value) for part in ("me:", "cret", "'se'", "proxy.test"))


@pytest.mark.parametrize("registry", ["999.999.999.999", "[1:2]", "xn--a.example"])
def test_a_registry_that_has_no_address_is_a_usage_error_that_names_it(registry: str) -> None:
    with pytest.raises(UsageError, match=re.escape(f"{registry} is not the address of a registry")):
        RepositoryClient(Repository(registry, "app"), Credentials(), Tls(), 1)


def test_a_proxy_with_a_name_that_no_host_has_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@{'a' * 64}.example:3128")
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{'a' * 64}.example:3128")
    with pytest.raises(UsageError, match="the proxy that the environment names cannot be used") as told:
        RepositoryClient(Repository("quay.io", "app"), Credentials(), Tls(), 1)
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("location", [f"http://{'a' * 64}.example/", "http://xn--a.example/", "http://a..b/"])
def test_a_redirect_to_a_name_that_no_host_has_is_told_once(location: str, waits: list[float]) -> None:
    with answering(lambda _: Answer(307, headers={"Location": location})) as (client, _):
        with pytest.raises(Unavailable):
            client.manifest(TAG)
    assert waits == []


def test_what_cannot_be_sent_is_not_told() -> None:
    error = httpx.LocalProtocolError(
        "Illegal header value b'secret'", request=httpx.Request("GET", "https://q/")
    )
    told = transport_error(error)
    assert "secret" not in str(told)
    assert not told.temporary
