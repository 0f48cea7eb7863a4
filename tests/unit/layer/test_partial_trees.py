"""Plain trees may be pulled partially, whatever is in them and in almost any order."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.entries import directory, file, hard_link, judged, symlink, verdict

NAMES = st.text(
    # U+FFFD is what a table of contents has in place of what is not UTF-8.
    st.characters(exclude_characters="\0/\ufffd", exclude_categories=["Cs"]),
    min_size=1,
    max_size=9,
).filter(lambda name: name not in (".", "..") and not name.startswith(".wh."))

_DEEP_BYTES = 50
"""Nothing lies below a longer path: a header has 100 bytes for a name, and what is cut may not be UTF-8."""


@st.composite
def trees(draw: st.DrawFn) -> list[bytes]:
    """The entries of a plain tree in any order, but hard links are somewhere behind their targets.

    Where files have content, the directories come first.
    """
    has_content = draw(st.booleans())
    directories = [""]
    first: list[bytes] = []
    linked: list[str] = []
    files: list[bytes] = []
    entries: list[bytes] = []
    for name in draw(st.lists(NAMES, unique=True, max_size=20)):
        path = draw(st.sampled_from(directories)) + name
        spelled = draw(st.sampled_from(["", "./", "/"])) + path
        owner: dict[str, Any] = {"uid": draw(st.integers(0, 9)), "mode": draw(st.integers(0, 0o777))}
        kind = draw(st.sampled_from(["directory", "file", "symbolic link", "hard link", "whiteout"]))
        if kind == "directory":
            if len(path.encode()) < _DEEP_BYTES:
                directories.append(path + "/")
            (first if has_content else entries).append(directory(spelled, **owner))
        elif kind == "symbolic link":
            entries.append(symlink(spelled, draw(NAMES), **owner))
        elif kind == "whiteout":
            entries.append(file(f"{spelled.removesuffix(name)}.wh.{name}", **owner))
        elif kind == "hard link" and linked:
            files.append(hard_link(spelled, draw(st.sampled_from(linked)), **owner))
            linked.append(path)
        else:
            files.append(file(spelled, draw(st.binary(max_size=3 if has_content else 0)), **owner))
            linked.append(path)
    entries = draw(st.permutations(entries))
    at = sorted(draw(st.integers(0, len(entries))) for _ in files)
    for number, one in enumerate(files):
        entries.insert(at[number] + number, one)
    return [*first, *entries]


@given(trees())
def test_a_plain_tree_does_not_count_in_whatever_order(tree: list[bytes]) -> None:
    assert verdict(*tree) is None


@given(trees(), st.data())
def test_in_whatever_order_a_tree_counts_if_a_directory_is_missing_in_it(
    tree: list[bytes], data: st.DataObject
) -> None:
    lost = data.draw(st.sampled_from([file("missing/a"), symlink("missing/a"), directory("missing/a")]))
    tree.insert(data.draw(st.integers(0, len(tree))), lost)
    reason = verdict(*tree)
    assert reason is not None
    assert reason.endswith(": its directory missing is not in the layer")


@given(trees(), st.data())
def test_in_whatever_order_a_tree_counts_if_a_path_is_twice_in_it(
    tree: list[bytes], data: st.DataObject
) -> None:
    for _ in range(2):
        tree.insert(data.draw(st.integers(0, len(tree))), file("twice twice"))
    assert verdict(*tree) == "twice twice: the layer has more than one entry for this path"


def filled(top: Path) -> Path:
    for name in ("a/b/c", "a/.hidden", "d", "empty"):
        (top / name).mkdir(parents=True)
        (top / name / "file").write_bytes(b"content")
        (top / name / ".file").touch()
    (top / "a/soft").symlink_to("../d")
    (top / "a/nowhere").symlink_to("nowhere")
    (top / "d/hard").hardlink_to(top / "a/b/c/file")
    (top / "d/set").touch(0o4755)
    (top / "d/naïve ☃").touch()
    return top


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("prefix", ["", "./", "usr/"])
def test_a_real_directory_does_not_count(tmp_path: Path, form: int, prefix: str) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=form) as tar:
        if prefix == "usr/":
            tar.add(tmp_path, "usr", recursive=False)
        for child in sorted(filled(tmp_path).iterdir()):
            tar.add(child, prefix + child.name)
    judge = judged(made.getvalue())
    judge.see_trailing(bytes(512))
    assert judge.end() is None
