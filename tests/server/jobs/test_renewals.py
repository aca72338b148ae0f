"""One renewal covers all owned jobs, and says which are owned no more."""

import pytest

from mlflow.server.jobs.owned_jobs import End, OwnedJob, OwnedJobs
from mlflow.server.jobs.renewals import Renewals
from mlflow.store.jobs.errors import JobStoreUnavailable
from tests.server.jobs.fakes import LEASE_SECONDS, ScriptedExecutor, pass_lease, take_over


@pytest.fixture
def owned(clock):
    return OwnedJobs(clock)


@pytest.fixture
def own(owned):
    def own(job) -> OwnedJob:
        owned.add(OwnedJob(job.claim, job.job_name, ScriptedExecutor(), trust_until=0.0))
        return owned.get(job.claim)

    return own


@pytest.fixture
def not_renewed():
    return []


@pytest.fixture
def renewals(job_store, owned, clock, not_renewed):
    return Renewals(job_store, owned, clock, LEASE_SECONDS, not_renewed.extend)


def test_a_renewed_job_is_not_swept_when_its_first_lease_would_have_ended(
    job_store, claim_one, own, renewals, term
):
    own(claim_one())
    pass_lease(job_store, LEASE_SECONDS - 1)
    renewals.beat()
    pass_lease(job_store, 2)
    assert job_store.sweep(term) == 0


def test_trust_counts_from_before_the_renewal_was_sent(
    job_store, claim_one, own, renewals, clock, monkeypatch
):
    job = own(claim_one())
    renew, asked_at = job_store.renew, clock.monotonic()

    def slow(*args):
        clock.advance(20)
        return renew(*args)

    monkeypatch.setattr(job_store, "renew", slow)
    pause = renewals.beat()
    assert asked_at < job.trust_until < asked_at + LEASE_SECONDS
    assert pause == 0


def test_a_claim_that_was_taken_over_is_reported_and_trusted_no_longer(
    job_store, claim_one, own, renewals, not_renewed, term
):
    lost, kept = claim_one("lost"), claim_one("kept")
    lost_job, kept_job = own(lost), own(kept)
    job_store.renew([kept.claim], 10_000)
    take_over(job_store, lost.claim, term)
    renewals.beat()
    assert not_renewed == [lost.claim]
    assert lost_job.trust_until == 0.0
    assert kept_job.trust_until > 0.0


def test_lost_and_canceled_claims_are_not_renewed(job_store, claim_one, own, renewals, term):
    own(claim_one()).stop(End.LOST)
    pass_lease(job_store, LEASE_SECONDS - 1)
    renewals.beat()
    pass_lease(job_store, 2)
    assert job_store.sweep(term) == 1


def test_without_running_jobs_no_statement_is_sent(job_store, renewals, monkeypatch):
    def refuse(*_):
        raise AssertionError("a statement was sent")

    monkeypatch.setattr(job_store, "renew", refuse)
    assert renewals.beat() == pytest.approx(LEASE_SECONDS / 3)


def test_a_renewal_that_failed_prolongs_no_trust(job_store, claim_one, own, renewals, monkeypatch):
    job = own(claim_one())

    def fail(*_):
        raise JobStoreUnavailable("away")

    monkeypatch.setattr(job_store, "renew", fail)
    with pytest.raises(JobStoreUnavailable):
        renewals.beat()
    assert job.trust_until == 0.0
