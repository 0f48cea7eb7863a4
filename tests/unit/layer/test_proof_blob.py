"""The blob as a whole: no byte of it can be another one, and no section."""

from __future__ import annotations

from dataclasses import replace

import pytest

from recompress.errors import VerificationFailed
from recompress.layer.layout import Layout
from recompress.reference import Digest
from tests.tampering import Layer, Packed
from tests.unit.layer.refusal import refused


def sections_of(packed: Packed) -> tuple[bytes, bytes]:
    layout = Layout.of(packed.layer)
    return packed.section(layout.toc), packed.section(layout.tar_split)


def test_a_truncated_blob_is_found() -> None:
    packed = Packed.load("kinds")
    for size in range(0, len(packed.blob), 7):
        cut = replace(packed, blob=packed.blob[:size], sections=sections_of(packed))
        assert "the blob ends after " in refused(cut)


def test_trailing_data_is_found() -> None:
    packed = Packed.load("kinds")
    longer = replace(packed, blob=packed.blob + b"\0", sections=sections_of(packed))
    assert refused(longer) == f"the blob is larger than the {len(packed.blob)} bytes its descriptor says"


def test_trailing_data_that_the_descriptor_knows_of_is_found() -> None:
    packed = Packed.load("kinds")
    longer = packed.signed(packed.blob + packed.blob[-72:])
    with pytest.raises(VerificationFailed, match="do not describe the end of a blob of 2562 bytes"):
        longer.prove()


def test_another_digest_of_the_blob_is_found() -> None:
    packed = Packed.load("kinds")
    other = replace(packed, layer=replace(packed.layer, digest=Digest.of(b"x")))
    assert refused(other) == f"the blob has the digest {packed.layer.digest} and not {Digest.of(b'x')}"


def test_every_single_changed_byte_is_found() -> None:
    packed = Packed.load("half-end")
    for at in range(len(packed.blob)):
        blob = bytearray(packed.blob)
        blob[at] ^= 0x55
        refused(replace(packed, blob=bytes(blob), sections=sections_of(packed)))
        refused(replace(packed, blob=bytes(blob)))


def test_every_single_changed_byte_is_found_in_a_blob_that_is_signed_again() -> None:
    packed = Packed.load("half-end")
    proven = 0
    for at in range(len(packed.blob)):
        blob = bytearray(packed.blob)
        blob[at] ^= 0x55
        changed = packed.signed(bytes(blob))
        try:
            changed.prove()
        except VerificationFailed:
            continue
        # The stream is what it was: frames can be written in more than one way.
        proven += 1
    assert proven < 10


def test_another_table_in_the_blob_than_was_fetched_is_found() -> None:
    packed, other = Layer.load("kinds").pack(), Layer.load("pax").pack()
    toc, tar_split = sections_of(packed)
    foreign = sections_of(other)
    assert "the table of contents has the digest" in refused(replace(packed, sections=(toc[::-1], tar_split)))
    assert "bytes came from offset" in refused(replace(packed, sections=(foreign[0], tar_split)))
    assert "bytes came from offset" in refused(replace(packed, sections=(toc, foreign[1])))
    assert "the tar-split data " in refused(replace(packed, sections=(toc, tar_split[::-1])))


def test_another_section_of_the_blob_than_was_fetched_is_found() -> None:
    packed = Layer.load("kinds").pack()
    sections = sections_of(packed)
    for section, name in zip(sections, ("table of contents", "tar-split data"), strict=True):
        at = packed.blob.index(section)
        changed = packed.blob[: at + 9] + b"\xff" + packed.blob[at + 10 :]
        assert f"the {name} in the blob has the digest" in refused(
            replace(packed.signed(changed), sections=sections)
        )


@pytest.mark.parametrize("position", range(8))
def test_a_footer_that_says_something_else_is_found(position: int) -> None:
    def footer(right: bytes) -> bytes:
        return right[: 8 * position] + bytes([right[8 * position] ^ 1]) + right[8 * position + 1 :]

    assert "the footer in the blob is " in refused(Layer.load("kinds").pack(footer=footer))


def test_another_kind_of_frame_around_a_section_is_found() -> None:
    packed = Layer.load("kinds").pack()
    sections = sections_of(packed)
    for section, message in zip(sections, ("table of contents", "tar-split data"), strict=True):
        at = packed.blob.index(section) - 8
        changed = packed.blob[:at] + b"\x51" + packed.blob[at + 1 :]
        assert f"the frame header of the {message} in the blob is " in refused(packed.signed(changed))
