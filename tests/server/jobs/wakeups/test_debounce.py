"""Hints are sent at once, at most once per moment, and none is lost by that."""

import queue
import threading

import pytest

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.wakeups.base import Hint
from mlflow.server.jobs.wakeups.debounce import WINDOW_SECONDS, Debounced
from tests.server.jobs.fakes import PATIENCE_SECONDS


class Windows(Clock):
    """Windows last until the test ends them."""

    def __init__(self) -> None:
        self.opened = queue.Queue()
        self._ends = threading.Semaphore(0)

    def wait(self, event, timeout_seconds):
        self.opened.put(timeout_seconds)
        return not self._ends.acquire(timeout=PATIENCE_SECONDS)

    def await_opened(self) -> float:
        return self.opened.get(timeout=PATIENCE_SECONDS)

    def end(self) -> None:
        self._ends.release()


@pytest.fixture
def windows():
    return Windows()


@pytest.fixture
def sent():
    return queue.Queue()


@pytest.fixture
def debounced(windows, sent):
    return Debounced(sent.put, windows)


def next_of(sent):
    return sent.get(timeout=PATIENCE_SECONDS)


def test_the_first_hint_goes_out_at_once(debounced, windows, sent):
    debounced(Hint.WORK)
    assert next_of(sent) == Hint.WORK
    assert windows.await_opened() == WINDOW_SECONDS
    windows.end()


def test_hints_within_a_window_are_one_that_goes_out_at_its_end(debounced, windows, sent):
    debounced(Hint.WORK)
    assert next_of(sent) == Hint.WORK
    windows.await_opened()
    for _ in range(100):
        debounced(Hint.WORK)
    debounced(Hint.CANCEL)
    assert sent.empty()
    windows.end()
    assert next_of(sent) == Hint.WORK | Hint.CANCEL
    windows.await_opened()
    assert sent.empty()
    windows.end()


def test_after_a_quiet_time_a_hint_goes_out_at_once_again(debounced, windows, sent):
    for _ in range(3):
        debounced(Hint.WORK)
        assert next_of(sent) == Hint.WORK
        windows.await_opened()
        windows.end()


def test_a_hint_that_comes_while_one_is_being_sent_is_sent_after_it(windows):
    inside, leave, sent = threading.Event(), threading.Event(), queue.Queue()

    def slow(hint):
        inside.set()
        leave.wait(PATIENCE_SECONDS)
        sent.put(hint)

    debounced = Debounced(slow, windows)
    debounced(Hint.WORK)
    assert inside.wait(PATIENCE_SECONDS)
    debounced(Hint.CANCEL)
    leave.set()
    windows.end()
    assert next_of(sent) == Hint.WORK
    assert next_of(sent) == Hint.CANCEL
    windows.end()


def test_no_thread_is_left_when_there_is_nothing_to_send(debounced, windows, sent):
    before = threading.enumerate()
    debounced(Hint.WORK)
    next_of(sent)
    windows.await_opened()
    [thread] = [each for each in threading.enumerate() if each not in before]
    assert thread.name == "mlflow-job-hints"
    windows.end()
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
