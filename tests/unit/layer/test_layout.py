"""Annotations, footer and limits of a zstd:chunked layer."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.errors import VerificationFailed
from recompress.layer.layout import MAX_TOC_BYTES, Layout, Section
from recompress.manifest import CHUNKED_ANNOTATIONS, TARSPLIT_POSITION, TOC_CHECKSUM, TOC_POSITION
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
        (TOC_POSITION, f"8:1:{MAX_TOC_BYTES + 1}:1", f"no more than {MAX_TOC_BYTES} for the table"),
        (TOC_POSITION, "8:1:4294967296:1", f"no more than {MAX_TOC_BYTES} for the table"),
        (TARSPLIT_POSITION, f"8:1:{2**40 + 1}", f"its tar-split data {2**40 + 1}"),
        (TOC_POSITION, "8:1:1:1", "do not describe the end of a blob"),
        (TARSPLIT_POSITION, "8:1:1", "do not describe the end of a blob"),
    ],
)
def test_an_impossible_position_is_refused(key: str, value: str, message: str) -> None:
    assert message in refused(annotated(key, value))


@pytest.mark.parametrize("key", [TOC_POSITION, TARSPLIT_POSITION])
def test_a_section_larger_than_clients_take_is_refused(key: str) -> None:
    large = annotated(key, f"8:{MAX_TOC_BYTES + 1}:1" + (":1" if key == TOC_POSITION else ""))
    message = refused(replace(large, layer=replace(large.layer, size=2**40)))
    assert f"{MAX_TOC_BYTES + 1} bytes are more than the {MAX_TOC_BYTES} that clients accept" in message


def test_the_largest_table_that_clients_take_is_fine() -> None:
    toc, tar_split = LAYOUT.toc, LAYOUT.tar_split
    position = f"{toc.offset}:{toc.length}:{MAX_TOC_BYTES}:1"
    assert Layout.of(annotated(TOC_POSITION, position).layer) == replace(
        LAYOUT, toc=Section(toc.offset, toc.length, MAX_TOC_BYTES), tar_split=tar_split
    )


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
