"""What a runner knows of its own jobs: their slots are counted, their lost claims found."""

import pytest

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.owned_jobs import OwnedJob, OwnedJobs
from mlflow.store.jobs.values import Claim
from tests.server.jobs.fakes import ScriptedExecutor


class CountedJob(OwnedJob):
    """Notes each look at it."""

    def __init__(self, job_id: str, fence: int = 1, name: str = "sample") -> None:
        self.looks = 0
        super().__init__(Claim(job_id, fence), name, ScriptedExecutor(), 0.0)

    @property
    def claim(self) -> Claim:
        self.looks += 1
        return self._claim

    @claim.setter
    def claim(self, claim: Claim) -> None:
        self._claim = claim

    @property
    def takes_slot(self) -> bool:
        self.looks += 1
        return self._takes_slot

    @takes_slot.setter
    def takes_slot(self, takes: bool) -> None:
        self._takes_slot = takes


@pytest.fixture
def owned():
    return OwnedJobs(Clock())


def test_a_slot_is_given_back_once_whether_by_its_result_or_by_its_end(owned):
    first, second, other = CountedJob("1"), CountedJob("2"), CountedJob("3", name="other")
    owned.add(first, second, other)
    assert owned.running_by_name() == {"sample": 2, "other": 1}
    owned.free_slots([first.claim, first.claim])
    assert owned.running_by_name() == {"sample": 1, "other": 1}
    owned.remove(first.claim)
    owned.remove(first.claim)
    assert owned.running_by_name() == {"sample": 1, "other": 1}
    owned.remove(second.claim)
    assert owned.running_by_name()["sample"] == 0


def test_slots_of_jobs_that_are_about_to_end_are_not_counted_and_stay_taken(owned):
    first, second = CountedJob("1"), CountedJob("2")
    owned.add(first, second)
    gone = Claim("gone", 1)
    assert owned.running_by_name(without={first.claim, gone}) == {"sample": 1}
    assert owned.running_by_name() == {"sample": 2}
    owned.free_slots([first.claim])
    assert owned.running_by_name(without={first.claim}) == {"sample": 1}


def test_earlier_claims_are_those_of_the_same_job_whose_work_is_not_gone(owned):
    lost, later, other = CountedJob("1", fence=1), CountedJob("1", fence=2), CountedJob("2")
    owned.add(lost, other)
    owned.add(later)
    assert owned.earlier_claims(later.claim) == [lost]
    assert owned.earlier_claims(lost.claim) == []
    owned.remove(lost.claim)
    assert lost.gone.is_set()
    assert owned.earlier_claims(later.claim) == []
    assert owned.get(later.claim) is later


def test_what_a_job_costs_does_not_grow_with_the_jobs_beside_it(owned):
    beside = [CountedJob(str(number)) for number in range(1000)]
    owned.add(*beside)
    for job in beside:
        job.looks = 0
    job = CountedJob("another")
    owned.add(job)
    assert owned.earlier_claims(job.claim) == []
    assert owned.running_by_name(without={job.claim}) == {"sample": 1000}
    owned.free_slots([job.claim])
    owned.remove(job.claim)
    assert sum(each.looks for each in beside) == 0
