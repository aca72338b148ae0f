"""I3: an operator learns of jobs that wait for a backend which nobody has."""

import logging

import pytest

from mlflow.server.jobs.unserved_backends import UnservedBackends
from tests.server.jobs.fakes import LEASE_SECONDS, pass_lease


@pytest.fixture
def unserved(job_store, clock):
    return UnservedBackends(job_store, {None, "local"}, clock)


@pytest.fixture
def warnings(caplog):
    with caplog.at_level(logging.WARNING, "mlflow.server.jobs.unserved_backends"):
        yield lambda: [record.getMessage() for record in caplog.records]


def test_each_backend_is_reported_once_with_how_many_jobs_wait(
    unserved, make_pending, clock, warnings
):
    for backend in (None, "local", "ray:b", "ray:a", "ray:b"):
        make_pending(executor_backend=backend)
    for _ in range(3):
        unserved.report()
        clock.advance(61)
    assert [message.split(" wait for the executor backend ")[0] for message in warnings()] == [
        "1 jobs",
        "2 jobs",
    ]
    assert "'ray:a'" in warnings()[0]
    assert "'ray:b'" in warnings()[1]


def test_a_backend_is_reported_again_when_jobs_wait_for_it_again(
    unserved, job_store, make_pending, clock, warnings
):
    for _ in range(2):
        job_id = make_pending(executor_backend="ray")
        unserved.report()
        job_store.cancel_job(job_id)
        clock.advance(61)
        unserved.report()
        clock.advance(61)
    assert len(warnings()) == 2


def test_a_backend_that_another_replica_serves_is_not_reported(
    unserved, job_store, make_pending, clock, warnings
):
    make_pending(executor_backend="ray")
    batch = job_store.claim_batch("b", {"ray"}, {"sample": 1}, LEASE_SECONDS, lambda *_: None)
    assert batch.claimed
    make_pending(executor_backend="ray")
    unserved.report()
    assert warnings() == []
    pass_lease(job_store)
    clock.advance(61)
    unserved.report()
    assert len(warnings()) == 1


def test_the_look_is_taken_once_a_minute(unserved, job_store, make_pending, clock, monkeypatch):
    looks = []
    waiting_backends = job_store.waiting_backends
    monkeypatch.setattr(
        job_store, "waiting_backends", lambda: looks.append(1) or waiting_backends()
    )
    make_pending(executor_backend="local")
    for _ in range(120):
        unserved.report()
        clock.advance(1)
    assert len(looks) == 2


def test_a_great_many_are_counted_to_a_limit(job_store, make_pending):
    for _ in range(3):
        make_pending(executor_backend="ray")
    assert job_store.count_waiting("ray", limit=3) == (3, False)
    assert job_store.count_waiting("ray", limit=4) == (3, True)
    assert job_store.count_waiting("other", limit=4) == (0, True)
