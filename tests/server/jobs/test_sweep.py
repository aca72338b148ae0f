"""The leader marks what is stale, and nothing else."""

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.server.jobs.sweep import Sweep
from mlflow.store.jobs.values import Term
from tests.server.jobs.fakes import pass_lease


@pytest.fixture
def sweep(job_store):
    return Sweep(job_store)


def test_a_job_whose_lease_ran_out_is_left_to_recovery(job_store, claim_one, sweep, term):
    job = claim_one()
    assert sweep.run(term) == 0
    pass_lease(job_store)
    assert sweep.run(term) == 1
    assert job_store.get_job(job.claim.job_id).status is JobStatus.NEEDS_RECOVERY


def test_a_job_far_past_its_timeout_is_left_to_recovery_though_its_lease_is_live(
    job_store, claim_one, sweep, term
):
    job = claim_one(timeout=100.0)
    job_store.renew([job.claim], 10_000)
    pass_lease(job_store, 114)
    assert sweep.run(term) == 0
    pass_lease(job_store, 2)
    assert sweep.run(term) == 1


def test_an_ex_leader_sweeps_nothing(job_store, claim_one, sweep, term):
    claim_one()
    pass_lease(job_store)
    assert sweep.run(Term(term.lease_key, term.holder, term.fence - 1)) == 0
