"""docs/reference.md against the program, the Tasks and the schema: no row is missing, wrong or too many."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

import pytest
import typer.main
import yaml

import recompress
from recompress import cli
from recompress.errors import RecompressError
from tests.tekton.resources import ROOT

TASKS = {"run": "task.yaml", "index": "index-task.yaml"}
"""By the command that its step runs."""


def section(heading: str) -> str:
    """What stands below a heading, up to the next one."""
    text = (ROOT / "docs/reference.md").read_text()
    assert f"\n{heading}\n" in text
    return re.split(r"^#+ ", text.split(f"\n{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(heading: str) -> list[list[str]]:
    """The cells of the table below a heading; a pipe in a cell is written as \\|."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def expect_same(found: Mapping[str, object], expected: Mapping[str, object]) -> None:
    """Fail with a line for each row that has to be changed in the document."""
    wrong = [
        f"{key}: the document says {found.get(key)}, the program {expected.get(key)}"
        for key in {**expected, **found}
        if found.get(key) != expected.get(key)
    ]
    if wrong:
        pytest.fail("\n".join(wrong), pytrace=False)


def command() -> Any:
    # Of click's types, which some versions of typer have taken over and some import.
    return typer.main.get_command(cli.app)


def options() -> Iterator[tuple[str, Any]]:
    """Each option of each command, as (command, option)."""
    for name, sub in command().commands.items():
        for parameter in sub.params:
            if parameter.param_type_name == "option":
                yield name, parameter


def written(option: Any) -> str:
    """An option as a command line has it where it is not the default, with the values to choose from."""
    name = option.secondary_opts[0] if option.default is True else option.opts[0]
    values = [str(value) for value in type(option.default)] if isinstance(option.default, Enum) else []
    return f"{name} {'|'.join(values)}".strip()


def variable(option: Any) -> str:
    if not option.envvar:
        return ""
    return f"`{option.envvar}=0`" if option.default is True else f"`{option.envvar}`"


def default(option: Any) -> str:
    is_unset = option.default is None or isinstance(option.default, bool | list)
    return "" if is_unset else f"`{option.default}`"


def rows_of_options() -> Mapping[str, tuple[str, ...]]:
    """By option: as it is written, its variable, its default, and the commands that have it."""
    of: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, option in options():
        of[written(option), variable(option), default(option)].append(name)
    every = list(command().commands)
    return {
        key[0].split()[0]: (*key, "all" if names == every else ", ".join(f"`{name}`" for name in names))
        for key, names in of.items()
    }


def task(name: str) -> Mapping[str, Any]:
    spec = yaml.safe_load((ROOT / TASKS[name]).read_text())["spec"]
    assert isinstance(spec, dict)
    return spec


def words(default: object) -> str:
    """A default as YAML has it."""
    if default is None:
        return ""
    plain = isinstance(default, str) and default not in ("", "true", "false")
    return f"`{default if plain else json.dumps(default)}`"


def test_every_option_has_a_row_with_its_variable_its_default_and_its_commands() -> None:
    expected = rows_of_options()
    found = {}
    for option, *cells, meaning in rows("## Options"):
        name, _, values = quoted(option)[0].replace("\\|", "|").partition(" ")
        # The values to choose from are the program's; what stands for any other value is free.
        choices = f"{name} {values}" if "|" in values else name
        found[name] = (choices, *cells)
        assert meaning
    expect_same(found, expected)


def test_the_commands_are_those_of_the_program() -> None:
    found = re.findall(r"^recompress ([a-z]+) ", section("## Commands"), re.MULTILINE)
    assert set(found) == set(command().commands)


def test_every_exit_code_has_a_row() -> None:
    for module in pkgutil.walk_packages(recompress.__path__, "recompress."):
        if module.name != "recompress.__main__":
            importlib.import_module(module.name)
    kinds = [RecompressError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    # A bug is 1, as is an error that is none of the kinds; signals are 128 and their number.
    expected = {0, 130, 143} | {kind.exit_code for kind in kinds}
    found = [int(code) for code, *_ in rows("## Exit codes") for code in code.split(",")]
    assert found == sorted(expected)


def test_every_result_of_the_tasks_has_a_row() -> None:
    expected: dict[str, list[str]] = defaultdict(list)
    for name in TASKS:
        for result in task(name)["results"]:
            expected[result["name"]].append(name)
    found = {quoted(result)[0]: quoted(of) for result, of, _ in rows("## Results")}
    expect_same(found, expected)


@pytest.mark.parametrize(("name", "heading"), [("run", "### recompress"), ("index", "### recompress-index")])
def test_every_parameter_of_a_task_has_a_row_with_its_default(name: str, heading: str) -> None:
    expected = {param["name"]: words(param.get("default")) for param in task(name)["params"]}
    found = {quoted(param)[0]: default for param, default, _ in rows(heading)}
    expect_same(found, expected)


@pytest.mark.parametrize(("name", "heading"), [("run", "### recompress"), ("index", "### recompress-index")])
def test_the_row_of_a_parameter_names_the_option_that_it_sets(name: str, heading: str) -> None:
    meanings = defaultdict(list, {quoted(param)[0]: quoted(meaning) for param, _, meaning in rows(heading)})
    variables = {option.envvar: option.opts[0] for of, option in options() if of == name}
    for entry in task(name)["steps"][0]["env"]:
        param = re.fullmatch(r"\$\(params\.(\w+)\)", entry["value"])
        if param:
            assert variables[entry["name"]] in meanings[param[1]]


def schemas() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The schema of the report of each command."""
    for path in (ROOT / "docs").glob("*.schema.json"):
        schema = json.loads(path.read_text())
        for entry in schema.get("anyOf", [schema]):
            name = entry["$ref"].rpartition("/")[2]
            yield name, schema["$defs"][name]


def test_every_field_of_a_report_is_listed() -> None:
    expected = {name: list(schema["properties"]) for name, schema in schemas()}
    found: Mapping[str, Sequence[str]] = {
        quoted(of)[0]: quoted(fields) for of, fields in rows("## Reports as JSON")
    }
    expect_same(found, expected)
