"""How far back the matches of a zstd frame reach, found without decompressing it.

A frame says how large a window it needs: no match copies from further back. libzstd follows a match wherever
it still has the bytes; klauspost/compress, the decoder in clients, has no more than the window, and refuses.
So does `Walk`. In a frame with no more content than its window there is nothing to find, nor in a block whose
codes cannot express such a distance.

A walk runs beside a decoder, which sees to it that the frame is sound in all other respects. So it reads no
more than it has to: of a block the sequences, which say how far to go back and how much to copy, but no
literals. Names and numbers are those of RFC 8878, section 3.1.1.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import accumulate

from recompress.layer.compat import zstd
from recompress.printable import counted

LARGEST_HEADER = 18
"""The most bytes that the header of a frame has, with the magic number."""
SMALLEST_FRAME = 9
"""The least that a frame has: the magic number, two bytes of header, and the header of an empty block."""

# Memory is what a window costs. Frames of klauspost/compress, the compressor in skopeo, have windows of up to
# 8 MiB (32 MiB in old releases), and RFC 8878 recommends 8 MiB as the least that a decoder supports.
_LARGEST_WINDOW = 32 * 1024 * 1024
_SMALLEST_WINDOW = 1024
_LARGEST_BLOCK = 128 * 1024
_SINGLE_SEGMENT = 0x20
_RAW, _RLE, _COMPRESSED = range(3)
_PREDEFINED, _SINGLE, _DESCRIBED = range(3)
# Of a table of codes: how many states it may have, as a power of two, and what its description fits in.
_LARGEST_ACCURACY = 9
_LARGEST_DESCRIPTION = 128
# Python copies a long number to shift it, so a bitstream is read in pieces of that many bytes.
_PIECE = 64
# Behind the last sequence are no bits for next states; zeros in their place make it like all others.
_PADDING = bytes(4)
_MASKS = [(1 << bits) - 1 for bits in range(90)]

_Bytes = bytes | memoryview
_Cell = tuple[int, int, int, int]
"""A state: a number and how many bits of the stream to add to it, the next state and the same for that."""


def frame_header(data: bytes) -> tuple[int, int, int | None]:
    """Read the header of a frame from its first `LARGEST_HEADER` bytes, or as many as there are.

    Returns its length, the window and, if it says so, the length of the content, in bytes. Raises ZstdError
    for a window larger than those of real frames.
    """
    flags = data[4]
    start, length, smallest = _CONTENT_FIELDS[flags]
    content = None
    if length > start:
        content = smallest + int.from_bytes(data[start:length], "little")
    if flags & _SINGLE_SEGMENT:
        window = max(content or 0, _SMALLEST_WINDOW)
    else:
        window = (8 + (data[5] & 7)) << (7 + (data[5] >> 3))
    if window > _LARGEST_WINDOW:
        raise zstd.ZstdError(f"its window of {counted(window, 'byte')} is too large")
    return length, window, content


def _content_field(flags: int) -> tuple[int, int, int]:
    """Where the length of the content is in a header with these flags, where it ends, what is added to it."""
    single_segment = flags >> 5 & 1
    size = flags >> 6
    start = 6 - single_segment + (0, 1, 2, 4)[flags & 3]
    return start, start + (1 << size if size else single_segment), 256 if size == 1 else 0


class Walk:
    """Follows a frame through its bytes, from the first of its header on.

    `followed` is how many bytes the blocks decompress to that had to be followed: with a window of less than
    128 KiB, all.
    """

    def __init__(self, header_length: int, window: int) -> None:
        self.followed = 0
        self._window = window
        self._block_limit = min(window, _LARGEST_BLOCK)
        self._tables = list(_TABLES)
        self._rest = b""
        self._steps = self._frame(header_length)
        self._need = next(self._steps)

    def feed(self, data: _Bytes) -> None:
        """Follow the next bytes, in pieces of any size; what comes behind the frame is passed over.

        Raises ZstdError where a match reaches beyond the window, and for a block larger than clients accept.
        No more than a block, 128 KiB, is kept until the next call.
        """
        data = self._rest + data
        at = 0
        try:
            while self._need is not None and len(data) - at >= self._need:
                start, at = at, at + self._need
                self._need = self._steps.send(data[start:at])
        except IndexError:
            raise zstd.ZstdError("a block of it is malformed") from None
        self._rest = data[at:]

    def _frame(self, header_length: int) -> Generator[int | None, bytes]:
        """Says how many bytes it needs next, None behind the last block, and is sent them."""
        yield header_length
        last = 0
        while not last:
            block = int.from_bytes((yield 3), "little")
            last, kind, size = block & 1, block >> 1 & 3, block >> 3
            if size <= self._block_limit:
                data = yield 1 if kind == _RLE else size
                size = self._block(data) if kind == _COMPRESSED else size
            if size > self._block_limit:
                raise zstd.ZstdError(f"it has a block that is larger than {self._block_limit} bytes")
            self.followed += size
        yield None

    def _block(self, data: bytes) -> int:
        """Follow a compressed block; returns how many bytes it decompresses to, 0 if that is not needed."""
        literals, at = _literals(data)
        count = data[at]
        at += 1
        if count == 255:
            count = 0x7F00 + data[at] + (data[at + 1] << 8)
            at += 2
        elif count > 127:
            count = ((count - 128) << 8) + data[at]
            at += 1
        if not count:
            return literals
        at = self._read_tables(data, at)
        distance, extra, *_ = max(self._tables[1])
        if self._block_limit == _LARGEST_BLOCK and distance + _MASKS[extra] <= self._window:
            return 0
        return literals + self._sequences(count, _PADDING + data[at:])

    def _read_tables(self, data: bytes, at: int) -> int:
        """Read the tables of a block from its byte `at` on; returns where they end."""
        modes = data[at]
        at += 1
        for index, numbers in enumerate(_NUMBERS):
            mode = modes >> (6 - 2 * index) & 3
            if mode == _PREDEFINED:
                self._tables[index] = _TABLES[index]
            elif mode == _SINGLE:
                self._tables[index] = [(*numbers[data[at]], 0, 0)]
                at += 1
            elif mode == _DESCRIBED:
                counts, at = _counts(data, at)
                self._tables[index] = _table(counts, numbers)
            # Otherwise it is the table of the block before.
        return at

    def _sequences(self, count: int, stream: bytes) -> int:
        """Follow the sequences in a bitstream, which is read backwards; returns how many bytes they copy."""
        lengths, offsets, matches = self._tables
        window = self._window
        copied = 0
        # The highest bit that is set marks the end. From `position` on all bits have been read.
        start = position = 8 * len(stream) - 9 + stream[-1].bit_length()
        position -= sum(len(table).bit_length() - 1 for table in self._tables)
        states = int.from_bytes(stream[position >> 3 :][:8], "little") >> (position & 7)
        match = matches[states % len(matches)]
        states //= len(matches)
        offset = offsets[states % len(offsets)]
        length = lengths[states // len(offsets) % len(lengths)]
        piece = 0
        for _ in range(count):
            _, length_extra, length_bits, length_next = length
            copy, copy_extra, match_bits, match_next = match
            distance, distance_extra, offset_bits, offset_next = offset
            state_bits = length_bits + match_bits + offset_bits
            bits = state_bits + length_extra + copy_extra + distance_extra
            position -= bits
            if position < start:
                if position < 0:
                    break
                end = (position + bits + 7) >> 3
                start = 8 * max(0, end - _PIECE)
                piece = int.from_bytes(stream[start >> 3 : end], "little")
            read = piece >> (position - start) & _MASKS[bits]
            offset = offsets[offset_next + (read & _MASKS[offset_bits])]
            read >>= offset_bits
            match = matches[match_next + (read & _MASKS[match_bits])]
            read >>= match_bits
            length = lengths[length_next + (read & _MASKS[length_bits])]
            read >>= length_bits + length_extra
            copied += copy + (read & _MASKS[copy_extra])
            distance += read >> copy_extra
            if distance > window:
                raise zstd.ZstdError(
                    f"it goes {counted(distance, 'byte')} back, but its window has {counted(window, 'byte')}"
                )
        if position + state_bits != 8 * len(_PADDING):
            raise zstd.ZstdError("a block of it is malformed")
        return copied


def _literals(data: bytes) -> tuple[int, int]:
    """How many literals a block has, and where the section with them ends."""
    kind, form = data[0] & 3, data[0] >> 2 & 3
    if kind in (_RAW, _RLE):
        length = (1, 2, 1, 3)[form]
        size = int.from_bytes(data[:length], "little") >> (3 if length == 1 else 4)
        return size, length + (1 if kind == _RLE else size)
    length, bits = ((3, 10), (3, 10), (4, 14), (5, 18))[form]
    sizes = int.from_bytes(data[:length], "little") >> 4
    return sizes & _MASKS[bits], length + (sizes >> bits)


def _counts(data: bytes, at: int) -> tuple[list[int], int]:
    """How many states each code has in the table described from the byte `at` on; and where that ends.

    -1 is for one state, at the end of the table.
    """
    bits = int.from_bytes(data[at : at + _LARGEST_DESCRIPTION], "little")
    accuracy = 5 + (bits & 15)
    read = 4
    left = 1 << min(accuracy, _LARGEST_ACCURACY)
    counts: list[int] = []
    while left > 0:
        # A number from 0 to left + 1. There are bits for more: so many of the smallest do with one less.
        width = (left + 1).bit_length()
        short = (1 << width) - left - 2
        number = bits >> read & _MASKS[width]
        if number & _MASKS[width - 1] < short:
            number &= _MASKS[width - 1]
            read += width - 1
        else:
            number -= short if number > _MASKS[width - 1] else 0
            read += width
        counts.append(number - 1)
        left -= abs(number - 1)
        zeros = 3 if number == 1 else 0
        while zeros == 3:
            zeros = bits >> read & 3
            counts += [0] * zeros
            read += 2
    if left or accuracy > _LARGEST_ACCURACY:
        raise zstd.ZstdError("a table of it is malformed")
    return counts, at + ((read + 7) >> 3)


def _table(counts: Sequence[int], numbers: Sequence[tuple[int, int]]) -> list[_Cell]:
    """The states of codes that have `counts` of them, and stand for `numbers`."""
    size = sum(map(abs, counts))
    rare = [code for code, count in enumerate(counts) if count < 0]
    codes = [0] * (size - len(rare)) + rare[::-1]
    step = (size >> 1) + (size >> 3) + 3
    at = 0
    for code, count in enumerate(counts):
        for _ in range(count):
            codes[at] = code
            at = (at + step) % size
            while at >= size - len(rare):
                at = (at + step) % size
    states = [abs(count) for count in counts]
    cells = []
    for code in codes:
        bits = size.bit_length() - states[code].bit_length()
        cells.append((*numbers[code], bits, (states[code] << bits) - size))
        states[code] += 1
    return cells


def _numbers(extra: Sequence[int], first: int = 0) -> list[tuple[int, int]]:
    """The numbers that codes stand for: the first one of each, and how many bits to add."""
    return list(zip(accumulate((1 << bits for bits in extra), initial=first), extra, strict=False))


# In the order of a block: how many literals, how far back, how long a match. The first two codes of distances
# are for one of the last ones once more, which was in the window; clients know none above 30.
_NUMBERS = [
    _numbers([*[0] * 16, 1, 1, 1, 1, 2, 2, 3, 3, 4, *range(6, 17)]),
    [((1 << code) - 3, code) for code in range(31)],
    _numbers([*[0] * 32, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, *range(7, 17)], first=3),
]
_CONTENT_FIELDS = [_content_field(flags) for flags in range(256)]
_TABLES: list[Sequence[_Cell]] = [
    _table([4, 3, *[2] * 11, *[1] * 3, *[2] * 9, 3, 2, *[1] * 5, *[-1] * 4], _NUMBERS[0]),
    _table([*[1] * 6, *[2] * 3, *[1] * 15, *[-1] * 5], _NUMBERS[1]),
    _table([1, 4, 3, *[2] * 6, *[1] * 37, *[-1] * 7], _NUMBERS[2]),
]
