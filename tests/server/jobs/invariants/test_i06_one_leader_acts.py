"""I6: a leader that was paused past its lease creates and recovers nothing when it wakes."""

from mlflow.server.jobs.periodic import Every, PeriodicTask, PeriodicTasks
from mlflow.server.jobs.scheduler_lease import SchedulerLease

TTL_SECONDS = 15.0


def test_a_discovery_that_was_paused_past_its_term_creates_no_row(job_store, clock):
    paused = []
    leader = SchedulerLease(job_store, clock, "a", TTL_SECONDS)

    def discover(term):
        job_store.create_job("sample", "{}", term=term)

    tasks = PeriodicTasks(
        job_store,
        clock,
        [PeriodicTask("discovery", Every(60), discover)],
        start=lambda name, run: paused.append(run),
    )
    assert tasks.begin_due(leader.acquire()) == ["discovery"]
    job_store.clock_offset_ms += int((TTL_SECONDS + 1) * 1000)
    successor = SchedulerLease(job_store, clock, "b", TTL_SECONDS).acquire()
    paused.pop()()
    assert [*job_store.list_jobs()] == []
    discover(successor)
    assert len([*job_store.list_jobs()]) == 1


def test_of_many_that_want_to_lead_one_does(job_store, clock):
    leases = [SchedulerLease(job_store, clock, f"r{n}", TTL_SECONDS) for n in range(5)]
    for _ in range(3):
        terms = [term for lease in leases if (term := lease.acquire())]
        assert len(terms) == 1
        job_store.clock_offset_ms += int((TTL_SECONDS + 1) * 1000)
        clock.advance(TTL_SECONDS + 1)
