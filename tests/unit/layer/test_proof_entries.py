"""Entries that the tar stream has and the table of contents has not, and the other way round."""

from __future__ import annotations

import base64

from tests.tampering import Layer, encoded
from tests.unit.layer.refusal import tampered


def test_an_entry_dropped_from_the_table_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.toc["entries"].remove(layer.entry("./dir/setuid"))

    assert tampered("kinds", tamper) == (
        "./dir/setuid: its name is ./dir/setuid in the tar stream but ./dir/empty in the table of contents"
    )


def test_the_last_entry_dropped_from_the_table_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.toc["entries"].pop()

    assert tampered("kinds", tamper) == (
        "../outside: the tar stream has this entry, but the table of contents does not"
    )


def test_an_entry_added_to_the_table_is_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.toc["entries"].append({"type": "reg", "name": "added"})

    assert tampered("kinds", tamper).endswith(
        "the table of contents has the entry added, which is not in the tar stream"
    )


def test_entries_in_another_order_are_found() -> None:
    def tamper(layer: Layer) -> None:
        layer.toc["entries"].reverse()

    assert tampered("kinds", tamper).startswith("./: its ")


def test_a_layer_with_two_entries_for_one_path_has_to_be_pulled_in_full() -> None:
    layer = Layer.load("half-end")
    twice = layer.frames[0] + layer.frames[1] + bytes(324)
    layer.frames = [layer.frames[0], layer.frames[1], bytes(324) + layer.frames[0], *layer.frames[1:]]
    assert layer.stream.startswith(twice)
    header, file, end = layer.tar_split
    second = {**header, "payload": encoded(bytes(324) + base64.b64decode(header["payload"]))}
    layer.tar_split = [header, file, second, file, end]
    entry = layer.toc["entries"][0]
    layer.toc["entries"] = [entry, {**entry, "offset": 3, "endOffset": 4}]
    assert layer.pack().prove().why_full == "file: the layer has more than one entry for this path"
