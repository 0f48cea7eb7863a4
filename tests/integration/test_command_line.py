"""What a shell and a terminal see of the command."""

from __future__ import annotations

import os
import pty
import re
import subprocess

import pytest

from recompress import __version__
from tests import images
from tests.integration.command import environment, recompress
from tests.integration.registries import Registry

IMAGE = images.gzip_image({"a": b"a"})
COLOR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-8]|9[0-7])[;m]")


def test_the_version_is_told() -> None:
    assert recompress("--version").succeeded().out == f"recompress {__version__}\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_is_given_a_script_that_completes(shell: str) -> None:
    script = recompress(env={"_RECOMPRESS_COMPLETE": f"source_{shell}"}).succeeded().out
    assert f"_RECOMPRESS_COMPLETE=complete_{shell}" in script
    assert "%(" not in script


@pytest.mark.parametrize(
    ("words", "expected"),
    [("recompress ", {"run", "verify", "inspect", "index", "prune"}), ("recompress run --ver", {"--verify"})],
)
def test_commands_and_options_are_completed(words: str, expected: set[str]) -> None:
    env = {
        "_RECOMPRESS_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    assert set(recompress(env=env).succeeded().out.split()) == expected


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_takes_the_colors_and_nothing_else(
    registry: Registry, repository: str, no_color: str
) -> None:
    image = f"{registry.host}/{repository}@{registry.push(repository, IMAGE)}"
    ours, theirs = pty.openpty()
    env = environment(TERM="xterm-256color", COLUMNS="200", **({"NO_COLOR": no_color} if no_color else {}))
    command = ["recompress", "run", image, "--no-tls-verify"]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=env) as process:
        os.close(theirs)
        seen = b""
        try:
            while chunk := os.read(ours, 65536):
                seen += chunk
        except OSError:
            pass  # EIO: it has ended.
        assert process.wait() == 0
    os.close(ours)
    assert b"zstd:chunked" in seen
    assert bool(COLOR.search(seen)) == (not no_color)
