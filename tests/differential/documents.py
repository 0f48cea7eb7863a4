"""JSON objects with one thing changed: a key spelled otherwise, there twice, missing, with another value."""

from __future__ import annotations

import random
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

from recompress.manifest import CHUNKED_PREFIX, ESTARGZ_TOC
from recompress.reference import Digest
from tests.tampering import TWICE

Document = dict[str, Any]


def tamper(dice: random.Random, fields: Document, others: Sequence[Document] = ()) -> None:
    """Change one thing in an object; `others` are of its kind, and values can be taken from them."""
    pool = [other for other in others if other is not fields] or [fields]
    known = sorted({key for other in (*pool, fields) for key in other})
    key = dice.choice(sorted(fields)) if fields else ""
    way = dice.choice(
        ("remove", "change", "change", "change", "respell", "twice", "unknown", "known", "order")
    )
    match way if fields else "unknown":
        case "remove":
            del fields[key]
        case "change":
            fields[key] = _other_value(dice, key, fields[key], pool)
        case "respell":
            # Go takes a key in any case, and of two the last one.
            value = fields[key]
            if dice.random() < 0.3:
                del fields[key]
            _put(dice, fields, _respelled(dice, key), _maybe_other(dice, key, value, pool))
        case "twice":
            _put(dice, fields, key + TWICE, _maybe_other(dice, key, fields[key], pool))
        case "known":
            added = dice.choice(known)
            value = next(other[added] for other in (*pool, fields) if added in other)
            fields[added] = _maybe_other(dice, added, value, pool)
        case "order":
            items = list(fields.items())
            dice.shuffle(items)
            fields.clear()
            fields.update(items)
        case _:
            _put(
                dice, fields, dice.choice(_UNKNOWN), dice.choice((1, "x", None, [], {}, "sha256:" + "0" * 64))
            )


_UNKNOWN = (
    "unknown", "data", "urls", "Name", "layers", "manifests", "config", "subject", "artifactType", "sparse",
    "platform", "uname", "gname", "xattrs", "digest", "chunkSize", "offset", "endOffset", "linkName",
    "name_raw", "position", "payload", "tarSplitDigest", "version", "entries", "NumLink", "innerOffset",
    ESTARGZ_TOC, "io.containers.zstd-chunked.manifest-position", CHUNKED_PREFIX + "unknown",
)  # fmt: skip


def _put(dice: random.Random, fields: Document, key: str, value: object) -> None:
    """Put a key before or behind all others."""
    if dice.random() < 0.5:
        fields[key] = value
    else:
        items = [(key, value), *((k, v) for k, v in fields.items() if k != key)]
        fields.clear()
        fields.update(items)


def _respelled(dice: random.Random, key: str) -> str:
    forms = {
        key.upper(), key.lower(), key.title(), key[:1].swapcase() + key[1:], key[:-1] + key[-1:].swapcase(),
        key.replace("s", "\u017f"), key.replace("k", "\u212a"), key + " ", key.replace("-", "_"),
    }  # fmt: skip
    return dice.choice(sorted(forms - {key}) or [key + "x"])


def _maybe_other(dice: random.Random, key: str, value: object, pool: Sequence[Document]) -> object:
    return value if dice.random() < 0.4 else _other_value(dice, key, value, pool)


def _other_value(dice: random.Random, key: str, value: object, pool: Sequence[Document]) -> Any:
    found = [other[key] for other in pool if key in other and other[key] != value]
    if found and dice.random() < 0.5:
        return deepcopy(dice.choice(found))
    match value:
        case bool():
            ways: Sequence[Any] = (not value, 1)
        case int():
            numbers = (value + 1, value - 1, -value, 0, 1, value + 2**32, value + 2**64, value * 8)
            ways = (*numbers, *numbers, float(value), str(value), True, [value])
        case str():
            ways = _other_times(value) if _is_time(value) else _other_texts(dice, value)
        case dict():
            changed = dict(value)
            tamper(dice, changed)
            ways = (changed, changed, changed, {}, list(value))
        case list():
            order = other_order(dice, value)
            ways = (order, order, [], {})
        case _:
            ways = (0, "", {}, [])
    return dice.choice((*ways, None))


def _other_times(time: str) -> Sequence[str]:
    ends = ("+00:00", "-00:00", ".000Z", "z", ".0000000001Z", "", "+24:00")
    others = ("1970-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00.000000001Z")
    middle = (time.replace("T", " "), time.replace("T", "t"), time[:10] + "T24:00:00Z")
    return (*(time.replace("Z", end) for end in ends), *others, *middle, time + " ", "2" + time)


def _other_texts(dice: random.Random, text: str) -> Sequence[Any]:
    numbers = text.split(":")
    if "".join(numbers).isdigit():
        moved = ":".join(str(int(number or 0) + dice.choice((0, 0, 1, -1))) for number in numbers)
        return (moved, moved, moved, f"+{text}", f"0{text}", f" {text}", text + ":0", text + " ")
    ends = (" ", "\0", "/", "=", "\n")
    starts = ("/", "./", " ")
    digests = (text.replace("sha256:", ""), "sha256:" + Digest.of(text.encode()).hex, text.upper())
    others = ("", text[1:] + "0", text[:-1], text[::-1], 1, [text])
    return (*(text + end for end in ends), *(start + text for start in starts), *digests, *others)


def _is_time(text: str) -> bool:
    return text[4:5] == "-" and text[10:11] == "T"


def other_order(dice: random.Random, items: Sequence[Any]) -> list[Any]:
    """One less, one twice, two in each other's place, or one moved."""
    if not items:
        return []
    a, b = dice.randrange(len(items)), dice.randrange(len(items))
    changed = list(items)
    match dice.choice(("less", "twice", "swap", "move")):
        case "less":
            del changed[a]
        case "twice":
            changed.insert(b, deepcopy(changed[a]))
        case "swap":
            changed[a], changed[b] = changed[b], changed[a]
        case _:
            changed.insert(b, changed.pop(a))
    return changed
