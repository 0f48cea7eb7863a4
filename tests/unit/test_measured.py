"""Too little that is reached by the tests is a failure of the tests."""

from __future__ import annotations

import pytest

from tests.measured import is_enough


def summary(statements: int, branches: int) -> dict[str, int]:
    return {
        "num_statements": 100,
        "covered_lines": statements,
        "num_branches": 100,
        "covered_branches": branches,
    }


@pytest.mark.parametrize(
    ("statements", "branches", "expected"), [(90, 90, True), (89, 100, False), (100, 89, False)]
)
def test_statements_and_branches_have_to_come_up_to_the_floor(
    statements: int, branches: int, expected: bool
) -> None:
    assert is_enough({"recompress/a.py": summary(statements, branches)}, "recompress/", 90) is expected


def test_a_wing_is_not_held_up_by_the_rest_of_the_house() -> None:
    files = {"recompress/layer/a.py": summary(94, 94), "recompress/b.py": summary(100, 100)}
    assert not is_enough(files, "recompress/layer/", 95)
    assert is_enough(files, "recompress/", 95)
