"""An image all of whose layers are at the destination: nothing is to be copied, unless something is amiss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import images
from tests.http_server import Answer, Request
from tests.images import HandmadeImage
from tests.integration.conftest import Run
from tests.integration.proxy import Proxy
from tests.integration.registries import Registry
from tests.integration.twins import assert_twin

Push = Callable[[HandmadeImage], str]
IMAGE = images.gzip_image({"a": b"a" * 1000}, {"b": b"b" * 1000})


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """Has a line for each copy that skopeo was started for. PATH finds it before the real one."""
    file = tmp_path / "copies"
    program = tmp_path / "bin/skopeo"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\ncase "$*" in *--help*) ;; *) echo "$@" >> {file};; esac\nexec /usr/bin/skopeo "$@"\n'
    )
    program.chmod(0o755)
    file.touch()
    return file


def path(copies: Path) -> str:
    return f"{copies.parent}/bin:/usr/local/bin:/usr/bin:/bin"


@pytest.mark.parametrize("verify", ["content", "structure"])
def test_the_same_image_again_is_no_work_for_skopeo(
    run: Run, registry: Registry, repository: str, push: Push, copies: Path, verify: str
) -> None:
    reference = push(IMAGE)
    first = run(reference).succeeded()
    again = run(reference, f"--verify={verify}", PATH=path(copies)).succeeded()
    assert copies.read_text() == ""
    assert again.results == first.results
    assert {layer["action"] for layer in again.report["layers"]} == {"reused"}
    assert_twin(registry, repository, IMAGE.digest, again.results)


def test_nor_is_another_image_of_the_same_layers(
    run: Run, registry: Registry, repository: str, push: Push, copies: Path
) -> None:
    run(push(IMAGE)).succeeded()
    settings = json.dumps({**json.loads(IMAGE.config), "config": {"Env": ["A=b"]}}).encode()
    other = HandmadeImage(
        images.manifest(settings, json.loads(IMAGE.manifest)["layers"]), settings, IMAGE.layers
    )
    outcome = run(push(other), PATH=path(copies)).succeeded()
    assert copies.read_text() == ""
    assert_twin(registry, repository, other.digest, outcome.results)


@pytest.mark.parametrize(
    "policy",
    [
        {"default": [{"type": "reject"}]},
        {
            "default": [{"type": "insecureAcceptAnything"}],
            "transports": {"docker": {"": [{"type": "reject"}]}},
        },
    ],
)
def test_a_policy_that_rejects_the_image_is_asked_all_the_same(
    run: Run, push: Push, tmp_path: Path, policy: object
) -> None:
    reference = push(IMAGE)
    run(reference).succeeded()
    file = tmp_path / ".config/containers/policy.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(policy))
    run(reference, HOME=str(tmp_path)).failed(8, str(file), "rejected by policy")


def test_a_layer_that_is_gone_when_the_manifest_is_pushed_is_looked_for_by_skopeo(
    run: Run, proxy: Proxy, registry: Registry, repository: str, push: Push, copies: Path
) -> None:
    run(push(IMAGE)).succeeded()
    unknown = Answer(400, b'{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}')
    left = [1]

    def fault(request: Request) -> Answer | None:
        if request.method == "PUT" and "/manifests/" in request.path and left:
            left.clear()
            return unknown
        return None

    proxy.fault = fault
    reference = f"{proxy.host}/{repository}@{IMAGE.digest}"
    outcome = run(reference, "--attempts=1", PATH=path(copies)).succeeded()
    assert "docker://" in copies.read_text()
    (warning,) = outcome.report["warnings"]
    assert warning.startswith("the twin is made once more: the registry does not accept a manifest")
