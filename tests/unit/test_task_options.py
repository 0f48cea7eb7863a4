"""The parameters of the Tasks, what is written of them, and the options of the commands say the same."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import UnionType
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from typer.models import OptionInfo, ParameterInfo

from recompress import cli
from tests.tekton.resources import ROOT

COMMANDS: Mapping[str, Callable[..., None]] = {"task.yaml": cli.run, "index-task.yaml": cli.index}
IN_ARGUMENTS = {"task.yaml": {"IMAGE", "REUSE_FROM", "SBOM_FROM"}, "index-task.yaml": {"IMAGES"}}
OF_THE_STEP = {"caTrustConfigMapName", "caTrustConfigMapKey"}
OTHER_NAMES = {"index-task.yaml": {"IMAGE": "TO"}}
"""Parameters that are called as in other tasks of the field, and not as the option."""

SET_BY_THE_TASK = {"CA_FILE", "RESULTS_DIR"}
NOT_IN_A_TASK = {
    "AUTHFILE",  # credentials are those of the workspace or of the service account
    "TLS_VERIFY",  # for tests
    "OUTPUT",
    "DEBUG",
    "NO_REUSE",  # for who suspects a layer, by hand
    "REUSE_FROM",  # an array becomes arguments
    "SBOM_FROM",
}
OF_TWINS = {"TWINS", "LEVEL", "JOBS", "IF_IMPOSSIBLE", "PARTIAL_PULLS"}
"""`index --twins` is for where there is no pipeline: in one, the other Task makes the twins."""


of_each_task = pytest.mark.parametrize("file", COMMANDS)


@dataclass(frozen=True, slots=True)
class Option:
    """What the command line says of an option."""

    kind: Any
    info: ParameterInfo
    default: Any

    @property
    def choices(self) -> list[str]:
        is_choice = isinstance(self.kind, type) and issubclass(self.kind, StrEnum)
        return [str(choice) for choice in self.kind] if is_choice else []


def options(file: str) -> dict[str, Option]:
    """The options of a command that can be given in the environment, by the variable without RECOMPRESS_."""
    command = COMMANDS[file]
    found = {}
    for name, hint in get_type_hints(command, include_extras=True).items():
        if name == "return":
            continue
        kind, info, *_ = get_args(hint)
        if isinstance(info, OptionInfo) and isinstance(info.envvar, str):
            default = inspect.signature(command).parameters[name].default
            kinds = (
                [k for k in get_args(kind) if k is not type(None)] if isinstance(kind, UnionType) else [kind]
            )
            found[info.envvar.removeprefix("RECOMPRESS_")] = Option(kinds[0], info, default)
    return found


def parameters(file: str) -> dict[str, dict[str, Any]]:
    spec = yaml.safe_load((ROOT / file).read_text())["spec"]
    return {param["name"]: param for param in spec["params"]}


def by_variable(file: str) -> dict[str, tuple[dict[str, Any], Option]]:
    """Each parameter that is an option, with that option."""
    names = OTHER_NAMES.get(file, {})
    given = {name: param for name, param in parameters(file).items() if name not in OF_THE_STEP}
    known = options(file)
    return {
        name: (param, known[names.get(name, name)])
        for name, param in given.items()
        if name not in IN_ARGUMENTS[file]
    }


@of_each_task
def test_every_option_of_the_command_is_a_parameter_or_named_as_none(file: str) -> None:
    names = OTHER_NAMES.get(file, {})
    given = parameters(file).keys() - OF_THE_STEP - IN_ARGUMENTS[file]
    left_out = SET_BY_THE_TASK | NOT_IN_A_TASK | (OF_TWINS if file == "index-task.yaml" else set())
    assert {names.get(name, name) for name in given} == options(file).keys() - left_out


@of_each_task
def test_every_parameter_reaches_its_option_by_the_environment_of_the_step(file: str) -> None:
    (step,) = yaml.safe_load((ROOT / file).read_text())["spec"]["steps"]
    variables = {variable["name"]: variable["value"] for variable in step["env"]}
    names = OTHER_NAMES.get(file, {})
    for name in by_variable(file):
        assert variables.pop(f"RECOMPRESS_{names.get(name, name)}") == f"$(params.{name})"
    assert {name for name in variables if name.startswith("RECOMPRESS_")} == {
        f"RECOMPRESS_{name}" for name in SET_BY_THE_TASK
    }


@of_each_task
def test_a_parameter_has_the_default_of_its_option_and_says_so(file: str) -> None:
    for name, (param, option) in by_variable(file).items():
        if option.default is inspect.Parameter.empty:
            assert "default" not in param, name
        elif option.choices:
            assert param["default"] == option.default, name
        elif option.kind is bool:
            assert param["default"] == str(option.default).lower(), name
        else:
            assert param["default"] == "", name
            assert option.default is None or f"Default {option.default}." in param["description"], name


@of_each_task
def test_a_parameter_names_the_choices_and_the_bounds_of_its_option(file: str) -> None:
    for name, (param, option) in by_variable(file).items():
        for choice in option.choices:
            assert choice in param["description"], (name, choice)
        if option.kind is int:
            assert f"{option.info.min} to {option.info.max}" in param["description"], name


def test_what_both_tasks_have_is_the_same_in_both() -> None:
    of_run, of_index = (parameters(file) for file in COMMANDS)
    alike = {"ATTEMPTS", "TIMEOUT", *OF_THE_STEP}
    # These two are of another image in each.
    assert of_run.keys() & of_index.keys() == {"IMAGE", "SBOM", *alike}
    for name in alike:
        assert of_run[name] == of_index[name]


@of_each_task
def test_every_parameter_result_and_workspace_is_described(file: str) -> None:
    spec = yaml.safe_load((ROOT / file).read_text())["spec"]
    for entry in (*spec["params"], *spec["results"], *spec["workspaces"]):
        assert entry["description"].endswith("."), entry["name"]
