"""Real registries in containers, and what the tests look up in them by themselves, not through recompress."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from testcontainers.core.container import DockerContainer

from recompress.manifest import MediaType
from recompress.reference import Digest
from tests.images import HandmadeImage

IMAGE = "recompress-registry"
DISTRIBUTION_3 = Path(__file__).parents[2] / "build/distribution3/registry"
USER, PASSWORD = "builder", "correct-horse-battery-staple"
SECRETS: set[str] = set()
"""Every secret of every test so far, which no output of any later run may show."""

_ACCEPT = ", ".join(
    (MediaType.OCI_MANIFEST, MediaType.OCI_INDEX, MediaType.DOCKER_MANIFEST, MediaType.DOCKER_INDEX)
)


def labels() -> dict[str, str]:
    """The label by which everything that the tests leave with the engine is found again."""
    name, _, value = os.environ["TEST_LABEL"].partition("=")
    return {name: value}


@dataclass(frozen=True, slots=True)
class Account:
    """Who may use a registry, in the forms that clients want it."""

    username: str = USER
    password: str = PASSWORD

    def __post_init__(self) -> None:
        SECRETS.update((self.password, self.auth))

    @property
    def auth(self) -> str:
        """As it stands in an auth file and, after the word Basic, in a header."""
        return base64.b64encode(f"{self.username}:{self.password}".encode()).decode()

    def auth_file(self, directory: Path, host: str) -> Path:
        """Write the file that `podman login` would write."""
        file = directory / "auth.json"
        file.write_text(json.dumps({"auths": {host: {"auth": self.auth}}}))
        return file


@dataclass(frozen=True, slots=True)
class Registry:
    """A running registry. `host` is its address here, `inside` its address for other containers."""

    host: str
    inside: str
    account: Account | None = None
    ca_file: Path | None = None
    scheme: str = field(default="http")
    container: str = ""

    def client(self) -> httpx.Client:
        """A client with all rights that trusts any certificate."""
        auth = (self.account.username, self.account.password) if self.account else None
        return httpx.Client(
            base_url=f"{self.scheme}://{self.host}/v2/", auth=auth, verify=False, follow_redirects=True
        )

    def manifest(self, repository: str, selector: str) -> bytes:
        """The bytes of a manifest."""
        return self.served(repository, selector).content

    def served(self, repository: str, selector: str) -> httpx.Response:
        """A manifest as it is served."""
        with self.client() as client:
            answer = client.get(f"{repository}/manifests/{selector}", headers={"Accept": _ACCEPT})
        return answer.raise_for_status()

    def document(self, repository: str, selector: str) -> dict[str, Any]:
        """A manifest, read."""
        document = json.loads(self.manifest(repository, selector))
        assert isinstance(document, dict)
        return document

    def blob(self, repository: str, digest: str) -> bytes:
        """The bytes of a blob; they are what the digest says."""
        with self.client() as client:
            content = client.get(f"{repository}/blobs/{digest}").raise_for_status().content
        assert str(Digest.of(content)) == digest
        return content

    def tags(self, repository: str) -> list[str]:
        """The tags of a repository, none where there is no repository."""
        with self.client() as client:
            answer = client.get(f"{repository}/tags/list")
        return sorted(answer.json().get("tags") or []) if answer.is_success else []

    def push_blob(self, repository: str, content: bytes) -> None:
        """Upload a blob."""
        with self.client() as client:
            location = client.post(f"{repository}/blobs/uploads/").raise_for_status().headers["Location"]
            url = httpx.URL(location).copy_merge_params({"digest": str(Digest.of(content))})
            client.put(url, content=content).raise_for_status()

    def push_manifest(
        self, repository: str, content: bytes, content_type: str = "", selector: str = ""
    ) -> Digest:
        """Upload a manifest, by its digest if not under a tag."""
        digest = Digest.of(content)
        headers = {"Content-Type": content_type or json.loads(content)["mediaType"]}
        with self.client() as client:
            path = f"{repository}/manifests/{selector or digest}"
            client.put(path, content=content, headers=headers).raise_for_status()
        return digest

    def push(self, repository: str, image: HandmadeImage) -> Digest:
        """Upload a whole image without a tag."""
        for blob in image.blobs().values():
            self.push_blob(repository, blob)
        return self.push_manifest(repository, image.manifest)


@contextmanager
def running(
    environment: Mapping[str, str] | None = None,
    volumes: Mapping[Path, str] | None = None,
    account: Account | None = None,
    ca_file: Path | None = None,
    storage_of: Registry | None = None,
) -> Iterator[Registry]:
    """A registry in a container, for as long as the block takes. It can be another door to a storage."""
    shared = {"volumes_from": [storage_of.container]} if storage_of else {}
    container = DockerContainer(IMAGE).with_exposed_ports(5000).with_kwargs(labels=labels(), **shared)
    for name, value in (environment or {}).items():
        container.with_env(name, value)
    for source, target in (volumes or {}).items():
        container.with_volume_mapping(str(source), target, "ro")
    with container:
        inspected = container.get_wrapped_container()
        inspected.reload()
        networks = inspected.attrs["NetworkSettings"]["Networks"]
        registry = Registry(
            f"127.0.0.1:{container.get_exposed_port(5000)}",
            f"{networks['bridge']['IPAddress']}:5000",
            account,
            ca_file,
            "https" if ca_file else "http",
            inspected.id,
        )
        _wait_until_it_answers(registry)
        yield registry


@contextmanager
def distribution_3(directory: Path) -> Iterator[Registry]:
    """CNCF Distribution 3, which hack/distribution3.sh has built, with its storage in a directory."""
    own = directory / "distribution3"
    own.mkdir()
    configuration = own / "config.yml"
    # JSON is YAML.
    configuration.write_text(
        json.dumps(
            {
                "version": 0.1,
                "storage": {
                    "filesystem": {"rootdirectory": str(own / "storage")},
                    "delete": {"enabled": True},
                },
                "http": {"addr": "127.0.0.1:0"},
            }
        )
    )
    log = own / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [DISTRIBUTION_3, "serve", configuration],
            stdout=output,
            stderr=output,
            env={"OTEL_TRACES_EXPORTER": "none"},
        )
        try:
            host = _listening(log)
            registry = Registry(host, host)
            _wait_until_it_answers(registry)
            yield registry
        finally:
            process.terminate()
            process.wait()


def _listening(log: Path) -> str:
    """The address that a registry says, in its log, it listens on."""
    deadline = time.monotonic() + 60
    while not (found := re.search(r"listening on (127\.0\.0\.1:[0-9]+)", log.read_text())):
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
    return found[1]


@contextmanager
def private(directory: Path) -> Iterator[Registry]:
    """A registry that wants an account, and has a certificate from a CA that nobody knows."""
    account = Account()
    make_certificate(directory)
    hashed = subprocess.run(
        ["docker", "run", "--rm", IMAGE, "htpasswd", "-Bbn", account.username, account.password],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    (directory / "htpasswd").write_text(hashed)
    environment = {
        "REGISTRY_AUTH": "htpasswd",
        "REGISTRY_AUTH_HTPASSWD_REALM": "tests",
        "REGISTRY_AUTH_HTPASSWD_PATH": "/tests/htpasswd",
        "REGISTRY_HTTP_TLS_CERTIFICATE": "/tests/server.crt",
        "REGISTRY_HTTP_TLS_KEY": "/tests/server.key",
    }
    with running(environment, {directory: "/tests"}, account, directory / "ca.crt") as registry:
        yield registry


def make_certificate(directory: Path) -> None:
    """A CA in ca.crt and a certificate by it for 127.0.0.1 in server.crt and server.key."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(
        "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=tests CA"
    )
    openssl("req", *key, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=127.0.0.1")
    (directory / "extensions").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-out", "server.crt",
            "-days", "2", "-extfile", "extensions")  # fmt: skip
    (directory / "server.key").chmod(0o644)


def _wait_until_it_answers(registry: Registry) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with registry.client() as client:
                answer = client.get("")
            if answer.status_code != httpx.codes.UNAUTHORIZED:
                answer.raise_for_status()
            return
        except httpx.HTTPError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
