"""Who leads, by the database and by the holder's own trust deadline."""

import pytest

from mlflow.server.jobs.scheduler_lease import SchedulerLease, new_replica_id

TTL_SECONDS = 15.0


@pytest.fixture
def make_lease(job_store, clock):
    return lambda holder: SchedulerLease(job_store, clock, holder, TTL_SECONDS)


def pass_time(job_store, clock, seconds: float) -> None:
    job_store.clock_offset_ms += int(seconds * 1000)
    clock.advance(seconds)


def test_one_of_two_replicas_leads(make_lease):
    first, second = make_lease("a"), make_lease("b")
    term = first.acquire()
    assert term.holder == "a"
    assert second.acquire() is None
    assert first.term == term
    assert second.term is None


def test_a_renewed_lease_is_one_term(job_store, clock, make_lease):
    lease = make_lease("a")
    term = lease.acquire()
    for _ in range(5):
        pass_time(job_store, clock, TTL_SECONDS / 3)
        assert lease.renew() == term
    assert lease.term == term
    assert make_lease("b").acquire() is None


def test_another_leads_within_one_lease_after_the_leader_died(job_store, clock, make_lease):
    first, second = make_lease("a"), make_lease("b")
    dead = first.acquire()
    pass_time(job_store, clock, TTL_SECONDS - 1)
    assert second.acquire() is None
    pass_time(job_store, clock, 2)
    term = second.acquire()
    assert term.holder == "b"
    assert term.fence > dead.fence


def test_a_resigned_lease_is_free_at_once(make_lease):
    first, second = make_lease("a"), make_lease("b")
    first.acquire()
    first.release()
    assert first.term is None
    assert second.acquire().holder == "b"


def test_a_leader_steps_down_by_its_own_clock_before_the_lease_ends(clock, make_lease):
    lease = make_lease("a")
    lease.acquire()
    clock.advance(TTL_SECONDS * 0.8)
    assert lease.term is not None
    clock.advance(TTL_SECONDS * 0.1)
    assert lease.term is None
    assert lease.renew() is None


def test_the_time_that_the_answer_took_is_not_trusted(job_store, clock, make_lease, monkeypatch):
    acquire = job_store.acquire_scheduler_lease

    def slow(*args):
        term = acquire(*args)
        clock.advance(TTL_SECONDS)
        return term

    monkeypatch.setattr(job_store, "acquire_scheduler_lease", slow)
    assert make_lease("a").acquire() is None


def test_a_refused_renewal_ends_the_term(job_store, make_lease):
    first, second = make_lease("a"), make_lease("b")
    first.acquire()
    job_store.clock_offset_ms += int((TTL_SECONDS + 1) * 1000)
    second.acquire()
    assert first.renew() is None
    assert first.term is None


def test_a_resignation_of_a_paused_leader_leaves_the_next_leader_alone(job_store, make_lease):
    first, second, third = (make_lease(holder) for holder in "abc")
    first.acquire()
    job_store.clock_offset_ms += int((TTL_SECONDS + 1) * 1000)
    second.acquire()
    first.release()
    assert third.acquire() is None


def test_two_processes_on_one_host_are_two_replicas():
    assert new_replica_id() != new_replica_id()
