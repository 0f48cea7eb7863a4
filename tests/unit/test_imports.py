"""What is loaded before there is anything to do: it is waited for by everybody."""

from __future__ import annotations

import subprocess
import sys

import pytest

_RUN = """
import sys
from recompress import __main__
sys.argv = ["recompress", *{arguments!r}]
try:
    __main__.main()
finally:
    print("loaded", *(name for name, module in sys.modules.items() if module), file=sys.stderr)
"""


def loaded(*arguments: str) -> set[str]:
    """The modules that a call of the command loads."""
    command = [sys.executable, "-c", _RUN.format(arguments=arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    (line,) = [line for line in ended.stderr.splitlines() if line.startswith("loaded")]
    return set(line.split())


@pytest.mark.parametrize("module", ["httpx._main", "pygments", "rich.progress", "recompress.drawing"])
def test_what_draws_on_terminals_is_not_loaded_before_it_draws(module: str) -> None:
    for arguments in (["--version"], ["run", "quay.io/org/app"]):
        modules = loaded(*arguments)
        assert "recompress.cli" in modules
        assert module not in modules
