from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from recompress import signals
from recompress.errors import TimedOut


@pytest.fixture(autouse=True)
def _same_signals_afterwards() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_sigterm_ends_the_run_and_a_second_one_does_not_disturb_the_cleaning_up() -> None:
    cleaned_up = False
    with pytest.raises(signals.Terminated), signals.ended_by_signal_or_deadline(None):  # noqa: PT012
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned_up = True
    assert cleaned_up


def test_a_signal_that_does_not_wake_the_main_thread_ends_the_run_all_the_same() -> None:
    # As where it comes just before the main thread waits for an answer, and not while it waits.
    here, there = socket.socketpair()
    ended = threading.Event()
    in_time: list[bool] = []

    def take_it() -> None:
        time.sleep(0.3)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        in_time.append(ended.wait(30))
        there.send(b"1")

    thread = threading.Thread(target=take_it)
    with here, there:
        with pytest.raises(signals.Terminated), signals.ended_by_signal_or_deadline(None):  # noqa: PT012
            thread.start()
            here.recv(1)
        ended.set()
        thread.join()
    assert in_time == [True]


def test_no_step_can_take_sigterm_for_a_failure_of_its_own() -> None:
    assert not issubclass(signals.Terminated, Exception)


def test_after_its_time_a_run_is_ended_with_what_to_do() -> None:
    with (
        pytest.raises(TimedOut, match=r"did not end within 0\.01 s: raise --timeout or --jobs"),
        signals.ended_by_signal_or_deadline(0.01),
    ):
        time.sleep(60)


def test_no_step_can_take_the_deadline_for_a_failure_of_its_own() -> None:
    with pytest.raises(TimedOut), signals.ended_by_signal_or_deadline(0.01):  # noqa: PT012
        # As where layers to reuse are looked for: whatever is wrong with a place stops no run.
        with suppress(Exception):
            time.sleep(60)
        time.sleep(60)


def test_after_the_deadline_a_signal_does_not_disturb_the_cleaning_up() -> None:
    cleaned_up = False
    with pytest.raises(TimedOut), signals.ended_by_signal_or_deadline(0.01):  # noqa: PT012
        try:
            time.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            cleaned_up = True
    assert cleaned_up


def test_a_run_that_ends_in_time_is_not_ended_later() -> None:
    with signals.ended_by_signal_or_deadline(0.05):
        pass
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
