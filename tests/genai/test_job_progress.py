"""A job function counts aloud: seldom, first and last at any rate, and without ever failing."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mlflow.genai import job_progress
from mlflow.genai.job_progress import INTERVAL_SECONDS, count_aloud
from mlflow.server.jobs import progress


class Tracker:
    def __init__(self, error=None):
        self.told = []
        self.second = threading.Event()
        self._error = error

    def update_job_progress(self, message=None, progress=None):
        self.told.append((message, progress.to_dict()))
        if len(self.told) == 2:
            self.second.set()
        if self._error:
            raise self._error

    @property
    def numbers(self):
        return [numbers["completed"] for _, numbers in self.told]


class Clock:
    """Time that is moved by hand, and the timers that run by it."""

    def __init__(self):
        self.now = 100.0
        self._timers = []

    def __call__(self):
        return self.now

    def timer(self, seconds, function):
        return Timer(self, self.now + seconds, function)

    def add(self, timer):
        self._timers.append(timer)

    def go_on(self, seconds):
        self.now += seconds
        due = [timer for timer in self._timers if timer.due <= self.now]
        self._timers = [timer for timer in self._timers if timer not in due]
        for timer in due:
            if not timer.canceled:
                timer.function()


class Timer:
    def __init__(self, clock, due, function):
        self.due, self.function, self.canceled = due, function, False
        self._clock = clock

    def start(self):
        self._clock.add(self)

    def cancel(self):
        self.canceled = True


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def count(clock):
    return count_aloud("p", "traces", "Scored", clock, clock.timer)


@pytest.fixture
def tracker(monkeypatch):
    tracker = Tracker()
    monkeypatch.setattr(progress, "_job_tracker", tracker)
    return tracker


def test_a_count_has_a_sentence_and_the_numbers(tracker):
    count_aloud("scoring traces", "traces", "Scored")(3, 7)

    numbers = {"phase": "scoring traces", "completed": 3, "total": 7, "unit": "traces"}
    assert tracker.told == [("Scored 3 of 7 traces", numbers)]


def test_it_is_told_once_in_an_interval_and_the_end_always(tracker, clock, count):
    count(0, 9)
    count(1, 9)
    clock.go_on(INTERVAL_SECONDS - 0.1)
    count(2, 9)
    assert tracker.numbers == [0]
    clock.go_on(0.1)
    assert tracker.numbers == [0, 2]
    clock.go_on(INTERVAL_SECONDS)
    count(3, 9)
    count(4, 9)
    count(9, 9)
    clock.go_on(INTERVAL_SECONDS)
    assert tracker.numbers == [0, 2, 3, 9]


def test_the_newest_number_is_told_though_no_other_follows(tracker, clock, count):
    for done in range(3):
        count(done, 9)
    clock.go_on(INTERVAL_SECONDS)
    clock.go_on(INTERVAL_SECONDS)
    assert tracker.numbers == [0, 2]


@pytest.mark.parametrize("error", [RuntimeError("?"), ValueError("the database has gone")])
def test_a_report_that_fails_does_not_fail_the_job(monkeypatch, error):
    tracker = Tracker(error)
    monkeypatch.setattr(progress, "_job_tracker", tracker)

    count_aloud("p", "traces", "Scored")(1, 1)

    assert len(tracker.told) == 1


def test_outside_a_job_nothing_is_told(monkeypatch):
    monkeypatch.setattr(progress, "_job_tracker", None)
    count_aloud("p", "traces", "Scored")(1, 1)


def test_any_thread_may_count(tracker, count):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda done: count(done, 100), range(100)))

    assert len(tracker.told) == 1


def test_a_thread_of_its_own_tells_the_newest_number(tracker, monkeypatch):
    monkeypatch.setattr(job_progress, "INTERVAL_SECONDS", 0.01)
    count = count_aloud("p", "traces", "Scored")
    count(0, 2)
    count(1, 2)
    assert tracker.second.wait(60)
    assert tracker.numbers == [0, 1]
