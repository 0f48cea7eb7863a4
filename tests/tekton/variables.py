"""Variable substitution, as docs/variables.md of Tekton Pipelines has it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

Value = str | list[str]
"""What a parameter or a result holds. Objects are not used in this repository."""

Values = Mapping[str, Value]
"""By the name of the variable, without `[*]`, such as params.IMAGE."""

# Anything else in $(…) is the shell's or Kubernetes'.
_PREFIXES = "params|tasks|finally|workspaces|results|context|steps|credentials|artifacts"
_VARIABLE = re.compile(rf"\$\((?P<name>(?:{_PREFIXES})(?:\.|\[)[^()]*)\)")
_QUOTED = re.compile(r"\[(['\"])(.*?)\1\]")


class Refused(ValueError):
    """What Tekton's webhook or controller would not run, or this harness cannot."""


def normal(name: str) -> tuple[str, bool]:
    """A variable's name in dots, and whether the whole array is meant: params["a"][*] is params.a."""
    dotted = _QUOTED.sub(r".\2", name)
    bare = dotted.removesuffix("[*]")
    if "[" in bare:
        raise Refused(f"$({name}): single elements of arrays are an alpha feature")
    return bare, bare != dotted


def variables(value: Value) -> Iterator[tuple[str, bool]]:
    """The variables in a value: name, and whether it is taken as an array."""
    for text in [value] if isinstance(value, str) else value:
        for found in _VARIABLE.finditer(text):
            yield normal(found["name"])


def substitute(template: str, values: Values) -> str:
    """A string with strings in place of its variables. An array has no place in it."""

    def replacement(found: re.Match[str]) -> str:
        name, is_array = normal(found["name"])
        value = _look_up(name, values)
        if is_array or not isinstance(value, str):
            raise Refused(f"{found[0]} is an array, and {template!r} has room for a string")
        return value

    return _VARIABLE.sub(replacement, template)


def expand(templates: Sequence[str], values: Values) -> list[str]:
    """Strings, where an element that is a whole array and nothing else becomes its elements."""
    expanded: list[str] = []
    for template in templates:
        array = whole_array(template, values)
        expanded += [substitute(template, values)] if array is None else array
    return expanded


def replace(value: Value, values: Values) -> Value:
    """The value of a parameter in a Pipeline: a string that is a whole array becomes that array."""
    if isinstance(value, str):
        array = whole_array(value, values)
        return substitute(value, values) if array is None else array
    return expand(value, values)


def whole_array(template: str, values: Values) -> list[str] | None:
    """The array that the template is, if it is one and nothing else."""
    found = _VARIABLE.fullmatch(template)
    if not found:
        return None
    name, is_array = normal(found["name"])
    value = _look_up(name, values)
    if not is_array:
        return None
    if isinstance(value, str):
        raise Refused(f"{template} takes a string for an array")
    return list(value)


def is_one_variable(text: str) -> bool:
    """Whether there is a variable and nothing beside it."""
    return _VARIABLE.fullmatch(text) is not None


def _look_up(name: str, values: Values) -> Value:
    try:
        return values[name]
    except KeyError:
        raise Refused(f"there is no variable $({name})") from None
