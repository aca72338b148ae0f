"""Requests to stop come out in the order in which they were made."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from mlflow.server.jobs.runner_orders import Order
from mlflow.server.jobs.stop_requests import StopRequest, StopRequests
from tests.server.jobs.fakes import PATIENCE_SECONDS


@pytest.fixture
def restored_signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    wakes = signal.set_wakeup_fd(-1)
    yield
    signal.set_wakeup_fd(wakes)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_become_requests(restored_signals):
    stops = StopRequests()
    stops.begin()
    os.kill(os.getpid(), signal.SIGINT)
    assert stops.get(0) is StopRequest.INTERRUPT
    os.kill(os.getpid(), signal.SIGTERM)
    assert stops.get(0) is StopRequest.TERMINATE
    assert stops.get(0) is None


def test_a_signal_that_another_thread_is_given_wakes_whoever_waits(restored_signals):
    stops = StopRequests()
    stops.begin()

    def terminate() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    threading.Timer(0.2, terminate).start()
    assert stops.get(PATIENCE_SECONDS) is StopRequest.TERMINATE


def test_a_flood_of_requests_blocks_nobody():
    stops = StopRequests()
    for _ in range(100_000):
        stops.put(StopRequest.TERMINATE)
    assert stops.get(0) is StopRequest.TERMINATE


NOT_BEGUN = """
import os, sys
from mlflow.server.jobs.stop_requests import StopRequests
stops = StopRequests()
stops.follow(sys.stdin.fileno())
print("started", flush=True)
stops.get()
"""


def test_orders_become_requests_and_the_end_of_the_launcher_is_one(restored_signals):
    read_end, write_end = os.pipe()
    stops, gone = StopRequests(), threading.Event()
    stops.begin()
    stops.follow(read_end, on_end=gone.set)
    for order in Order:
        os.write(write_end, order.value)
    os.close(write_end)
    requests = [stops.get(PATIENCE_SECONDS) for _ in range(3)]
    assert requests == [StopRequest.DRAIN, StopRequest.NOW, StopRequest.LAUNCHER_GONE]
    assert gone.is_set()
    os.close(read_end)


@pytest.mark.parametrize("end", ["order", "end of the launcher"])
def test_before_anything_runs_an_order_ends_the_process_at_once(end):
    process = subprocess.Popen(
        [sys.executable, "-c", NOT_BEGUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout.readline() == b"started\n"
        if end == "order":
            process.stdin.write(Order.DRAIN.value)
        process.stdin.close()
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
