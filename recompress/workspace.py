"""What skopeo finds around it: a directory of the run's own, gone when the run ends.

In it are the certificates, skopeo's temporary files and its blob info cache. The credentials are
in memory alone.
"""

from __future__ import annotations

import json
import os
import tempfile
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from recompress.errors import UsageError
from recompress.reference import Repository
from recompress.registry import Connection, auth_file, credentials_for

_USER_POLICY = ".config/containers/policy.json"
_SYSTEM_POLICY = Path("/etc/containers/policy.json")
_ANYTHING = [{"type": "insecureAcceptAnything"}]
_REGISTRIES_CONF = ".config/containers/registries.conf"
_LOOKASIDE = ".config/containers/registries.d"


@dataclass(frozen=True, slots=True)
class Workspace:
    """The directory, what lies in it, and the environment that points skopeo there.

    `auth_file` is an open file descriptor that skopeo inherits. `policy` is the file that says whose images
    skopeo may copy (containers-policy.json(5)).
    """

    directory: Path
    auth_file: int
    cert_dir: Path
    policy: Path
    verify_tls: bool
    environment: Mapping[str, str]


@contextmanager
def workspace(
    connection: Connection, repositories: tuple[Repository, ...], environment: Mapping[str, str]
) -> Iterator[Workspace]:
    """Make a workspace with the credentials for these repositories; it is removed on the way out.

    Raises UsageError where no directory can be made.
    """
    found = {r: credentials_for(r, connection.auth_files) for r in repositories}
    with auth_file(found) as open_auth_file, _directory() as directory:
        cert_dir = directory / "certs.d"
        cert_dir.mkdir()
        for number, file in enumerate(connection.tls.ca_files):
            (cert_dir / f"{number}.crt").symlink_to(file.absolute())
        _make_home(environment, directory)
        yield Workspace(
            directory,
            open_auth_file,
            cert_dir,
            _policy(environment, directory),
            connection.tls.verify,
            _environment(environment, directory),
        )


def accepts_everything(environment: Mapping[str, str]) -> bool:
    """Whether skopeo would copy any image from a registry, by its policy (containers-policy.json(5)).

    False for a policy that cannot be read: skopeo says what is wrong with it.
    """
    place = _found_policy(environment)
    if place is None:
        return True
    try:
        document = json.loads(place.read_bytes())
        of_registries = document.get("transports", {}).get("docker", {}).values()
    except (OSError, ValueError, AttributeError, RecursionError):
        return False
    return all(requirements == _ANYTHING for requirements in (document.get("default"), *of_registries))


@contextmanager
def _directory() -> Iterator[Path]:
    try:
        made = tempfile.TemporaryDirectory(prefix="recompress-", ignore_cleanup_errors=True)
    except OSError as error:
        raise UsageError(f"no temporary directory can be made: {error}; TMPDIR names another place") from None
    with made as name:
        yield Path(name)


def _policy(environment: Mapping[str, str], directory: Path) -> Path:
    """The policy that skopeo would find, and one that accepts everything where there is none.

    Without one skopeo copies nothing. The image is named by its digest, so there is no doubt which one it is.
    """
    if place := _found_policy(environment):
        return place
    own = directory / "policy.json"
    own.write_text(json.dumps({"default": _ANYTHING}))
    return own


def _found_policy(environment: Mapping[str, str]) -> Path | None:
    places = (_home(environment) / _USER_POLICY, _SYSTEM_POLICY)
    return next((place for place in places if place.exists()), None)


def _make_home(environment: Mapping[str, str], directory: Path) -> None:
    """Make the directory a home in which skopeo finds a registries.conf that says nothing.

    A mirror, a rewrite, a block or `insecure` in the machine's own would have skopeo speak to another
    registry than the one that is named, which is the one that everything here reads. A user's file takes the
    place of the system's and of all in registries.conf.d (containers/image, sysregistriesv2,
    newConfigWrapper); the option --registries-conf leaves the latter. Where signatures are kept
    (registries.d) is the user's still: a policy can demand them.
    """
    (directory / _REGISTRIES_CONF).parent.mkdir(parents=True)
    (directory / _REGISTRIES_CONF).touch()
    (directory / _LOOKASIDE).symlink_to(_home(environment) / _LOOKASIDE)


def _home(environment: Mapping[str, str]) -> Path:
    return Path(environment.get("HOME") or "/")


def _environment(environment: Mapping[str, str], directory: Path) -> dict[str, str]:
    own = {
        **environment,
        "TMPDIR": str(directory),
        "HOME": str(directory),
        # The blob info cache lies below; one that outlives the run could make skopeo reuse what
        # nobody here has proven.
        "XDG_DATA_HOME": str(directory),
    }
    proxies = urllib.request.getproxies_environment()
    for scheme in ("http", "https"):
        if "all" in proxies and scheme not in proxies:
            # httpx knows ALL_PROXY, Go does not.
            own[f"{scheme.upper()}_PROXY"] = proxies["all"]
    if os.geteuid() == 0:
        # containers/image keeps root's cache in /var/lib/containers, whatever XDG_DATA_HOME says,
        # unless it is told that the user is another one outside (rootless.GetRootlessEUID).
        own["_CONTAINERS_ROOTLESS_UID"] = "1"
    return own
