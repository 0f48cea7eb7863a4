"""Run a command as podman runs itself for a user who is not root: in a user namespace, with IDs of its own.

    python3 -m tests.differential.rootless DIRECTORY COMMAND…

DIRECTORY is the user's: it is home, and for what is temporary.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

USER = 1000
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_IDS = f"0 {USER} 1\n1 100000 65536\n"


def main() -> int:
    """Run it, and return its exit code."""
    directory, *command = sys.argv[1:]
    os.chown(directory, USER, USER)
    into_child, from_parent = os.pipe()
    into_parent, from_child = os.pipe()
    child = os.fork()
    if not child:
        ctypes.CDLL(None).unshare(_CLONE_NEWUSER | _CLONE_NEWNS)
        os.write(from_child, b"x")
        os.read(into_child, 1)
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.execvpe(command[0], command, _environment(directory))
    os.read(into_parent, 1)
    # newuidmap(1) does this for a user.
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{child}/{name}").write_text(_IDS)
    os.write(from_parent, b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _environment(directory: str) -> dict[str, str]:
    # By these podman knows that it has put itself into the namespace.
    own = {"_CONTAINERS_USERNS_CONFIGURED": "done", "_CONTAINERS_ROOTLESS_UID": str(USER)}
    places = dict.fromkeys(("HOME", "TMPDIR", "XDG_RUNTIME_DIR"), directory)
    return {**os.environ, **own, "_CONTAINERS_ROOTLESS_GID": str(USER), **places}


if __name__ == "__main__":
    sys.exit(main())
