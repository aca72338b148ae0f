"""The store does what the reference does, whatever several runners, leaders and users try.

Nothing is forgotten: every claim, term and recovery candidate that was ever given out may be used
at any later step, as a process does that was paused meanwhile. Beside the comparison, I1, I2, I4
and I5 are checked on the rows alone, so that an error that both share is found too.

`JOBS_MODEL_EXAMPLES` asks for so many runs, each time other ones, instead of the few fixed ones.
"""

import json
import os
from dataclasses import dataclass

import sqlalchemy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.store.jobs import tables
from mlflow.store.jobs.transitions import (
    FAILED,
    NEEDS_RECOVERY,
    SUCCEEDED,
    TERMINAL,
    TIMEOUT,
    UNFINISHED,
)
from mlflow.store.jobs.values import CheckpointMove, Claim, RecoveryCandidate
from tests.store.jobs.model.reference import APPLIED, SUSPECT, Reference
from tests.store.jobs.store_factories import empty

EXAMPLES = int(os.environ.get("JOBS_MODEL_EXAMPLES", "0"))
FIXED_EXAMPLES = 80
STEPS = 60

# Every duration ends half-way between two ticks: far from what the test itself takes.
TICK = 1000.0
LEASE = 2.5 * TICK
TERM = 3.5 * TICK
RETRY_DELAY = 0.5 * TICK
TIMEOUTS = [None, 4000.0]  # 115% are 4.6 ticks.

TAG = "mlflow.latestOnlineScoring.trace.checkpoint"
PLENTY = {"job": 4, "other": 4}
BACKENDS = {"a": (None, "local"), "b": (None, "local", "ray"), "c": (None, "ray")}

COMPARED = (
    tables.jobs,
    tables.job_locks,
    tables.scheduler_leases,
    tables.job_periodic_runs,
    tables.experiment_tags,
)
LEADS = ["acquire", "renew", "release"]

texts = st.sampled_from(["1", "2"])
submissions = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["job", "other"]),
        "key": st.sampled_from([None, None, None, "k1", "k2"]),
        "by_stock": st.booleans(),
        "timeout": st.sampled_from(TIMEOUTS),
        "backend": st.sampled_from([None, "local", "ray"]),
    }
)


@dataclass
class Work:
    """What a runner does for a claim; instants in milliseconds."""

    lock_key: str | None
    overruns_at: float
    trusted_until: int


class StoreAndReference(RuleBasedStateMachine):
    """Each rule makes both do the same, and compares what they answer."""

    claims = Bundle("claims")
    terms = Bundle("terms")

    # None stands for the term of the moment's leader.
    any_term = st.none() | terms

    def __init__(self, store):
        super().__init__()
        empty(store)
        self.store = store
        self.reference = Reference()
        self.began_ms = store.now_ms()
        self.work: dict[Claim, Work] = {}
        self.candidates: list[RecoveryCandidate] = []
        self.seen_rows = {}
        self.seen_checkpoint = 0

    @initialize(target=terms)
    def a_leader_was_paused(self):
        term = self._acquire("a")
        self._advance(ms(4 * TICK))
        return term

    @initialize(
        target=claims,
        new=st.lists(submissions, min_size=2, max_size=4),
        verb=st.sampled_from(["requeue", "reattach", None]),
    )
    def a_runner_was_paused(self, new, verb):
        paused = self._claim(new, "a", PLENTY)
        return multiple(*paused, *self._sweep(None, 3, verb, 2), *self._claim([], "b", PLENTY))

    @precondition(lambda self: self.reference.jobs)
    @rule(data=st.data(), is_late=st.booleans())
    def cancel(self, data, is_late):
        rows = self.reference.jobs.values()
        unfinished = [row.id for row in rows if row.status in UNFINISHED]
        ids = [row.id for row in rows] if is_late or not unfinished else unfinished
        job_id = data.draw(st.sampled_from(ids))
        self._same(
            lambda: bool(self.store.cancel_job(job_id)) and APPLIED,
            lambda: self.reference.cancel(job_id),
        )

    @rule(
        target=claims,
        after_ticks=st.sampled_from([0, 0, 1, 3]),
        new=st.lists(submissions, max_size=2),
        replica=st.sampled_from(sorted(BACKENDS)),
        capacity=st.fixed_dictionaries({"job": st.integers(1, 3), "other": st.integers(0, 1)}),
    )
    def claim(self, after_ticks, new, replica, capacity):
        self._advance(ms(after_ticks * TICK))
        return multiple(*self._claim(new, replica, capacity))

    def _claim(self, new, replica, capacity) -> list[Claim]:
        for each in new:
            self._create(None, **each)
        return self._claim_by("claim_batch", "claim", replica, capacity)

    @rule(
        target=claims,
        replica=st.sampled_from(sorted(BACKENDS)),
        names=st.sets(st.sampled_from(["job", "other"]), min_size=1),
    )
    def claim_suspect(self, replica, names):
        claimed = self._claim_by("claim_suspect", "claim_suspect", replica, names)
        # I11: no two at once.
        assert len(claimed) <= 1
        return multiple(*claimed)

    def _claim_by(self, in_store, in_reference, replica, which) -> list[Claim]:
        backends = BACKENDS[replica]
        batch = getattr(self.store, in_store)(replica, backends, which, LEASE, key_of_stock)
        claimed = [job.claim for job in batch.claimed]
        expected = getattr(self.reference, in_reference)(replica, backends, which, ms(LEASE))
        assert (claimed, batch.canceled) == expected
        for job in batch.claimed:
            overruns_at = self._now + ms(1.15 * (job.timeout or 3600))
            self.work[job.claim] = Work(job.lock_key, overruns_at, self._now + ms(LEASE))
        return claimed

    @rule(owned=st.lists(claims, min_size=1, max_size=3, unique=True))
    def renew(self, owned):
        lost = self._same(
            lambda: self.store.renew(owned, LEASE), lambda: self.reference.renew(owned, ms(LEASE))
        )
        assert self.store.not_running(owned).keys() == lost
        for claim in owned:
            if claim in lost:
                self.work.pop(claim, None)
            elif claim in self.work:
                self.work[claim].trusted_until = self._now + ms(LEASE)

    @rule(claim=claims, result=texts, checkpoint=st.integers(0, 9))
    def succeed(self, claim, result, checkpoint):
        move = CheckpointMove("7", TAG, {"timestamp_ms": checkpoint, "trace_id": "tr"})
        self._end(
            claim,
            lambda: self.store.succeed(claim, result, move if checkpoint else None),
            lambda: self.reference.finish(claim, SUCCEEDED, result, checkpoint),
        )

    @rule(claim=claims, error=texts, status=st.sampled_from([FAILED, TIMEOUT]))
    def fail(self, claim, error, status):
        verb = self.store.fail if status is FAILED else self.store.time_out
        self._end(
            claim, lambda: verb(claim, error), lambda: self.reference.finish(claim, status, error)
        )

    @rule(claim=claims, error=texts, delay=st.sampled_from([0, RETRY_DELAY]))
    def retry(self, claim, error, delay):
        self._end(
            claim,
            lambda: self.store.retry(claim, error, delay),
            lambda: self.reference.retry(claim, error, ms(delay)),
        )

    @rule(claim=claims, is_canceled=st.booleans(), lost=st.booleans())
    def stop(self, claim, is_canceled, lost):
        if is_canceled:
            in_store, in_reference = self.store.confirm_canceled, self.reference.confirm_canceled
            self._end(claim, lambda: in_store(claim), lambda: in_reference(claim))
        else:
            in_store, in_reference = self.store.abandon, self.reference.abandon
            self._end(
                claim, lambda: in_store([claim], lost=lost), lambda: in_reference([claim], lost)
            )

    def _end(self, claim, in_store, in_reference):
        # A runner says how its work ended when it has ended.
        self.work.pop(claim, None)
        self._same(in_store, in_reference)

    @rule(claim=claims, message=texts, is_fenced=st.booleans())
    def report_progress(self, claim, message, is_fenced):
        fence = claim.fence if is_fenced else None
        self._same(
            lambda: self.store.update_job_progress(claim.job_id, message, fence=fence),
            lambda: self.reference.report(claim.job_id, message, fence),
        )

    @rule(target=terms, term=any_term, verb=st.sampled_from(LEADS), replica=st.sampled_from("ab"))
    def lead(self, term, verb, replica):
        store, reference = self.store, self.reference
        if verb == "acquire":
            return self._acquire(replica) or multiple()
        term = self._term(term)
        if verb == "renew":
            self._same(
                lambda: store.renew_scheduler_lease(term, TERM),
                lambda: reference.renew_term(term, ms(TERM)),
            )
        else:
            self._same(lambda: store.release_scheduler_lease(term), lambda: reference.release(term))
        return term

    @rule(term=any_term, new=submissions, due_at_ms=st.integers(1, 5))
    def discover(self, term, new, due_at_ms):
        term = self._term(term)
        self._same(
            lambda: self.store.begin_periodic_run("task", due_at_ms, term),
            lambda: self.reference.begin_run(due_at_ms, term),
        )
        self._create(term, **new)

    @rule(
        target=claims,
        term=any_term,
        after_ticks=st.sampled_from([3, 0]),
        verb=st.sampled_from(["requeue", "requeue crashed", "reattach", "fail", None]),
        max_recoveries=st.integers(0, 2),
    )
    def sweep(self, term, after_ticks, verb, max_recoveries):
        return multiple(*self._sweep(term, after_ticks, verb, max_recoveries))

    def _sweep(self, term, after_ticks, verb, max_recoveries) -> list[Claim]:
        self._advance(ms(after_ticks * TICK))
        term = self._term(term)
        self._same(lambda: self.store.sweep(term), lambda: self.reference.sweep(term))
        found = self.store.recovery_candidates()
        waiting = [row.id for row in self.reference.jobs.values() if row.status is NEEDS_RECOVERY]
        assert sorted(each.job_id for each in found) == sorted(waiting)
        self.candidates += found
        recovered = [self._recover(each, term, verb, max_recoveries) for each in found]
        return [claim for claim in recovered if claim]

    @precondition(lambda self: self.candidates)
    @rule(
        target=claims,
        data=st.data(),
        term=any_term,
        verb=st.sampled_from(["requeue", "requeue crashed", "reattach", "fail"]),
        max_recoveries=st.integers(0, 2),
    )
    def recover(self, data, term, verb, max_recoveries):
        candidate = data.draw(st.sampled_from(self.candidates))
        return self._recover(candidate, self._term(term), verb, max_recoveries) or multiple()

    def _recover(self, candidate, term, verb, max_recoveries) -> Claim | None:
        store, reference = self.store, self.reference
        match verb:
            case None:
                return None
            case "requeue" | "requeue crashed":
                crash = "died" if verb == "requeue crashed" else None
                answers = (
                    lambda: store.requeue(candidate, term, max_recoveries, crash),
                    lambda: reference.requeue(candidate, term, max_recoveries, crash),
                )
            case "reattach":
                answers = (
                    lambda: store.reattach(candidate, "a", LEASE, term),
                    lambda: reference.reattach(candidate, "a", ms(LEASE), term),
                )
            case "fail":
                answers = (
                    lambda: store.fail_recovery(candidate, "1", term),
                    lambda: reference.fail_recovery(candidate, "1", term),
                )
        answer = self._same(*answers)
        if answer is APPLIED:
            # The backend has said that the work is gone.
            self.work.pop(Claim(candidate.job_id, candidate.fence), None)
        if not isinstance(answer, Claim):
            return None
        if work := self.work.pop(Claim(candidate.job_id, candidate.fence), None):
            self.work[answer] = Work(work.lock_key, work.overruns_at, self._now + ms(LEASE))
        return answer

    # What is compared

    @invariant()
    def both_hold_the_same(self):
        reference = self.reference
        rows, locks, leases, runs, tags = self._stored()
        assert {row.id for row in rows} == reference.jobs.keys()
        for row in rows:
            self._is_the_same(row, reference.jobs[row.id])
        assert {lock.lock_key: Claim(lock.job_id, lock.fence) for lock in locks} == {
            key: claim for key, (claim, _) in reference.locks.items()
        }
        assert [(lease.holder, lease.fence) for lease in leases] == (
            [(reference.term.holder, reference.term.fence)] if reference.term.fence else []
        )
        assert sum(run.last_due_at for run in runs) == reference.last_run
        checkpoint = sum(json.loads(tag.value)["timestamp_ms"] for tag in tags)
        assert checkpoint == reference.checkpoint
        self._keeps_the_invariants({row.id: row for row in rows}, checkpoint)
        self._advance(1)

    def _stored(self):
        with self.store.engine.connect() as connection:
            return [connection.execute(sqlalchemy.select(table)).all() for table in COMPARED]

    def _is_the_same(self, row, expected):
        assert JobStatus.from_int(row.status) is expected.status
        assert (row.fence, row.claimed_by) == (expected.fence, expected.owner)
        assert (row.retry_count, row.recovery_count) == (expected.retries, expected.recoveries)
        assert (row.lock_key, row.status_message) == (expected.lock_key, expected.message)
        assert half_ticks(row.lease_expires_at, self.began_ms) == half_ticks(expected.lease)
        assert (row.next_attempt_at == SUSPECT) == (expected.due == SUSPECT)
        if expected.due != SUSPECT:
            assert half_ticks(row.next_attempt_at, self.began_ms) == half_ticks(expected.due)
        assert (row.result is None) == (expected.result is None)
        assert (expected.result or "") in (row.result or "")

    def _keeps_the_invariants(self, rows, checkpoint):
        for id_, before in self.seen_rows.items():
            # I1: a claim that has ended never comes back.
            assert before.fence <= rows[id_].fence
            if JobStatus.from_int(before.status) in TERMINAL:
                # I2
                assert (before.status, before.result) == (rows[id_].status, rows[id_].result)
        self.seen_rows = rows
        # I4: whoever works under a key, trusts its lease and is not past its time, is alone.
        keys = [
            work.lock_key
            for work in self.work.values()
            if work.lock_key and self._now < min(work.trusted_until, work.overruns_at)
        ]
        assert len(keys) == len(set(keys))
        # I5
        assert self.seen_checkpoint <= checkpoint
        self.seen_checkpoint = checkpoint

    def _create(self, term, name, key, by_stock, timeout, backend):
        # No two jobs are created at one instant, so that it is always known which is older.
        self._advance(1)
        id_ = f"job-{self._now:09}"
        params = {"key": key}
        stored = {"timeout": timeout, "lock_key": None if by_stock else key}

        def in_store():
            job = self.store.create_job(
                name, json.dumps(params), executor_backend=backend, term=term, job_id=id_, **stored
            )
            return job and job.job_id

        return self._same(
            in_store,
            lambda: self.reference.create(
                term, id=id_, name=name, params=params, backend=backend, **stored
            ),
        )

    def _acquire(self, holder):
        return self._same(
            lambda: self.store.acquire_scheduler_lease("scheduler", holder, TERM),
            lambda: self.reference.acquire(holder, ms(TERM)),
        )

    def _term(self, given):
        return given or self._acquire("a") or self.reference.term

    def _same(self, in_store, in_reference):
        try:
            answer = in_store()
        except MlflowException as error:
            answer = type(error)
        assert answer == in_reference()
        return answer

    @property
    def _now(self) -> int:
        return self.store.clock_offset_ms

    def _advance(self, by_ms: int) -> None:
        self.store.clock_offset_ms += by_ms
        self.reference.now += by_ms


def ms(seconds: float) -> int:
    return int(seconds * 1000)


def half_ticks(instant_ms: int | None, began_ms: int = 0) -> int | None:
    return None if instant_ms is None else (instant_ms - began_ms) // ms(TICK / 2)


def key_of_stock(job_name, params, workspace) -> str | None:
    return params["key"]


def test_the_store_does_what_the_reference_does(store):
    with store.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM experiments WHERE experiment_id = 7")
        connection.exec_driver_sql(
            "INSERT INTO experiments (experiment_id, name, lifecycle_stage, workspace)"
            " VALUES (7, 'scored', 'active', 'default')"
        )
    run_state_machine_as_test(
        lambda: StoreAndReference(store),
        settings=settings(
            max_examples=EXAMPLES or FIXED_EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
