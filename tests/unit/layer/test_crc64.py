"""The library's CRC-64-ISO against the plain algorithm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recompress.layer.proof import crc64


def bit_by_bit(data: bytes, checksum: int = 0) -> int:
    checksum ^= 2**64 - 1
    for byte in data:
        checksum ^= byte
        for _ in range(8):
            checksum = (checksum >> 1) ^ (0xD800000000000000 if checksum & 1 else 0)
    return checksum ^ (2**64 - 1)


def test_the_check_value_is_that_of_the_catalogues() -> None:
    assert crc64(b"123456789", 0) == 0xB90956C775A41001
    assert crc64(b"", 0) == 0


def test_the_checksum_is_what_tar_split_stores() -> None:
    # tar/storage/getter_test.go of vbatts/tar-split
    assert crc64(b"foo", 0).to_bytes(8, "big") == bytes([60, 60, 48, 48, 0, 0, 0, 0])
    assert crc64(b"bar", 0).to_bytes(8, "big") == bytes([45, 196, 22, 240, 0, 0, 0, 0])


@given(st.binary(max_size=600), st.integers(0, 2**64 - 1))
def test_it_is_the_same_as_bit_by_bit(data: bytes, checksum: int) -> None:
    assert crc64(data, checksum) == bit_by_bit(data, checksum)


def test_it_is_the_same_for_more_bytes_than_a_library_takes_at_once() -> None:
    data = bytes(range(251)) * 200
    for size in (15863, 15864, 15865, 31728, 31729, len(data)):
        assert crc64(data[:size], 0) == bit_by_bit(data[:size])


@given(st.lists(st.binary(max_size=300)))
def test_it_can_be_computed_in_parts(parts: list[bytes]) -> None:
    checksum = 0
    for part in parts:
        checksum = crc64(part, checksum)
    assert checksum == crc64(b"".join(parts), 0)
