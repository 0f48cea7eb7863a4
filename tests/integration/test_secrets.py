"""No secret is ever seen: not in output at any verbosity, not in a process, not in a file that is left."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from tests import images
from tests.integration.command import environment, outcome_of
from tests.integration.registries import SECRETS, Account, Registry

IMAGE = images.gzip_image({"a": b"a" * 1000})


def seen_of(mark: str) -> bytes:
    """Arguments and environments of all processes that have this in their environment."""
    seen = b""
    for process in Path("/proc").iterdir():
        try:
            if process.name.isdecimal() and mark.encode() in (found := (process / "environ").read_bytes()):
                seen += (process / "cmdline").read_bytes() + found
        except OSError:
            continue
    return seen


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("verbosity", [(), ("--debug",)])
@pytest.mark.parametrize("password", [Account().password, "not-the-password"])
def test_no_secret_is_in_an_output_a_process_or_a_file(
    private_registry: Registry, repository: str, tmp_path: Path, output: str, verbosity: tuple[str, ...],
    password: str,
) -> None:  # fmt: skip
    account = Account(password=password)
    image = f"{private_registry.host}/{repository}@{private_registry.push(repository, IMAGE)}"
    for name in ("home/.docker", "tmp", "results"):
        (tmp_path / name).mkdir(parents=True)
    config = tmp_path / "home/.docker/config.json"
    config.write_text(json.dumps({"auths": {private_registry.host: {"auth": account.auth}}}))
    arguments = (f"--ca-file={private_registry.ca_file}", f"--output={output}", *verbosity)
    process = subprocess.Popen(
        ["recompress", "run", image, *arguments, f"--results-dir={tmp_path / 'results'}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(HOME=str(tmp_path / "home"), TMPDIR=str(tmp_path / "tmp")),
    )
    seen = b""
    while process.poll() is None:
        seen += seen_of(f"TMPDIR={tmp_path / 'tmp'}")
        seen += b"".join(file.read_bytes() for file in (tmp_path / "tmp").rglob("*.json") if file.is_file())
        time.sleep(0.01)
    out, err = process.communicate()
    outcome = outcome_of(process.returncode, out, err, tmp_path / "results", bool(verbosity))
    assert outcome.code == (0 if password == Account().password else 3)
    assert b"recompress\0run\0" in seen
    assert (b"skopeo\0copy\0--authfile" in seen) == (outcome.code == 0)
    assert {account.password, account.auth} <= SECRETS
    config.unlink()
    left = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert not any(secret.encode() in seen + left for secret in SECRETS)
