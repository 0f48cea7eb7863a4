from __future__ import annotations

import json

import pytest

from recompress import gojson
from recompress.errors import Unsupported, VerificationFailed
from recompress.gojson import Kind, anything, array, boolean, integer, mapping, name, string, struct, time

THING = struct(
    {
        "size": integer,
        "link": name,
        "text": string,
        "on": boolean,
        "at": time,
        "items": array(struct({"key": string})),
        "labels": mapping(string),
        "notes": mapping(name, keys=name),
        "rest": anything,
    }
)


def read(text: str) -> dict[str, object]:
    return gojson.parse(text.encode(), THING, "thing")


def test_a_struct_has_the_fields_that_are_there_and_known() -> None:
    text = """{"size": 1, "link": "a", "on": true, "items": [{"key": "k", "more": 1}],
               "at": "2024-02-29T01:02:03Z", "labels": {"l": "v"}, "rest": {"x": 1.5}, "unknown": [1e400]}"""
    assert read(text) == {
        "size": 1,
        "link": "a",
        "on": True,
        "items": [{"key": "k"}],
        "at": "2024-02-29T01:02:03Z",
        "labels": {"l": "v"},
        "rest": {"x": 1.5},
    }


def test_null_is_what_is_not_there() -> None:
    assert read("null") == {}
    assert read('{"size": null, "link": null, "items": null, "labels": null}') == {}


def test_null_in_an_array_or_a_map_is_the_zero_value() -> None:
    assert read('{"items": [null], "labels": {"a": null}}') == {"items": [{}], "labels": {"a": ""}}
    zero: list[tuple[Kind[object], object]] = [
        (array(integer), [0]), (array(boolean), [False]), (array(time), [""]), (array(array(string)), [[]]),
        (array(mapping(string)), [{}]),
    ]  # fmt: skip
    for kind, value in zero:
        assert gojson.parse(b"[null]", kind, "it") == value


@pytest.mark.parametrize(
    "content",
    [
        b"", b"no", b"{} {}", b"\xff", b'{"text": "\xff"}', b"[" * 100_000, b'{"size": NaN}',
        b'{"rest": Infinity}', b'{"rest": -Infinity}', b"\xef\xbb\xbf{}", b'{"text": "\n"}',
        "{}".encode("utf-16"), "{}".encode("utf-16-le"), "{}".encode("utf-32-be"),
    ],
)  # fmt: skip
def test_what_is_not_json_in_utf_8_without_a_bom_is_unsupported(content: bytes) -> None:
    with pytest.raises(Unsupported, match="its thing is not JSON"):
        gojson.parse(content, THING, "thing")


@pytest.mark.parametrize(
    "key", ["Link", "LINK", "lin\u212a", "lIn\u212a", "item\u017f", "Si\u007ae", "te\\u0058t"]
)
@pytest.mark.parametrize(
    "text", ['{"%s": 1}', '{"link": "", "size": 1, "%s": null}', '{"%s": [], "link": ""}']
)
def test_a_known_key_in_another_spelling_is_tampering(key: str, text: str) -> None:
    with pytest.raises(
        VerificationFailed, match=r"its thing has the key .*, which only some clients read as"
    ):
        read(text % key)


@pytest.mark.parametrize("key", ["links", "lin", "l\u0131nk", " link", "link\\u0000", "lin\u043a"])
def test_a_key_that_go_does_not_take_for_a_known_one_is_only_unknown(key: str) -> None:
    assert read(f'{{"{key}": 1}}') == {}


@pytest.mark.parametrize(
    "text", ['{"link": "a", "link": "a"}', '{"x": 1, "x": 1}', '{"link": 1, "lin\\u006b": 2}']
)
def test_a_key_that_a_struct_has_twice_is_tampering(text: str) -> None:
    with pytest.raises(VerificationFailed, match=r"its thing has the key '(link|x)' twice"):
        read(text)


def test_tampering_inside_is_found_and_its_place_said() -> None:
    with pytest.raises(VerificationFailed, match=r"its thing\.items\[1\] has the key 'KEY'"):
        read('{"items": [{}, {"KEY": "a"}]}')
    with pytest.raises(VerificationFailed, match=r"its thing\.items\[0\] has the key 'key' twice"):
        read('{"items": [{"key": "a", "key": "b"}]}')


def test_the_keys_of_maps_are_data_in_any_spelling_and_the_last_one_counts() -> None:
    labels = '{"size": "1", "Size": "2", "a": "b", "a": "c"}'
    text = f'{{"labels": {labels}, "rest": {{"a": 1, "a": 2}}, "x": {{"a": 1, "a": 2}}}}'
    assert read(text) == {"labels": {"size": "1", "Size": "2", "a": "c"}, "rest": {"a": 2}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[]", "its thing is not a JSON object"),
        ('{"size": "1"}', "its thing.size is not a whole number"),
        ('{"size": 1.0}', "its thing.size is not a whole number"),
        ('{"size": 1e3}', "its thing.size is not a whole number"),
        ('{"size": true}', "its thing.size is not a whole number"),
        ('{"size": 9223372036854775808}', "its thing.size is not a whole number"),
        ('{"size": -9223372036854775809}', "its thing.size is not a whole number"),
        ('{"text": 1}', "its thing.text is not a string"),
        ('{"link": ["a"]}', "its thing.link is not a string"),
        ('{"on": 1}', "its thing.on is not true or false"),
        ('{"items": {}}', "its thing.items is not an array"),
        ('{"items": [1]}', "its thing.items[0] is not a JSON object"),
        ('{"labels": []}', "its thing.labels is not a JSON object"),
        ('{"labels": {"a": 1}}', "its thing.labels['a'] is not a string"),
        ('{"at": 1}', "its thing.at is not a string"),
    ],
)
def test_a_type_that_go_cannot_decode_is_unsupported_with_its_place(text: str, reason: str) -> None:
    with pytest.raises(Unsupported) as refused:
        read(text)
    assert reason in str(refused.value)


def test_a_value_nested_as_deeply_as_can_be_read_is_refused_in_one_line() -> None:
    for depth in range(800, 1100, 10):
        with pytest.raises(Unsupported, match="is not"):
            read('{"size": ' + "[" * depth + "]" * depth + "}")


@pytest.mark.parametrize("number", [0, -1, 2**63 - 1, -(2**63)])
def test_a_whole_number_of_64_bits_is_read(number: int) -> None:
    assert read(json.dumps({"size": number})) == {"size": number}


@pytest.mark.parametrize(
    "text", ['{"link": "\\ud800"}', '{"notes": {"\\udc00": ""}}', '{"notes": {"a": "\\udfff"}}']
)
def test_half_a_surrogate_pair_in_what_something_depends_on_is_tampering(text: str) -> None:
    with pytest.raises(VerificationFailed, match="clients read an unpaired surrogate differently"):
        read(text)


def test_half_a_surrogate_pair_in_mere_text_is_left_alone() -> None:
    assert read('{"text": "\\ud800", "labels": {"\\ud800": "\\udc00"}}').keys() == {"text", "labels"}


def test_a_whole_surrogate_pair_is_the_character_it_stands_for() -> None:
    assert read('{"link": "\\ud83d\\ude00"}') == {"link": "\U0001f600"}


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-29T23:59:59Z", "0000-02-29T00:00:00Z", "2024-01-01T1:02:03Z",
        "2024-01-01T01:02:03.123456789012+23:59", "2024-01-01T01:02:03,5-00:00",
    ],
)  # fmt: skip
def test_a_time_that_go_reads_is_kept_as_it_is_written(text: str) -> None:
    assert read(json.dumps({"at": text})) == {"at": text}


@pytest.mark.parametrize(
    "text",
    [
        "", "yesterday", "2024-02-29", "2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-00-01T00:00:00Z",
        "2024-01-01T24:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:60Z", "2024-01-01 00:00:00Z",
        "2024-01-01T00:00:00", "2024-01-01T00:00:00z", "2024-01-01T00:00:00.Z", "2024-01-01T00:00:00Z ",
        "2024-01-01T00:00:00+05:99", "2024-01-01T00:00:00+24:00", "10000-01-01T00:00:00Z",
        "\u0662\u0660\u0662\u0664-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_a_time_that_go_does_not_read_is_unsupported(text: str) -> None:
    with pytest.raises(Unsupported, match=r"its thing\.at is not a time as RFC 3339 writes it"):
        read(json.dumps({"at": text}))
