"""A loop beats at once, when woken, when its pause is over; and survives its beats' failures."""

import logging
import queue
import threading

import pytest

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.loop import Loop, RepeatedError
from tests.server.jobs.fakes import PATIENCE_SECONDS


@pytest.fixture
def beats():
    return Beats()


@pytest.fixture
def make_loop(beats):
    loops = []

    def make(beat) -> Loop:
        loops.append(Loop("test", beat, Clock(), longest_failure_pause_seconds=0.001))
        loops[-1].start()
        return loops[-1]

    yield make
    for loop in loops:
        loop.stop()
        assert loop.join(PATIENCE_SECONDS)


class Beats:
    """Counts beats, and lets a test wait for one."""

    def __init__(self) -> None:
        self._seen = threading.Semaphore(0)

    def __call__(self) -> None:
        self._seen.release()

    def comes(self) -> bool:
        return self._seen.acquire(timeout=PATIENCE_SECONDS)

    def came(self) -> bool:
        return self._seen.acquire(blocking=False)


class WaitingClock(Clock):
    """Tells of each wait whether there was something to wait for."""

    def __init__(self) -> None:
        self._waits = queue.Queue()

    def wait(self, event, timeout_seconds):
        self._waits.put(not event.is_set())
        return super().wait(event, timeout_seconds)

    def next_wait_is_for_a_wake_up(self) -> bool:
        return self._waits.get(timeout=PATIENCE_SECONDS)


def test_the_first_beat_comes_at_once_and_the_next_when_woken(make_loop, beats):
    loop = make_loop(beats)
    assert beats.comes()
    loop.wake()
    assert beats.comes()


def test_a_beat_comes_again_after_the_pause_it_asked_for(make_loop, beats):
    def beat():
        beats()
        return 0.001

    make_loop(beat)
    assert all(beats.comes() for _ in range(3))


def test_a_wake_up_is_spent_by_the_beat_it_caused(beats):
    clock = WaitingClock()
    loop = Loop("test", beats, clock)
    loop.start()
    assert clock.next_wait_is_for_a_wake_up()
    loop.wake()
    assert clock.next_wait_is_for_a_wake_up()
    loop.stop()
    assert loop.join(PATIENCE_SECONDS)


def test_a_wake_up_during_a_beat_causes_another(make_loop, beats):
    inside, leave = threading.Event(), threading.Event()

    def beat():
        beats()
        inside.set()
        leave.wait(PATIENCE_SECONDS)

    loop = make_loop(beat)
    assert inside.wait(PATIENCE_SECONDS)
    loop.wake()
    leave.set()
    assert beats.comes()
    assert beats.comes()


class SpentClock(Clock):
    """Every wait is over at once. Keeps how long each was to be, and ends a loop after some."""

    def __init__(self, waits: int) -> None:
        self.waited: list[float] = []
        self._left = waits
        self.on_wait = lambda: None
        self.on_last = lambda: None

    def wait(self, event, timeout_seconds):
        self.waited.append(timeout_seconds)
        self._left -= 1
        (self.on_wait if self._left > 0 else self.on_last)()
        return event.is_set()


def test_loops_that_pause_for_equally_long_drift_apart():
    clock = SpentClock(waits=20)
    loop = Loop("test", lambda: 10.0, clock)
    clock.on_last = loop.stop
    loop.start()
    assert loop.join(PATIENCE_SECONDS)
    assert len({*clock.waited}) > 10
    assert 9.0 <= min(clock.waited) <= max(clock.waited) <= 10.0


@pytest.mark.parametrize(("way", "spreads"), [("wake_among_others", True), ("wake", False)])
def test_loops_that_were_all_told_the_same_do_not_all_ask_at_once(way, spreads):
    clock = SpentClock(waits=20)
    loop = Loop("test", lambda: None, clock)
    clock.on_wait, clock.on_last = getattr(loop, way), loop.stop
    loop.start()
    assert loop.join(PATIENCE_SECONDS)
    spread = [seconds for seconds in clock.waited if seconds is not None]
    assert bool(spread) is spreads
    assert len({*spread}) == len(spread)
    assert all(0 <= seconds <= 0.05 for seconds in spread)


def test_a_failing_beat_is_beaten_again(make_loop, beats):
    def beat():
        beats()
        raise ValueError("no")

    make_loop(beat)
    assert all(beats.comes() for _ in range(3))


def test_a_stopped_loop_beats_no_more(make_loop, beats):
    loop = make_loop(beats)
    assert beats.comes()
    loop.stop()
    assert loop.join(PATIENCE_SECONDS)
    loop.wake()
    assert not beats.came()


def test_equal_errors_in_a_row_are_logged_once_and_so_is_the_recovery(caplog):
    caplog.set_level(logging.INFO)
    failures = RepeatedError("It")
    failures.failed(ValueError("object at 0x7f01"))
    failures.failed(ValueError("object at 0x9a02"))
    failures.passed()
    failures.passed()
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]
    failures.failed(ValueError("object at 0x7f01"))
    failures.failed(KeyError("other"))
    assert [record.levelname for record in caplog.records[2:]] == ["ERROR", "ERROR"]


def test_the_values_of_a_failed_statement_are_not_logged(caplog):
    RepeatedError("It").failed(
        ValueError("(db) broken\n[SQL: INSERT ...]\n[parameters: ('s3cret',)]")
    )
    assert "(db) broken" in caplog.text
    assert "s3cret" not in caplog.text
