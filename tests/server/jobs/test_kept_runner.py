"""A server has a runner for as long as it wants one, and never two."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mlflow.server.jobs.executor import EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
from mlflow.server.jobs.kept_runner import _LONGEST_PAUSE_SECONDS, Crashes, KeptRunner
from mlflow.server.jobs.runner_orders import Order
from mlflow.server.jobs.settings import JobSettings
from tests.server.jobs.fakes import PATIENCE_SECONDS, FakeClock

# Ends with the code that its folder holds for it, or as it is told over its standard input.
RUNNER = """
import os, sys
folder = sys.argv[1]
number = len(os.listdir(folder + "/started"))
open(f"{folder}/started/{number}", "w").close()
code = f"{folder}/code-{number}"
if os.path.exists(code):
    how = open(code).read()
    if how.startswith("-"):
        os.kill(os.getpid(), -int(how))
    sys.exit(int(how))
order = os.read(0, 1)
sys.exit({b"d": 3, b"n": 4, b"": 5}[order])
"""


@pytest.fixture
def keep(tmp_path):
    """Keep a runner whose processes end with these codes; one more waits for an order."""
    (tmp_path / "started").mkdir()
    kept = []

    def keep(*codes: int, before_start=lambda: None) -> KeptRunner:
        for number, code in enumerate(codes):
            (tmp_path / f"code-{number}").write_text(str(code))

        def start() -> subprocess.Popen:
            before_start()
            return subprocess.Popen(
                [sys.executable, "-S", "-c", RUNNER, str(tmp_path)],
                stdin=subprocess.PIPE,
                bufsize=0,
            )

        kept.append(KeptRunner(start, FakeClock()))
        return kept[-1]

    yield keep
    for runner in kept:
        runner.stop(PATIENCE_SECONDS)


@pytest.fixture
def started(tmp_path):
    return lambda: len(os.listdir(tmp_path / "started"))


@pytest.fixture
def wait_until_started(started):
    def wait(count: int) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while started() < count:
            assert time.monotonic() < deadline, f"{started()} runners were started"
            time.sleep(0.01)

    return wait


@pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGSEGV, 1, 0])
def test_a_runner_that_ends_unasked_is_followed_by_another(
    keep, started, wait_until_started, caplog, code
):
    runner = keep(code, code)
    wait_until_started(3)
    with pytest.raises(subprocess.TimeoutExpired):
        runner.wait(0)
    runner.ask(Order.DRAIN)
    assert runner.wait(PATIENCE_SECONDS) == 3
    assert started() == 3
    assert caplog.text.count("another one is started") == 2


def test_a_runner_that_cannot_start_is_followed_by_none(keep, started):
    runner = keep(EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE)
    assert runner.wait(PATIENCE_SECONDS) == EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
    assert started() == 1


def test_what_keeps_a_later_runner_from_starting_may_pass(keep, wait_until_started):
    runner = keep(1, EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE)
    wait_until_started(3)
    runner.stop(PATIENCE_SECONDS)
    assert runner.returncode == 3


def test_a_runner_that_crashes_at_once_again_and_again_is_given_up(keep, started, caplog):
    runner = keep(*[-signal.SIGKILL] * 5)
    assert runner.wait(PATIENCE_SECONDS) == EXECUTOR_JOB_RUNNER_FATAL_EXIT_CODE
    assert started() == 5
    assert "ended 5 times soon after its start, now it was killed by SIGKILL" in caplog.text


def test_a_runner_that_the_host_has_no_room_for_counts_as_one_that_crashed(
    keep, wait_until_started, caplog
):
    starts = iter([None, OSError("no room"), OSError("no room")])

    def refuse_for_a_while():
        if error := next(starts, None):
            raise error

    runner = keep(1, before_start=refuse_for_a_while)
    wait_until_started(2)
    runner.stop(PATIENCE_SECONDS)
    assert runner.returncode == 3
    assert caplog.text.count("No job runner can be started: no room") == 2


@pytest.mark.parametrize(("order", "code"), [(Order.DRAIN, 3), (Order.NOW, 4)])
def test_a_runner_that_was_asked_to_end_is_the_last(keep, started, order, code):
    runner = keep()
    runner.ask(order)
    assert runner.wait(PATIENCE_SECONDS) == code
    assert started() == 1


def test_an_impatient_order_is_not_taken_back_by_a_stop(keep):
    runner = keep()
    runner.ask(Order.NOW)
    runner.ask(Order.DRAIN)
    assert runner.is_hurried


def test_crashes_pause_longer_each_time_until_a_runner_has_lived_a_while():
    crashes = Crashes(random_share=lambda: 0.0)
    assert [crashes.pause_after(0.1) for _ in range(4)] == [1, 2, 4, 8]
    assert crashes.pause_after(30.0) == 1
    assert [crashes.pause_after(29.9) for _ in range(4)] == [2, 4, 8, None]


def test_jobs_that_kill_each_runner_which_recovers_them_do_not_end_their_server():
    lease_seconds = JobSettings().job_lease_ttl
    # Another runner has to come up meanwhile.
    lived_seconds = lease_seconds - _LONGEST_PAUSE_SECONDS
    crashes = Crashes()
    assert None not in [crashes.pause_after(lived_seconds) for _ in range(20)]
