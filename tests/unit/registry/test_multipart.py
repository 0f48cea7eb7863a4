"""The answer 206, read as it comes: every form of two parts that is right, and what is not."""

from __future__ import annotations

import tracemalloc

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recompress.reference import Digest
from recompress.registry import ranges
from recompress.registry.ranges import ByteRange, TwoRanges, TwoRangesAnswer, read_answer
from tests.fake_registry import BOUNDARY, multipart_answer
from tests.http_server import Answer
from tests.unit.registry.answering import BLOB, FIRST, ONE_PART, SECOND, TWO_PARTS, answering, sha256_of


def read(
    answer: Answer, first: ByteRange = FIRST, second: ByteRange = SECOND, chunk_bytes: int = 1000
) -> TwoRangesAnswer:
    """What is made of an answer whose body arrives in chunks of so many bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "_CHUNK_BYTES", chunk_bytes)
        response = httpx.Response(answer.status, headers=answer.headers, content=iter([answer.body]))
        return read_answer(response, first, second)


def rewritten(*changes: tuple[bytes, bytes], content_type: str = "") -> Answer:
    """The right answer with these changes to its body."""
    body = TWO_PARTS.body
    for old, new in changes:
        assert old in body
        body = body.replace(old, new)
    return Answer(206, body, {"Content-Type": content_type or TWO_PARTS.headers["Content-Type"]})


def bounded_by(boundary: str, parameter: str) -> Answer:
    """The right answer with another boundary, and how the header says it."""
    changes = BOUNDARY.encode(), boundary.encode()
    return rewritten(changes, content_type=f"multipart/byteranges{parameter}")


FIRST_LINE = f"--{BOUNDARY}\r\nContent-Range: bytes 100".encode()
END = f"\r\n--{BOUNDARY}--\r\n".encode()
GOOD = {
    "nginx and Apache": rewritten((FIRST_LINE, b"\r\n" + FIRST_LINE)),
    "lower case": rewritten((b"Content-Range", b"content-range"), (b"Content-Type", b"content-type")),
    "no blank behind the colon": rewritten((b"Range: ", b"Range:")),
    "size unknown": rewritten((b"/1024", b"/*")),
    "blanks behind a boundary": rewritten(
        (f"{BOUNDARY}\r\n".encode(), f"{BOUNDARY} \t\r\n".encode()), (b"--\r\n", b"-- \t\r\n")
    ),
    "no line end at the end": rewritten((END, END[:-2])),
    "CloudFront": bounded_by("CloudFront:3F750DE0752B", "; boundary=CloudFront:3F750DE0752B"),
    "quoted": bounded_by("a (b) /:=?", '; boundary="a (b) /:=?"'),
    "upper case": bounded_by("Ab", ";BOUNDARY=Ab"),
    "another parameter": bounded_by("Ab", "; boundary=Ab; charset=utf-8"),
    "empty parameter": bounded_by("Ab", "; boundary=Ab; "),
}


@pytest.mark.parametrize("answer", GOOD.values(), ids=GOOD)
def test_every_legal_form_of_two_parts_is_read(answer: Answer) -> None:
    assert read(answer).sha256 == sha256_of(BLOB, FIRST, SECOND)


SECOND_SPAN = b"bytes 158-187/1024"
BAD = {
    "one range": (ONE_PART, "with one range, 'bytes 100-149/1024', where 100-149 and 158-187 were asked for"),
    "joined ranges": (
        Answer(206, BLOB[100:188], {"Content-Range": "bytes 100-187/1024"}),
        "with one range, 'bytes 100-187/1024'",
    ),
    "nothing": (Answer(206), "with one range, ''"),
    "one part": (multipart_answer(BLOB, (100, 149)), "has no part for the range 158-187"),
    "joined parts": (
        multipart_answer(BLOB, (100, 187)),
        "100-149 has the Content-Range 'bytes 100-187/1024'",
    ),
    "no part": (multipart_answer(BLOB), "has no part for the range 100-149"),
    "three parts": (
        multipart_answer(BLOB, (100, 149), (158, 187), (200, 210)),
        "does not end after 2 parts",
    ),
    "other order": (
        multipart_answer(BLOB, (158, 187), (100, 149)),
        "100-149 has the Content-Range 'bytes 158-187",
    ),
    "other part": (
        rewritten((SECOND_SPAN, b"bytes 157-186/1024")),
        "has the Content-Range 'bytes 157-186/1024'",
    ),
    "other unit": (
        rewritten((SECOND_SPAN, b"lines 158-187/1024")),
        "has the Content-Range 'lines 158-187/1024'",
    ),
    "no size": (rewritten((SECOND_SPAN, b"bytes 158-187")), "has the Content-Range 'bytes 158-187'"),
    "no Content-Range": (rewritten((b"Content-Range", b"X-Range")), "100-149 has the Content-Range ''"),
    "two Content-Ranges": (
        rewritten((SECOND_SPAN, SECOND_SPAN + b"\r\nContent-Range: bytes 0-0/1")),
        "has the Content-Range 'bytes 158-187/1024, bytes 0-0/1'",
    ),
    "many header fields": (
        rewritten((SECOND_SPAN, SECOND_SPAN + b"\r\nX: x" * 32)),
        "the part for the range 158-187 has too long a header",
    ),
    **{
        f"header field {field!r}": (
            rewritten((SECOND_SPAN, SECOND_SPAN + b"\r\n" + field)),
            "the part for the range 158-187 has a malformed header",
        )
        for field in (b"X", b": x", b"X : x", b" x", b"X: \0", b"X: \n", b"\xe9: x", b"X: \xe9")
    },
    "short part": (rewritten((BLOB[100:150], BLOB[100:140])), "100-149 is longer than that"),
    "long part": (rewritten((BLOB[100:150], BLOB[100:151])), "100-149 is longer than that"),
    "blanks behind a part": (rewritten((BLOB[100:150], BLOB[100:150] + b" ")), "100-149 is longer than that"),
    "short last part": (rewritten((BLOB[158:188] + END, BLOB[158:168])), "ends in the middle of a part"),
    "no end": (rewritten((END, b"\r\n")), "does not end after 2 parts"),
    "half an end": (rewritten((END, END[:-3])), "does not end after 2 parts"),
    "something behind the end": (rewritten((END, END + b"x")), "does not end after 2 parts"),
    "something before the parts": (
        rewritten((FIRST_LINE, b"Hello\r\n" + FIRST_LINE)),
        "has no part for the range 100",
    ),
    "empty lines before the parts": (
        rewritten((FIRST_LINE, b"\r\n\r\n" + FIRST_LINE)),
        "has no part for the range 100",
    ),
    "line feeds alone": (rewritten((b"\r\n", b"\n")), "has no part for the range 100-149"),
    "other boundary": (
        rewritten(content_type="multipart/byteranges; boundary=x"),
        "has no part for the range 100",
    ),
    "longer boundary": (
        rewritten(
            (BOUNDARY.encode(), BOUNDARY.encode() + b"x"), content_type=TWO_PARTS.headers["Content-Type"]
        ),
        "has no part for the range 100",
    ),
    "empty body": (Answer(206, b"", TWO_PARTS.headers), "has no part for the range 100"),
    "endless line": (Answer(206, bytes(2000), TWO_PARTS.headers), "has too long a line"),
    **{
        f"type {parameter}": (
            bounded_by("Ab", parameter),
            "its Content-Type is not multipart/byteranges with a",
        )
        for parameter in (
            "",
            ";",
            "; boundary",
            "; boundary=",
            '; boundary=""',
            '; boundary="Ab',
            "; boundary=<Ab>",
            "; boundary=A b",
            "; boundary=A_b:",
            "; boundary=Ab; x",
            "; bound=Ab",
            "x; boundary=Ab",
        )
    },
    "mixed": (
        rewritten(content_type=f"multipart/mixed; boundary={BOUNDARY}"),
        "its Content-Type is not multipart/byteranges with a valid boundary",
    ),
}


@pytest.mark.parametrize(("answer", "sentence"), BAD.values(), ids=BAD)
def test_parts_that_are_not_just_the_two_asked_for_break_pulls(answer: Answer, sentence: str) -> None:
    found = read(answer)
    assert found.kind is TwoRanges.BREAKS_PULLS
    assert found.detail.startswith("206 Partial Content, but ")
    assert sentence in found.detail
    assert found.sha256 is None


def test_a_malformed_answer_is_the_same_answer_with_another_boundary() -> None:
    one, two = (read(bounded_by(boundary, f"; boundary=<{boundary}>")) for boundary in ("one", "two"))
    assert one == two


@given(st.data(), st.integers(1, 300))
def test_the_parts_are_read_whatever_is_in_them_and_however_they_arrive(
    data: st.DataObject, chunk_bytes: int
) -> None:
    blob = data.draw(
        st.lists(st.sampled_from([b"\r\n", b"--", b"\r", b"x", b"\0"]), min_size=1).map(b"".join)
    )
    ends = st.integers(0, len(blob) - 1)
    (start, last), (other_start, other_last) = (sorted((data.draw(ends), data.draw(ends))) for _ in range(2))
    first, second = ByteRange(start, last - start + 1), ByteRange(other_start, other_last - other_start + 1)
    answer = multipart_answer(blob, (start, last), (other_start, other_last))
    assert read(answer, first, second, chunk_bytes).sha256 == sha256_of(blob, first, second)


@given(st.data(), st.integers(1, 300))
def test_no_damage_to_the_parts_makes_another_error(data: st.DataObject, chunk_bytes: int) -> None:
    body = bytearray(TWO_PARTS.body)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body)))
        body[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    answer = read(Answer(206, bytes(body), TWO_PARTS.headers), FIRST, SECOND, chunk_bytes)
    assert answer.kind is (TwoRanges.SERVED if answer.sha256 else TwoRanges.BREAKS_PULLS)


def test_a_line_without_end_is_not_read_to_its_end() -> None:
    chunks = iter([bytes(1000)] * 1000)
    response = httpx.Response(206, headers=TWO_PARTS.headers, content=chunks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranges, "_CHUNK_BYTES", 1000)
        assert "has too long a line" in read_answer(response, FIRST, SECOND).detail
    assert len(list(chunks)) > 990


def test_a_large_part_is_hashed_without_being_kept() -> None:
    length = 50_000_000
    first, second = ByteRange(0, length), ByteRange(length, 1)
    blob = bytes(length + 1)
    served = multipart_answer(blob, (0, length - 1), (length, length))
    with answering(lambda _: served) as (client, _):
        tracemalloc.start()
        answer = client.two_ranges(Digest.of(b"it"), first, second)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert answer.sha256 == sha256_of(blob, first, second)
    assert most < 5_000_000
