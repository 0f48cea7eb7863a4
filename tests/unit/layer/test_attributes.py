"""Attributes that differ between the tar stream and the table of contents."""

from __future__ import annotations

import pytest

from tests.data.make_layers import CAPABILITY
from tests.tampering import Layer
from tests.unit.layer.refusal import refused, tampered

ATTRIBUTES: list[tuple[str, str, dict[str, object], str]] = [
    ("kinds", "./dir/file", {"mode": 0o4755}, "its mode is 0o640 in the tar stream but 0o4755 in the table"),
    ("kinds", "./dir/setuid", {"mode": 0o755}, "its mode is 0o4755 in the tar stream but 0o755 in the table"),
    ("kinds", "./dir/", {"uid": 0}, "its uid is 1000 in the tar stream but 0 in the table"),
    ("kinds", "./dir/", {"gid": 1}, "its gid is 100 in the tar stream but 1 in the table"),
    ("kinds", "./dir/file", {"size": 19}, "its size is 18 in the tar stream but 19 in the table"),
    ("kinds", "./dir/empty", {"type": "dir"}, "its type is reg in the tar stream but dir in the table"),
    (
        "kinds",
        "./dir/soft",
        {"linkName": "x"},
        "its link target is ../../etc/passwd in the tar stream but x in",
    ),
    (
        "kinds",
        "./dir/hard",
        {"linkName": "/etc/shadow"},
        "its link target is ./dir/file in the tar stream but /etc/",
    ),
    (
        "kinds",
        "./dev/null",
        {"devMajor": 8},
        "its major device number is 1 in the tar stream but 8 in the table",
    ),
    (
        "kinds",
        "./dev/sda",
        {"devMinor": 1},
        "its minor device number is 0 in the tar stream but 1 in the table",
    ),
    (
        "kinds",
        "./dir/file",
        {"modtime": "2023-11-14T22:13:21Z"},
        "its modification time is 2023-11-14T22:13:20+00:00 in the tar stream but 2023-11-14T22:13:21",
    ),
    (
        "pax",
        "times",
        {"modtime": "2023-11-14T22:13:20.123456788Z"},
        "its modification time is 2023-11-14T22:13:20+00:00 and 123456789 ns in the tar stream but",
    ),
    (
        "pax",
        "times",
        {"accesstime": "1970-01-01T00:00:00Z"},
        "its access time is 1970-01-01T00:00:01+00:00 and 5",
    ),
    (
        "pax",
        "times",
        {"changetime": "2000-01-01T00:00:00Z"},
        "its change time is 1969-12-31T23:59:58+00:00 and 5",
    ),
    (
        "pax",
        "at-1970",
        {"modtime": "1970-01-01T00:00:01Z"},
        "its modification time is 1970-01-01T00:00:00+00:00 in the tar stream but 1970-01-01T00:00:01+00:00",
    ),
    (
        "pax",
        "ping",
        {"xattrs": {}},
        "its xattrs are {'security.capability': 'AQAAAgAgAAAAAAAAAAAAAAAAAAA=', 'user.empty': ''}",
    ),
]


@pytest.mark.parametrize(("layer", "name", "changes", "message"), ATTRIBUTES)
def test_an_attribute_changed_in_the_table_only_is_found(
    layer: str, name: str, changes: dict[str, object], message: str
) -> None:
    def tamper(parts: Layer) -> None:
        parts.entry(name).update(changes)

    assert tampered(layer, tamper).startswith(f"{name}: {message}")


def test_an_xattr_changed_in_the_stream_only_is_found() -> None:
    layer = Layer.load("pax")
    layer.replace_header("ping", CAPABILITY, CAPABILITY[:-1] + b"\1")
    assert refused(layer.pack()) == (
        "ping: its xattrs are {'security.capability': 'AQAAAgAgAAAAAAAAAAAAAAAAAAE='} in the tar stream but "
        "{'security.capability': 'AQAAAgAgAAAAAAAAAAAAAAAAAAA='} in the table of contents"
    )


def test_a_mode_changed_in_the_stream_only_is_found() -> None:
    layer = Layer.load("kinds")
    layer.replace_header("./dir/file", b"0000640", b"0006755")
    assert refused(layer.pack()) == (
        "./dir/file: its mode is 0o6755 in the tar stream but 0o640 in the table of contents"
    )


def test_a_time_beyond_all_calendars_is_named_in_seconds() -> None:
    layer = Layer.load("pax")
    layer.replace_header("times", b"mtime=1700000000.123456789", b"mtime=999999999999.0000000")
    assert refused(layer.pack()).startswith(
        "times: its modification time is 999999999999 s in the tar stream but 2023-11-14T22:13:20+00:00 and"
    )


@pytest.mark.parametrize(
    "no_time", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1970-01-01T02:00:00+02:00"]
)
def test_no_time_and_the_zero_times_are_the_same_where_no_client_sets_them(no_time: str) -> None:
    layer = Layer.load("pax")
    layer.entry("big-ids")["accesstime"] = no_time
    layer.pack().prove()


@pytest.mark.parametrize("time", [None, "0001-01-01T00:00:00Z"])
def test_a_file_of_1970_has_that_time_in_the_table_as_well(time: str | None) -> None:
    layer = Layer.load("pax")
    layer.entry("at-1970")["modtime"] = "1970-01-01T02:00:00+02:00"
    layer.pack().prove()
    if time:
        layer.entry("at-1970")["modtime"] = time
    else:
        del layer.entry("at-1970")["modtime"]
    assert refused(layer.pack()) == (
        "at-1970: its modification time is 1970-01-01T00:00:00+00:00 in the tar stream "
        "but not set in the table of contents"
    )


def test_a_time_in_another_zone_is_the_same_time() -> None:
    layer = Layer.load("kinds")
    layer.entry("./dir/file")["modtime"] = "2023-11-15T03:43:20+05:30"
    layer.pack().prove()
