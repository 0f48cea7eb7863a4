"""Credentials, found where the containers tools and Docker look for them.

They are looked up once, here, and handed to httpx and to skopeo alike (to skopeo in a file of
the run's own), so that one never succeeds where the other fails. The rules are those of
containers-auth.json(5) and of Docker's config.json.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from recompress.errors import Refused, UsageError
from recompress.reference import Repository

_HELPER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HELPER_SECONDS = 30
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")
_DOCKER_HUB_SERVER = "https://index.docker.io/v1/"
"""What Docker calls Docker Hub where it asks a credential helper."""

_HELPER_HAS_NONE = b"credentials not found in native keychain"
"""docker-credential-helpers, credentials/error.go: the one failure that means anonymous."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What to show a registry; all empty is anonymous. Never printed, not even by repr."""

    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def is_anonymous(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.username or self.password or self.identity_token)


def auth_files(authfile: Path | None, environment: Mapping[str, str], uid: int) -> tuple[Path, ...]:
    """The files to search, in order: `authfile` alone where it is given, or REGISTRY_AUTH_FILE alone.

    Raises UsageError where that file is missing. Without either, those of the default places of
    containers-auth.json(5) and of Docker that exist. `.dockerconfigjson` is the key of a
    kubernetes.io/dockerconfigjson Secret, so it is what a workspace or volume made from one holds.
    """
    explicit = authfile or (Path(p) if (p := environment.get("REGISTRY_AUTH_FILE")) else None)
    if explicit:
        if not _is_readable_file(explicit):
            raise UsageError(f"there is no auth file {explicit}")
        return (explicit,)
    home = Path(environment.get("HOME") or "/")
    runtime = environment.get("XDG_RUNTIME_DIR")
    docker = Path(environment.get("DOCKER_CONFIG") or home / ".docker")
    configuration = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    places = (
        Path(runtime) / "containers/auth.json" if runtime else Path(f"/run/containers/{uid}/auth.json"),
        configuration / "containers/auth.json",
        docker / "config.json",
        docker / ".dockerconfigjson",
        home / ".docker/config.json",
        home / ".dockercfg",
    )
    return tuple(dict.fromkeys(place for place in places if _is_readable_file(place)))


def credentials_for(repository: Repository, files: tuple[Path, ...]) -> Credentials:
    """The credentials for a repository: the first file that has any, its most specific entry.

    An entry without a secret, as Docker leaves it beside a credential helper, is as none. Raises
    UsageError for a file or an entry that cannot be read, Refused where a credential helper fails and
    for an entry with nothing but a 'registrytoken'.
    """
    for file in files:
        credentials = _from_document(_read(file), repository, file)
        if not credentials.is_anonymous:
            return credentials
    return Credentials()


@contextmanager
def auth_file(credentials: Mapping[Repository, Credentials]) -> Iterator[int]:
    """A file for skopeo's --authfile, as an open descriptor: it has no name, so no kill leaves it behind.

    There is an entry per repository, so source and destination can differ even in one registry; one
    for an anonymous repository keeps skopeo from taking that of a namespace around it.
    """
    auths = {str(repository): _entry(found) for repository, found in credentials.items()}
    descriptor = os.memfd_create("auth.json")
    try:
        os.write(descriptor, json.dumps({"auths": auths}).encode())
        yield descriptor
    finally:
        os.close(descriptor)


def _entry(credentials: Credentials) -> dict[str, str]:
    if credentials.is_anonymous:
        return {}
    pair = f"{credentials.username}:{credentials.password}".encode()
    entry = {"auth": base64.b64encode(pair).decode()}
    if credentials.identity_token:
        entry["identitytoken"] = credentials.identity_token
    return entry


def _is_readable_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _read(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise UsageError(f"the auth file {file} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"the auth file {file} is not JSON") from None
    if not isinstance(document, dict):
        raise UsageError(f"the auth file {file} is not a JSON object")
    # Docker's oldest file is what is the value of "auths" in the others.
    return {"auths": document} if file.name == ".dockercfg" else document


def _from_document(document: dict[str, Any], repository: Repository, file: Path) -> Credentials:
    helpers = document.get("credHelpers")
    for key in _keys(repository):
        if isinstance(helpers, dict) and isinstance(helper := helpers.get(key), str):
            return _from_helper(helper, key)
    auths = document.get("auths")
    entries = auths if isinstance(auths, dict) else {}
    entry = _entry_for(entries, repository)
    store = document.get("credsStore")
    if isinstance(store, str) and store and (entry is None or not _has_secret(entry)):
        is_hub = repository.registry in _DOCKER_HUB
        return _from_helper(store, _DOCKER_HUB_SERVER if is_hub else repository.registry)
    return _from_entry(entry, file) if entry is not None else Credentials()


def _keys(repository: Repository) -> list[str]:
    # From the most specific to the registry itself.
    parts = str(repository).split("/")
    return ["/".join(parts[:length]) for length in range(len(parts), 0, -1)]


def _entry_for(entries: dict[str, Any], repository: Repository) -> dict[str, Any] | None:
    for key in _keys(repository):
        if isinstance(entry := entries.get(key), dict):
            return entry
    # Old files of Docker have URLs for keys, such as https://index.docker.io/v1/.
    hosts = _DOCKER_HUB if repository.registry in _DOCKER_HUB else (repository.registry,)
    for key, entry in entries.items():
        host = re.sub(r"^https?://", "", key).partition("/")[0]
        is_url_or_host = "://" in key or "/" not in key
        if is_url_or_host and host in hosts and isinstance(entry, dict):
            return entry
    return None


def _has_secret(entry: dict[str, Any]) -> bool:
    return any(entry.get(name) for name in ("auth", "username", "identitytoken", "registrytoken"))


def _from_entry(entry: dict[str, Any], file: Path) -> Credentials:
    def text(name: str) -> str:
        value = entry.get(name)
        return value if isinstance(value, str) else ""

    username, password = text("username"), text("password")
    if encoded := "".join(text("auth").split()):
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise UsageError(f"the auth file {file} has an 'auth' that is not base64") from None
        username, colon, password = pair.partition(":")
        if not colon:
            raise UsageError(f"the auth file {file} has an 'auth' that does not decode to user:password")
        # Docker pads the password with NUL bytes in old files.
        password = password.strip("\0")
    found = Credentials(username, password, text("identitytoken"))
    if found.is_anonymous and text("registrytoken"):
        raise Refused(
            f"the auth file {file} has only a 'registrytoken', which skopeo accepts only as an "
            "argument, where every process can read it: use an 'auth' or an 'identitytoken'"
        )
    return found


def _from_helper(name: str, server: str) -> Credentials:
    """Ask `docker-credential-NAME get`; anonymous where it has nothing for this server."""
    if not _HELPER_NAME.fullmatch(name):
        raise UsageError(f"{name!r:.100} is not the name of a credential helper")
    program = f"docker-credential-{name}"
    try:
        answer = subprocess.run(
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=_HELPER_SECONDS,
            check=False,
        )
    except (FileNotFoundError, PermissionError):
        raise Refused(f"the credential helper {program} for {server} is not installed") from None
    except subprocess.TimeoutExpired:
        raise Refused(f"the credential helper {program} gave no answer for {server}") from None
    if answer.returncode:
        if answer.stdout.strip() == _HELPER_HAS_NONE:
            return Credentials()
        # What it says is not shown: it may be the secret.
        raise Refused(
            f"the credential helper {program} failed for {server} with exit status {answer.returncode}: "
            f"try `echo {server} | {program} get`"
        )
    try:
        document = json.loads(answer.stdout)
    except (ValueError, RecursionError):
        document = None
    match document:
        case {"Username": "<token>", "Secret": str(token)}:
            # docker-credential-helpers: this user name marks the secret as an identity token.
            return Credentials(identity_token=token)
        case {"Username": str(username), "Secret": str(secret)}:
            return Credentials(username, secret)
    raise Refused(f"the credential helper {program} returned something that is not a credential for {server}")
