"""Successes that come while another is written go together; none waits for one that may come."""

import threading

import pytest

from mlflow.server.jobs.outcome import Succeed
from mlflow.server.jobs.owned_jobs import OwnedJob
from mlflow.server.jobs.success_writes import Ended, SuccessWrites
from mlflow.store.jobs.errors import InvalidJobField, JobStoreUnavailable
from mlflow.store.jobs.values import Claim, ClaimedJob
from tests.server.jobs.fakes import PATIENCE_SECONDS, ScriptedExecutor


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
    """Threads that bring one success each, and those that write."""

    def __init__(self, store) -> None:
        self.writes = SuccessWrites(
            store.succeed_all, self._told("written"), self._told("refused"), self._begin
        )
        self.written: list[str] = []
        self.refused: list[str] = []
        self._threads: list[threading.Thread] = []

    def _told(self, answer: str):
        return lambda ended: getattr(self, answer).append(ended.job.claim.job_id)

    def start(self, job_id: str) -> None:
        self._run(lambda: self.put(job_id))

    def put(self, job_id: str) -> None:
        self.writes.put(ended(job_id))

    def join(self) -> None:
        # Each thread begins others only before it ends.
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()

    def _begin(self, write) -> bool:
        self._run(write)
        return True

    def _run(self, call) -> None:
        thread = threading.Thread(target=call, name="writer", daemon=True)
        self._threads.append(thread)
        thread.start()


class Turns:
    """Makes the calls that are begun one after the other, when told to."""

    def __init__(self) -> None:
        self._calls = []

    def begin(self, call) -> bool:
        self._calls.append(call)
        return True

    def take(self) -> None:
        while self._calls:
            self._calls.pop(0)()


def no_thread(call) -> bool:
    return False


def ended(job_id: str) -> Ended:
    claim = Claim(job_id, 1)
    job = ClaimedJob(claim, "sample", {}, None, "default", None, None, 0, 0, None, None)
    return Ended(job, OwnedJob(claim, "sample", ScriptedExecutor(), 0.0), Succeed("1"))


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
    assert writers.written == ["1"]


def test_a_success_that_comes_during_a_write_keeps_no_thread_and_is_in_the_next_one(store, writers):
    writers.start("1")
    store.await_begin()
    for job_id in "234":
        writers.put(job_id)
    assert store.groups == [["1"]]
    store.end()
    store.await_begin()
    assert store.groups[1:] == [["2", "3", "4"]]
    assert writers.written == ["1"]
    store.end()
    writers.join()
    assert writers.written == [*"1234"]


def test_what_was_about_to_begin_and_is_over_at_once_is_written_with_the_first(store):
    turns = Turns()
    writes = SuccessWrites(store.succeed_all, lambda ended: None, lambda ended: None, turns.begin)
    for job_id in "123":
        turns.begin(lambda job_id=job_id: writes.put(ended(job_id)))
    store.end()
    turns.take()
    assert store.groups == [["1", "2", "3"]]


def test_a_write_takes_its_turn_behind_the_jobs_that_the_one_before_it_has_begun():
    turns, groups, next_jobs = Turns(), [], ["3", "4"]

    def write(successes) -> bool:
        groups.append([each.claim.job_id for each in successes])
        if next_jobs:
            # One is over before this write is, and one is about to begin.
            writes.put(ended(next_jobs.pop(0)))
            turns.begin(lambda: writes.put(ended(next_jobs.pop(0))))
        return True

    writes = SuccessWrites(write, lambda ended: None, lambda ended: None, turns.begin)
    for job_id in "12":
        writes.put(ended(job_id))
    turns.take()
    assert groups == [["1", "2"], ["3", "4"]]


def test_where_no_thread_is_to_be_had_who_brings_a_success_writes_what_comes_meanwhile():
    groups, next_jobs = [], ["2", "3"]

    def write(successes) -> bool:
        groups.append([each.claim.job_id for each in successes])
        if next_jobs:
            writes.put(ended(next_jobs.pop(0)))
        return True

    writes = SuccessWrites(write, lambda ended: None, lambda ended: None, no_thread)
    writes.put(ended("1"))
    assert groups == [["1"], ["2"], ["3"]]


def test_no_group_is_larger_than_a_database_takes_well(store, writers):
    writers.start("first")
    store.await_begin()
    for number in range(40):
        writers.put(str(number))
    for _ in range(3):
        store.end()
    writers.join()
    assert [len(each) for each in store.groups] == [1, 32, 8]
    assert len(writers.written) == 41


@pytest.mark.parametrize(
    "answer",
    [
        False,
        JobStoreUnavailable("away"),
        InvalidJobField("result", "contains NaN"),
        ZeroDivisionError(),
    ],
)
def test_a_group_that_was_not_written_is_given_back_and_holds_up_none(store, writers, answer):
    writers.start("1")
    store.await_begin()
    for job_id in "23":
        writers.put(job_id)
    store.end()
    store.await_begin()
    store.end(answer)
    writers.join()
    assert (writers.written, writers.refused) == (["1"], ["2", "3"])
    writers.start("4")
    store.end()
    writers.join()
    assert writers.written == ["1", "4"]


def test_a_listener_that_fails_holds_up_none(store):
    told = []

    def fail(ended):
        told.append(ended.job.claim.job_id)
        raise ZeroDivisionError

    writes = SuccessWrites(store.succeed_all, fail, fail, no_thread)
    for job_id, answer in (("1", True), ("2", False), ("3", True)):
        store.end(answer)
        writes.put(ended(job_id))
    assert told == ["1", "2", "3"]


def test_a_long_result_makes_nobody_wait():
    assert SuccessWrites.takes(Succeed(None))
    assert SuccessWrites.takes(Succeed("1"))
    assert not SuccessWrites.takes(Succeed('"' + "x" * 20_000 + '"'))


def test_what_is_waiting_to_be_written_never_shows_its_result():
    owned = OwnedJob(Claim("1", 1), "sample", ScriptedExecutor(), 0.0)
    assert "secret" not in repr(Ended(ended("1").job, owned, Succeed('"secret"')))


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
    assert writers.written == store.written
