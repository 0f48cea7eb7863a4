"""Annotations, footer and limits of a zstd:chunked layer."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.errors import VerificationFailed
from recompress.layer.layout import FOOTER_BYTES, MAX_TOC_BYTES, Layout, Section, in_footer
from recompress.manifest import CHUNKED_ANNOTATIONS, TARSPLIT_POSITION, TOC_CHECKSUM, TOC_POSITION
from recompress.reference import Digest
from tests.tampering import Packed

GOOD = Packed.load("kinds")
LAYOUT = Layout.of(GOOD.layer)
SIZE = GOOD.layer.size


def annotated(key: str, value: str | None) -> Packed:
    annotations = {**GOOD.layer.annotations}
    del annotations[key]
    if value is not None:
        annotations[key] = value
    return replace(GOOD, layer=replace(GOOD.layer, annotations=annotations))


def refused(packed: Packed) -> str:
    with pytest.raises(VerificationFailed) as caught:
        Layout.of(packed.layer)
    return str(caught.value)


def test_the_layout_is_where_skopeo_put_it() -> None:
    blob = GOOD.blob
    assert blob[LAYOUT.content_end : LAYOUT.toc.offset] == LAYOUT.toc_header
    assert blob[LAYOUT.toc.end : LAYOUT.tar_split.offset] == LAYOUT.tar_split_header
    assert blob[LAYOUT.tar_split.end :] == LAYOUT.footer


@pytest.mark.parametrize("key", CHUNKED_ANNOTATIONS)
@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "1",
        "1:2",
        "a:b:c:1",
        "-1:2:3:1",
        "+1:2:3:1",
        " 1:2:3:1",
        "1:2:3:1 ",
        "1:2:3:1\n",
        "1_0:2:3:1",
        "01:2:3:1",
        "1.0:2:3:1",
        "0x1:2:3:1",
        "1:2:3:1:1",
        "١:٢:٣:١",
        f"{10**19}:2:3:1",
        "sha256:abc",
    ],
)
def test_a_malformed_annotation_is_refused_by_name(key: str, value: str | None) -> None:
    assert refused(annotated(key, value)).startswith(f"annotation {key}: ")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (TOC_POSITION, "100:100:100:2", "the type of the table is 2, not 1"),
        (TOC_POSITION, f"{SIZE}:1:100:1", f"are not inside the blob of {SIZE} bytes"),
        (TOC_POSITION, f"0:{SIZE}:100:1", f"are not inside the blob of {SIZE} bytes"),
        (TOC_POSITION, f"7:{SIZE - 7}:100:1", f"are not inside the blob of {SIZE} bytes"),
        (TOC_POSITION, f"8:{2**62}:100:1", f"are not inside the blob of {SIZE} bytes"),
        (TOC_POSITION, "100:0:0:1", "there is nothing at that position"),
        (TARSPLIT_POSITION, f"{2**63 - 1}:{2**63 - 1}:1", f"are not inside the blob of {SIZE} bytes"),
        (TARSPLIT_POSITION, "100:0:0", "there is nothing at that position"),
        (TOC_POSITION, "8:1:1:1", "do not describe the end of a blob"),
        (TARSPLIT_POSITION, "8:1:1", "do not describe the end of a blob"),
    ],
)
def test_an_impossible_position_is_refused(key: str, value: str, message: str) -> None:
    assert message in refused(annotated(key, value))


@pytest.mark.parametrize(
    "layout",
    [
        replace(LAYOUT, toc=replace(LAYOUT.toc, length=MAX_TOC_BYTES + 1)),
        replace(LAYOUT, toc=replace(LAYOUT.toc, uncompressed=MAX_TOC_BYTES + 1)),
        replace(LAYOUT, tar_split=replace(LAYOUT.tar_split, length=MAX_TOC_BYTES + 1)),
        replace(LAYOUT, tar_split=replace(LAYOUT.tar_split, uncompressed=2**40 + 1)),
    ],
)
def test_tables_that_clients_do_not_read_are_too_large(layout: Layout) -> None:
    assert layout.is_too_large
    assert not LAYOUT.is_too_large


def test_the_annotations_of_a_layer_follow_from_its_footer_and_its_table() -> None:
    sections = in_footer(GOOD.blob[-FOOTER_BYTES:], SIZE)
    assert sections is not None
    toc, tar_split = sections
    checksum = Digest.of(GOOD.blob[toc.offset : toc.end])
    assert Layout(toc, checksum, tar_split).annotations == GOOD.layer.chunked


@pytest.mark.parametrize("at", range(FOOTER_BYTES))
def test_a_footer_with_a_changed_byte_is_none(at: int) -> None:
    footer = bytearray(GOOD.blob[-FOOTER_BYTES:])
    footer[at] ^= 1
    # How large the sections are uncompressed is not seen here, but when they are decompressed.
    is_seen = not (24 <= at < 32 or 56 <= at < 64)
    assert (in_footer(bytes(footer), SIZE) is None) == is_seen


def test_the_largest_table_that_clients_take_is_fine() -> None:
    toc, tar_split = LAYOUT.toc, LAYOUT.tar_split
    position = f"{toc.offset}:{toc.length}:{MAX_TOC_BYTES}:1"
    layout = Layout.of(annotated(TOC_POSITION, position).layer)
    assert not layout.is_too_large
    assert layout == replace(LAYOUT, toc=Section(toc.offset, toc.length, MAX_TOC_BYTES), tar_split=tar_split)


@pytest.mark.parametrize("off", [-1, 1])
def test_positions_that_leave_a_gap_or_overlap_are_refused(off: int) -> None:
    toc, tar_split = LAYOUT.toc, LAYOUT.tar_split
    for moved in (
        annotated(TOC_POSITION, f"{toc.offset}:{toc.length + off}:{toc.uncompressed}:1"),
        annotated(TOC_POSITION, f"{toc.offset + off}:{toc.length}:{toc.uncompressed}:1"),
        annotated(TARSPLIT_POSITION, f"{tar_split.offset + off}:{tar_split.length}:1"),
        annotated(TARSPLIT_POSITION, f"{tar_split.offset}:{tar_split.length - 1}:1"),
    ):
        assert "do not describe the end of a blob" in refused(moved)


def test_a_layer_without_any_bytes_has_no_tar_split_data() -> None:
    assert (
        refused(Packed.load("no-bytes"))
        == f"annotation {TARSPLIT_POSITION}: there is nothing at that position"
    )


def test_two_tables_of_contents_are_refused() -> None:
    annotations = {**GOOD.layer.annotations, "containerd.io/snapshot/stargz/toc.digest": "sha256:" + "0" * 64}
    both = replace(GOOD, layer=replace(GOOD.layer, annotations=annotations))
    assert refused(both) == "it has the tables of contents of both zstd:chunked and eStargz"


@pytest.mark.parametrize(
    "value", ["SHA256:" + "0" * 64, "sha256:" + "A" * 64, "sha512:" + "0" * 128, "0" * 64]
)
def test_another_form_of_checksum_is_refused(value: str) -> None:
    assert refused(annotated(TOC_CHECKSUM, value)).startswith(f"annotation {TOC_CHECKSUM}: ")


@given(st.dictionaries(st.sampled_from(CHUNKED_ANNOTATIONS), st.text()), st.integers(0, 2**63 - 1))
def test_no_annotation_makes_another_error(annotations: dict[str, str], size: int) -> None:
    layer = replace(GOOD.layer, annotations={**GOOD.layer.annotations, **annotations}, size=size)
    with contextlib.suppress(VerificationFailed):
        Layout.of(layer)
