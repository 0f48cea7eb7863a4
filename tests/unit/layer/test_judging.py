"""A layer's tables alone give the verdict that its proof gives, or none."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest

from recompress.errors import VerificationFailed
from recompress.layer import Layout, Verdict, judge_tables
from tests.tampering import DESCRIBED, Layer, Packed, encoded

PROVEN = sorted(DESCRIBED.keys() - {"no-bytes", "no-padding", "sparse-pax"})
OTHER_WORDS = {"not-utf-8", "zeros-at-end"}
"""Of these a table does not know as much: how a name was written, and what clients make of a cut in zeros."""

Tamper = Callable[[Layer], None]


def judged(packed: Packed) -> Verdict:
    layout = Layout.of(packed.layer)
    sections = (io.BytesIO(packed.section(part)) for part in (layout.toc, layout.tar_split))
    return judge_tables(layout, *sections)


def judged_after(name: str, tamper: Tamper) -> Verdict:
    layer = Layer.load(name)
    tamper(layer)
    return judged(layer.pack())


@pytest.mark.parametrize("name", PROVEN)
def test_the_tables_give_the_verdict_of_the_proof(name: str) -> None:
    packed = Packed.load(name)
    proof, verdict = packed.prove(), judged(packed)
    assert (verdict.changes_root, verdict.layout) == (proof.changes_root, proof.layout)
    if name in OTHER_WORDS:
        assert verdict.why_full
        assert proof.why_full
    else:
        assert verdict.why_full == proof.why_full


@pytest.mark.parametrize(
    ("name", "content"), [("chunks", b"x"), ("chunks", bytes(100)), ("empty", b"x" * 1024)]
)
def test_a_segment_behind_the_end_that_is_no_block_of_zeros_makes_it_a_full_pull(
    name: str, content: bytes
) -> None:
    def tamper(layer: Layer) -> None:
        position = len(layer.tar_split)
        layer.tar_split.append({"type": 2, "payload": encoded(content), "position": position})

    assert judged_after(name, tamper).why_full == "there are bytes behind the end of its archive"


def test_a_file_without_a_time_in_the_table_would_get_that_of_the_pull() -> None:
    def tamper(layer: Layer) -> None:
        del layer.entry("./dir/file")["modtime"]

    reason = "./dir/file: its modification time is before 1970 or after 2262"
    assert judged_after("kinds", tamper).why_full == reason


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "socket"}, "./dir/file: its type in the table is 'socket'"),
        ({"xattrs": {"user.a": "not base64"}}, "a name or an xattr that cannot be read"),
    ],
)
def test_a_table_that_no_tar_stream_can_have_is_refused(changes: dict[str, object], message: str) -> None:
    def tamper(layer: Layer) -> None:
        layer.entry("./dir/file").update(changes)

    with pytest.raises(VerificationFailed, match=re.escape(message)):
        judged_after("kinds", tamper)


def test_tar_split_data_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(VerificationFailed, match="a line that is not an entry"):
        judged_after("chunks", lambda layer: layer.tar_split.append({"type": 2, "payload": 5}))


def test_another_table_of_contents_than_the_annotation_names_is_refused() -> None:
    packed = Packed.load("kinds")
    layout = Layout.of(packed.layer)
    toc = packed.section(layout.toc)[::-1]
    with pytest.raises(VerificationFailed, match="the table of contents has the digest"):
        judge_tables(layout, io.BytesIO(toc), io.BytesIO(packed.section(layout.tar_split)))
