"""Successes that come while another is written go together; none waits for one that may come."""

import threading

import pytest

from mlflow.server.jobs.success_writes import SuccessWrites
from mlflow.store.jobs.errors import InvalidJobField, JobStoreUnavailable
from mlflow.store.jobs.values import Claim, Success
from tests.server.jobs.fakes import PATIENCE_SECONDS


class GatedStore:
    """A store whose writes last until the test lets them end, and answer what it says."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.has_begun = threading.Semaphore(0)
        self._ends = threading.Semaphore(0)
        self._answers: list[bool | Exception] = []

    def succeed_all(self, successes) -> bool:
        self.groups.append([each.claim.job_id for each in successes])
        self.has_begun.release()
        assert self._ends.acquire(timeout=PATIENCE_SECONDS)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def await_begin(self) -> None:
        assert self.has_begun.acquire(timeout=PATIENCE_SECONDS)

    def end(self, answer: bool | Exception = True) -> None:
        self._answers.append(answer)
        self._ends.release()


class Writers:
    """Threads that write one success each."""

    def __init__(self, store) -> None:
        self.freed: list[list[str]] = []
        self.writes = SuccessWrites(store, self._free)
        self.answers: dict[str, bool | Exception] = {}
        self._threads: list[threading.Thread] = []

    def _free(self, claims) -> None:
        self.freed.append([each.job_id for each in claims])

    def start(self, job_id: str, result: str = "1") -> None:
        def write() -> None:
            try:
                self.answers[job_id] = self.writes.write(Success(Claim(job_id, 1), result))
            except ZeroDivisionError as e:
                self.answers[job_id] = e

        thread = threading.Thread(target=write, name=f"writer-{job_id}", daemon=True)
        thread.start()
        self._threads.append(thread)

    def start_waiting(self, *job_ids: str) -> None:
        """Start these while a write is under way, one after another."""
        for job_id in job_ids:
            waiting = len(self.writes._queue)
            self.start(job_id)
            while len(self.writes._queue) == waiting:
                threading.Event().wait(0.001)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()


@pytest.fixture
def store():
    return GatedStore()


@pytest.fixture
def writers(store):
    return Writers(store)


def test_the_first_success_is_written_at_once_and_alone(store, writers):
    writers.start("1")
    store.await_begin()
    assert store.groups == [["1"]]
    store.end()
    writers.join()
    assert writers.answers == {"1": True}


def test_successes_that_come_during_a_write_are_the_next_one(store, writers):
    writers.start("1")
    store.await_begin()
    writers.start_waiting("2", "3", "4")
    assert store.groups == [["1"]]
    store.end()
    store.await_begin()
    assert store.groups[1:] == [["2", "3", "4"]]
    store.end()
    writers.join()
    assert writers.freed == store.groups
    assert writers.answers == dict.fromkeys("1234", True)


def test_a_job_that_is_written_does_not_wait_for_those_behind_it(store, writers):
    writers.start("1")
    store.await_begin()
    writers.start_waiting("2")
    store.end()
    store.await_begin()
    writers._threads[0].join(PATIENCE_SECONDS)
    assert writers.answers == {"1": True}
    store.end()
    writers.join()


def test_no_group_is_larger_than_a_database_takes_well(store, writers):
    writers.start("first")
    store.await_begin()
    writers.start_waiting(*(str(number) for number in range(40)))
    for _ in range(3):
        store.end()
    writers.join()
    assert [len(each) for each in store.groups] == [1, 32, 8]
    assert set(writers.answers.values()) == {True}


@pytest.mark.parametrize(
    "answer", [False, JobStoreUnavailable("away"), InvalidJobField("result", "contains NaN")]
)
def test_a_group_that_was_not_written_leaves_each_to_its_own_thread(store, writers, answer):
    writers.start("1")
    store.await_begin()
    writers.start_waiting("2", "3")
    store.end()
    store.await_begin()
    store.end(answer)
    writers.join()
    assert writers.answers == {"1": True, "2": False, "3": False}
    assert writers.freed == [["1"]]


def test_an_error_nobody_expects_reaches_one_thread_and_holds_up_none(store, writers):
    writers.start("1")
    store.await_begin()
    writers.start_waiting("2", "3")
    store.end(ZeroDivisionError())
    store.await_begin()
    store.end()
    writers.join()
    assert isinstance(writers.answers["1"], ZeroDivisionError)
    assert (writers.answers["2"], writers.answers["3"]) == (True, True)
    writers.start("4")
    store.end()
    writers.join()
    assert writers.answers["4"] is True


def test_a_long_result_makes_nobody_wait(store, writers):
    writers.start("1", '"' + "x" * 20_000 + '"')
    writers.join()
    assert writers.answers == {"1": False}
    assert store.groups == []


def test_many_threads_each_have_their_success_written_once():
    class Counting:
        def __init__(self) -> None:
            self.written: list[str] = []

        def succeed_all(self, successes) -> bool:
            self.written += [each.claim.job_id for each in successes]
            return True

    store = Counting()
    writers = Writers(store)
    for number in range(200):
        writers.start(str(number))
    writers.join()
    assert sorted(store.written) == sorted(map(str, range(200)))
    assert set(writers.answers.values()) == {True}
