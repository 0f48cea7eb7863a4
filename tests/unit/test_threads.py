from __future__ import annotations

import threading

import pytest

from recompress.threads import mapped


def test_what_comes_of_each_item_is_in_their_order() -> None:
    second_is_done = threading.Event()

    def work(number: int) -> int:
        if number == 1:
            assert second_is_done.wait(30)
        else:
            second_is_done.set()
        return number * 10

    assert mapped(work, [1, 2, 3], 2) == [10, 20, 30]


def test_no_more_are_worked_on_at_a_time_than_are_wanted() -> None:
    at_work: set[int] = set()

    def work(number: int) -> int:
        at_work.add(number)
        most = len(at_work)
        at_work.remove(number)
        return most

    assert mapped(work, range(100), 1) == [1] * 100


def test_nothing_is_done_for_no_items() -> None:
    assert mapped(str, [], 4) == []


def test_the_first_failure_is_raised_and_what_was_not_begun_is_left() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 0:
            raise ValueError("zero")
        # The failure of the first is seen before the second comes to its end.
        threading.Event().wait()

    with pytest.raises(ValueError, match="zero"):
        mapped(work, range(100), 1)
    assert set(begun) <= {0, 1}
