"""The JSON of SBOMs: what nobody asked to change is written as it was read."""

from __future__ import annotations

import json
import random
import tracemalloc

import pytest

from recompress.errors import Unsupported
from recompress.sbom_document.values import MAX_DEPTH, MAX_VALUES, Number, parse, write


@pytest.mark.parametrize(
    "literal",
    [
        "0",
        "-0",
        "1.10",
        "1e400",
        "-1E-7",
        "1.0",
        "100000000000000000001",
        "9" * 5000,
        "0.1000000000000000055",
    ],
)
def test_a_number_stays_the_text_that_it_is(literal: str) -> None:
    content = f'{{"a":[{literal}]}}'.encode()
    assert parse(content) == {"a": [Number(literal)]}
    assert write(parse(content)) == content


@pytest.mark.parametrize(
    "content",
    [
        '{"ключ":"значение","𝔘":"𝔘","":""}'.encode(),
        rb'{"a":"\ud800","b":"x\udcffy","\udc00":1}',
        rb'{"a":"\"\\\n\r\t\b\f\u0000\u001f"}',
        b'{"a":{},"b":[],"c":null,"d":true,"e":false,"f":[[{}]]}',
        b'{"b":1,"a":2}',
        '{"a":"\u2028\u007f\ufeff"}'.encode(),
    ],
)
def test_what_is_written_is_what_was_read(content: bytes) -> None:
    assert write(parse(content)) == content


def test_escapes_that_need_not_be_are_written_as_the_character() -> None:
    assert write(parse(rb' { "\u0061\/" : "\ud835\udd18" } ')) == '{"a/":"𝔘"}'.encode()


def test_random_documents_mean_the_same_afterwards() -> None:
    chance = random.Random(2026)

    def value(depth: int) -> object:
        match chance.randrange(8 if depth else 6):
            case 0:
                return chance.choice((None, True, False))
            case 1:
                return chance.randrange(-(2**70), 2**70)
            case 2:
                return chance.uniform(-1e300, 1e300)
            case 3 | 4 | 5:
                return "".join(chr(chance.randrange(0x11000)) for _ in range(chance.randrange(5)))
            case 6:
                return [value(depth - 1) for _ in range(chance.randrange(5))]
            case _:
                return {str(value(0)): value(depth - 1) for _ in range(chance.randrange(5))}

    for _ in range(300):
        document = {"a": value(4), "b": value(4)}
        assert json.loads(write(parse(json.dumps(document).encode()))) == document


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is not JSON"),
        (b"{}x", "is not JSON"),
        (b'{"a":NaN}', "is not JSON"),
        (b'{"a":-Infinity}', "is not JSON"),
        (b'{"a":01}', "is not JSON"),
        (b'{"a":"\n"}', "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"1", "is not a JSON object"),
        (b'{"a":1,"a":1}', "the same key twice"),
        (rb'{"a":{"b":1,"\u0062":2}}', "the same key twice"),
        (b'{"a":"\xff"}', "is not UTF-8"),
        ('{"a":1}'.encode("utf-16"), "is not UTF-8"),
        (b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "levels deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "levels deep"),
        (b'{"a":[' + b"[]," * MAX_VALUES + b"[]]}", f"more than {MAX_VALUES} values"),
    ],
)
def test_what_readers_disagree_about_or_choke_on_is_refused(content: bytes, problem: str) -> None:
    with pytest.raises(Unsupported, match=problem):
        parse(content)


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse(b'\xef\xbb\xbf{"a":1}') == {"a": Number("1")}


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_nesting_is_bounded_and_what_is_within_the_bound_is_written(opening: bytes) -> None:
    def nested(depth: int) -> bytes:
        closing = {b"[": b"]"}.get(opening, b"}")
        return b'{"a":' + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"}"

    assert write(parse(nested(MAX_DEPTH))) == nested(MAX_DEPTH)
    with pytest.raises(Unsupported, match="levels deep"):
        parse(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize("value", [b"[]", b"{}", b'"ab"', b"12", b'{"a":0}'])
def test_no_kind_of_value_takes_much_more_memory_than_the_document_has_bytes(value: bytes) -> None:
    count = MAX_VALUES // 40 // (value.count(b"{") + value.count(b"[") + 1)
    content = b'{"a":[' + b",".join([value] * count) + b"]}"
    tracemalloc.start()
    document = parse(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(document["a"]) == count
    # As many values as may be take 40 times as much.
    assert 40 * peak < 2**30
