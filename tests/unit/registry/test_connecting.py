"""Which host is spoken to, and which certificates are trusted."""

from __future__ import annotations

import os
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

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBjzCCATWgAwIBAgIUXeGDVO9DEQBmvQSOPLe3Ej9CBeMwCgYIKoZIzj0EAwIw
HDEaMBgGA1UEAwwRYSBDQSBvZiB0aGUgdGVzdHMwIBcNMjYxMTI4MDY0ODI1WhgP
MjEyNjExMDQwNjQ4MjVaMBwxGjAYBgNVBAMMEWEgQ0Egb2YgdGhlIHRlc3RzMFkw
EwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEiQgy2OQrAHb82mfzjdYkWnkkOfmLf0d1
vReV3jZrmLvOJ/NCVSSxbn6bsKjjfT2NLE1DzYMHYT8hep0JJjvrJaNTMFEwHQYD
VR0OBBYEFCfCFIvAXEepqYvr7G6GV5XIZUydMB8GA1UdIwQYMBaAFCfCFIvAXEep
qYvr7G6GV5XIZUydMA8GA1UdEwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIh
AJ88OAa/tesRy/SyCcp/chD2TSo8+WglMDttNHFZnr4UAiBXj7nFkCOsWdqisV80
+NDrDMxEhVeStteCILQmfw+9wg==
-----END CERTIFICATE-----
"""


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


@pytest.fixture
def certificate(monkeypatch: pytest.MonkeyPatch) -> str:
    """One that the system does not trust, as PEM; it trusts none at all."""
    monkeypatch.setenv("SSL_CERT_FILE", os.devnull)
    monkeypatch.setenv("SSL_CERT_DIR", os.devnull)
    return CERTIFICATE


def trusted(context: ssl.SSLContext) -> list[str]:
    return [ssl.DER_cert_to_PEM_cert(der) for der in context.get_ca_certs(binary_form=True)]


@pytest.mark.parametrize("content", ["", "no certificate"])
def test_a_ca_file_without_certificates_is_warned_of_as_skopeo_does_without_it(
    tmp_path: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    # A ConfigMap's key without a value, for one.
    file = tmp_path / "ca.crt"
    file.write_text(content)
    RepositoryClient(Repository("quay.io", "app"), Credentials(), Tls(ca_files=(file,)), 1)
    assert f"the CA file {file} holds no certificates" in caplog.text


@pytest.mark.parametrize(
    "bad",
    [
        "-----BEGIN CERTIFICATE-----\nbm8gY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n\xe4\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nMIIB\n",
    ],
)
def test_a_bad_block_in_a_bundle_is_warned_of_and_the_others_are_trusted(
    tmp_path: Path, bad: str, caplog: pytest.LogCaptureFixture, certificate: str
) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(f"{certificate}# Pr\xfcfstelle\n{bad}", "latin-1")
    both = tmp_path / "both.crt"
    both.write_text(f"{bad}{certificate}", "latin-1")
    for bundle, number in ((file, 2), (both, 1)):
        assert trusted(ssl_context(Tls(ca_files=(bundle,)))) == [certificate]
        assert f"certificate {number} in the CA file {bundle} cannot be read and is left out" in caplog.text


def test_a_bundle_that_is_as_it_should_be_is_not_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, certificate: str
) -> None:
    file = tmp_path / "ca.crt"
    file.write_text(f"\n# first\r\n{certificate}# again\n{certificate}".replace("\n", "\r\n"))
    assert trusted(ssl_context(Tls(ca_files=(file,)))) == [certificate]
    assert caplog.text == ""


def test_a_ca_file_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"the CA file .* cannot be read: Is a directory"):
        ssl_context(Tls(ca_files=(tmp_path,)))


@pytest.mark.parametrize(
    "proxy",
    [
        "http://me:se/cret@proxy.test:3128",
        "http://me:se#cret@proxy.test",
        "http://me:se%cret@proxy.test",
        "socks5://me:secret@proxy.test",
    ],
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
