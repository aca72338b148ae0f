"""Requests to stop come out in the order in which they were made."""

import os
import signal

import pytest

from mlflow.server.jobs.stop_requests import StopRequest, StopRequests


@pytest.fixture
def restored_signals():
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_signals_become_requests(restored_signals):
    stops = StopRequests()
    stops.catch_signals()
    os.kill(os.getpid(), signal.SIGINT)
    assert stops.get(0) is StopRequest.INTERRUPT
    os.kill(os.getpid(), signal.SIGTERM)
    assert stops.get(0) is StopRequest.TERMINATE
    assert stops.get(0) is None


def test_a_flood_of_requests_blocks_nobody():
    stops = StopRequests()
    for _ in range(100_000):
        stops.put(StopRequest.TERMINATE)
    assert stops.get(0) is StopRequest.TERMINATE
