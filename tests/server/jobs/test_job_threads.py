"""Threads that are free are used again, and end when nothing comes."""

import queue
import threading

from mlflow.server.jobs.job_threads import JobThreads
from tests.server.jobs.fakes import PATIENCE_SECONDS


def run(threads: JobThreads, name: str = "call") -> tuple[threading.Thread, str]:
    """Run a call to its end; answer its thread and the name it had."""
    ran, done = [], threading.Event()

    def call() -> None:
        ran.append((threading.current_thread(), threading.current_thread().name))
        done.set()

    threads.run(name, call)
    assert done.wait(PATIENCE_SECONDS)
    return ran[0]


def await_free(threads: JobThreads, count: int) -> None:
    for _ in range(PATIENCE_SECONDS * 1000):
        if threads._free == count:
            return
        threading.Event().wait(0.001)
    raise AssertionError(f"{threads._free} threads are free")


def test_a_free_thread_takes_the_next_call_under_its_name():
    threads = JobThreads()
    first, first_name = run(threads, "one")
    await_free(threads, 1)
    second, second_name = run(threads, "two")
    assert first is second
    assert (first_name, second_name) == ("one", "two")


def test_a_call_never_waits_for_another():
    threads, began, go_on = JobThreads(), threading.Semaphore(0), threading.Event()

    def call() -> None:
        began.release()
        go_on.wait(PATIENCE_SECONDS)

    for number in range(20):
        threads.run(f"call-{number}", call)
    assert all(began.acquire(timeout=PATIENCE_SECONDS) for _ in range(20))
    go_on.set()
    await_free(threads, 20)


def test_calls_of_which_none_was_begun_before_the_last_one_came_never_wait_for_each_other():
    class Late:
        """Wakes nobody before it is told to."""

        def __init__(self) -> None:
            self.get, self._put = threads._wakes.get, threads._wakes.put
            self._held: list[None] | None = []

        def put(self, wake: None) -> None:
            if self._held is None:
                self._put(wake)
            else:
                self._held.append(wake)

        def let_go(self) -> None:
            held, self._held = self._held, None
            for wake in held:
                self._put(wake)

    threads, all_run = JobThreads(idle_seconds=2 * PATIENCE_SECONDS), threading.Barrier(5)
    for _ in range(2):
        threads._wakes = late = Late()
        for number in range(4):
            threads.run(f"call-{number}", lambda: all_run.wait(PATIENCE_SECONDS))
        late.let_go()
        all_run.wait(PATIENCE_SECONDS)
        await_free(threads, 4)


def test_a_thread_whose_call_has_ended_takes_what_waits_without_being_woken():
    class Unheard:
        """Wakes nobody."""

        def put(self, wake) -> None:
            pass

        def get(self, timeout) -> None:
            raise queue.Empty

    threads, all_run, ran, done = JobThreads(), threading.Barrier(3), [], threading.Event()

    def note() -> None:
        ran.append(threading.current_thread())

    def begin_others() -> None:
        threads._wakes = Unheard()
        threads.run("second", note)
        threads.run("third", done.set)
        note()

    for number in range(3):
        threads.run(f"call-{number}", lambda: all_run.wait(PATIENCE_SECONDS))
    await_free(threads, 3)
    threads.run("first", begin_others)
    assert done.wait(PATIENCE_SECONDS)
    assert ran[0] is ran[1]


def test_a_thread_that_stays_free_ends():
    threads = JobThreads(idle_seconds=0.01)
    thread, _ = run(threads)
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    assert threads._free == 0
    assert run(threads)[0] is not thread


def test_no_call_is_lost_while_threads_end():
    threads, done = JobThreads(idle_seconds=0.0), threading.Semaphore(0)
    for number in range(500):
        threads.run(f"call-{number}", done.release)
    assert all(done.acquire(timeout=PATIENCE_SECONDS) for _ in range(500))
    await_free(threads, 0)


def test_free_threads_keep_no_process_alive():
    threads = JobThreads()
    assert run(threads)[0].daemon
