"""The guards that keep the invariants, each with what is left when it is taken away.

A text to be replaced stands exactly once in its module. `test` has to go red without the guard.
"""

from dataclasses import dataclass

_STORE = "mlflow.store.jobs."
_RUNNER = "mlflow.server.jobs."
_OF_STORE = "tests/store/jobs/"
_OF_RUNNER = "tests/server/jobs/"
_OF_INVARIANT = {
    "I1": _OF_STORE + "invariants/test_i01_one_owner.py",
    "I2": _OF_STORE + "invariants/test_i02_one_terminal_transition.py",
    "I3": _OF_STORE + "invariants/test_i03_no_lost_job.py",
    "I4": _OF_STORE + "invariants/test_i04_exclusivity.py",
    "I5": _OF_STORE + "invariants/test_i05_checkpoint.py",
    "I6": _OF_STORE + "invariants/test_i06_one_leader_acts.py",
    "I7": _OF_STORE + "invariants/test_i07_database_time.py",
    "I9": _OF_RUNNER + "invariants/test_i09_wakeups_are_hints.py",
    "I10": _OF_STORE + "invariants/test_i10_cost.py",
    "I11": _OF_STORE + "invariants/test_i11_set_aside.py",
}


@dataclass(frozen=True)
class Mutant:
    """One guard removed."""

    invariant: str
    guard: str
    module: str
    removals: tuple[tuple[str, str], ...]
    test: str


def _mutant(invariant, guard, module, old, new="", *more, test=None) -> Mutant:
    removals = ((old, new), *zip(more[::2], more[1::2], strict=True))
    return Mutant(invariant, guard, module, removals, test or _OF_INVARIANT[invariant])


def _store(invariant, guard, module, old, new="", *more, test=None) -> Mutant:
    test = test and _OF_STORE + test
    return _mutant(invariant, guard, _STORE + module, old, new, *more, test=test)


def _runner(invariant, guard, module, old, new="", *more, test=None) -> Mutant:
    test = test and _OF_RUNNER + test
    return _mutant(invariant, guard, _RUNNER + module, old, new, *more, test=test)


_TERM_OF = "        lease_rows.holds(term, now),\n"

MUTANTS = [
    _store(
        "I1",
        "an owner's write names the fence",
        "statements",
        "and_(jobs.c.id == each.job_id, jobs.c.fence == each.fence)",
        "and_(jobs.c.id == each.job_id)",
    ),
    _store(
        "I1",
        "a group succeeds as a whole or not at all",
        "sqlalchemy_store",
        "rowcount != count:",
        "rowcount < 0:",
        test="test_successes.py",
    ),
    _runner(
        "I5",
        "a success with a checkpoint is not written without it",
        "lifecycle",
        " or checkpoint_move(job) or ",
        " or ",
        test="test_lifecycle.py",
    ),
    _store(
        "I1",
        "a claim raises the fence",
        "statements",
        "        which,\n        fence=jobs.c.fence + 1,\n",
        "        which,\n",
    ),
    _store(
        "I1",
        "a reattachment raises the fence",
        "statements",
        _TERM_OF + "        fence=jobs.c.fence + 1,\n",
        _TERM_OF,
    ),
    _store(
        "I1",
        "progress names the fence",
        "sqlalchemy_store",
        "            if fence is not None and row.fence != fence:\n",
        "            if False:\n",
        "under = [] if fence is None else [jobs.c.fence == fence]",
        "under = []",
    ),
    _runner(
        "I1",
        "who has lost its claim writes nothing",
        "lifecycle",
        "while owned.end is not End.LOST:",
        "while True:",
        test="test_lifecycle.py",
    ),
    _runner(
        "I1",
        "work whose claim is lost is stopped",
        "renewals",
        "            if lost:\n",
        "            if False:\n",
        test="test_renewals.py",
    ),
    _store(
        "I2",
        "a transition names the states that it leaves",
        "statements",
        ".where(in_states(leaves or transition.leaves), *guards)",
        ".where(*guards)",
    ),
    _store(
        "I2",
        "a cancellation leaves unfinished states only",
        "transitions",
        "UNFINISHED = frozenset({PENDING, RUNNING, NEEDS_RECOVERY})",
        "UNFINISHED = frozenset({PENDING, RUNNING, NEEDS_RECOVERY, SUCCEEDED})",
    ),
    _store(
        "I3",
        "a lease that has run out is stale",
        "statements",
        "        jobs.c.lease_expires_at < now,\n        jobs.c.started_at",
        "        jobs.c.started_at",
    ),
    _store(
        "I3",
        "retries are claimed among new jobs",
        "claims",
        ".where(*served, jobs.c.next_attempt_at <= now)",
        ".where(*served, jobs.c.next_attempt_at < 0)",
    ),
    _store(
        "I3",
        "a row that cannot be read fails alone",
        "claims",
        "    connection.execute(statements.fail(claim, problem, now))\n",
    ),
    _runner(
        "I3",
        "the leader sweeps",
        "sweep",
        "store.sweep(",
        "(lambda *term: 0)(",
        test="invariants/test_i03_no_lost_job.py",
    ),
    _store(
        "I4",
        "only a stale lock is taken over",
        "lock_rows",
        "or_(_locks.job_id == claim.job_id, ~_live(now, default_timeout_seconds)),",
        "",
    ),
    _store(
        "I4",
        "a canceled job's lock waits for its lease",
        "lock_rows",
        "                and_(holder.c.status == canceled, holder.c.lease_expires_at >= now),\n",
    ),
    _store(
        "I4",
        "a cancellation leaves the lock of live work",
        "lock_rows",
        "delete(job_locks).where(_locks.job_id == job_id, ~owned)",
        "delete(job_locks).where(_locks.job_id == job_id)",
    ),
    _store(
        "I4",
        "who loses its lock by overrun is ended",
        "lock_rows",
        "        _end_overrun(connection, held.job_id, held.fence, lock_key, claim, now)\n",
        "        pass\n",
    ),
    _store(
        "I4",
        "a reattached job keeps its lock",
        "lock_rows",
        ".values(fence=fence))",
        ".values(fence=fence - 1))",
    ),
    _store(
        "I4",
        "a row goes when its work has gone",
        "statements",
        "in_states(transitions.TERMINAL),\n        or_(jobs.c.lease_expires_at.is_(None), jobs",
        "in_states(transitions.TERMINAL),\n        or_(jobs.c.id.is_not(None), jobs",
        test="test_retention.py",
    ),
    _runner(
        "I4",
        "work without a trusted lease is killed",
        "self_fencing",
        "if now >= job.trust_until and",
        "if False and",
        test="test_self_fencing.py",
    ),
    _runner(
        "I4",
        "a lease is trusted for less than it lasts",
        "trust",
        "_MARGIN_SHARE = 1 / 6",
        "_MARGIN_SHARE = 0",
        test="test_trust.py",
    ),
    _store(
        "I5",
        "a checkpoint never moves backwards",
        "checkpoints",
        "    if not _is_before(stored.value, checkpoint.value):\n        return\n",
    ),
    _store(
        "I5",
        "the checkpoint moves with the success",
        "sqlalchemy_store",
        "            also(connection)\n",
    ),
    _store(
        "I5",
        "the checkpoint moves with a success that happened",
        "sqlalchemy_store",
        "            if connection.execute(statement).rowcount == 0:\n"
        "                return _refused(connection, claim, outcome)\n"
        "            lock_rows.release(connection, claim)\n"
        "            also(connection)\n",
        "            also(connection)\n"
        "            if connection.execute(statement).rowcount == 0:\n"
        "                return _refused(connection, claim, outcome)\n"
        "            lock_rows.release(connection, claim)\n",
    ),
    _store(
        "I6",
        "a term ends with its time",
        "lease_rows",
        "and_(_named(term), _runs_out > now)",
        "_named(term)",
    ),
    _store(
        "I6",
        "a term ends with its successor",
        "lease_rows",
        "and_(_named(term), _runs_out > now)",
        "and_(_leases.lease_key == term.lease_key, _runs_out > now)",
    ),
    _store(
        "I6",
        "discovery creates under its term",
        "statements",
        ".select_from(scheduler_leases).where(lease_rows.held(term, now))",
        ".select_from(scheduler_leases)",
    ),
    _store(
        "I6",
        "a sweep names its term",
        "statements",
        "stale(now), lease_rows.holds(term, now)\n",
        "stale(now)\n",
    ),
    _store(
        "I6",
        "a reattachment names its term",
        "statements",
        _TERM_OF + "        fence=",
        "        fence=",
    ),
    _store(
        "I6",
        "a requeue names its term",
        "statements",
        _TERM_OF + "        recovery_count=",
        "        recovery_count=",
    ),
    _store(
        "I6",
        "a failed recovery names its term",
        "statements",
        _TERM_OF + "        result=error,",
        "        result=error,",
    ),
    _store(
        "I6",
        "a periodic run names its term",
        "periodic_runs",
        "        .where(lease_rows.held(term, now)),\n",
        "",
    ),
    _store(
        "I6",
        "retention names its term",
        "sqlalchemy_store",
        "            if not _holds(connection, term, self._now):\n",
        "            if False:\n",
    ),
    _runner(
        "I6",
        "a leader steps down by its own deadline",
        "scheduler_lease",
        "self._term is not None and self._clock.monotonic() >= self._trust_until",
        "False",
        test="test_scheduler_lease.py",
    ),
    _store(
        "I7",
        "the store's time is the database's",
        "sqlalchemy_store",
        "return dialects.now_ms(self.clock_offset_ms)",
        'return sqlalchemy.literal(int(__import__("time").time() * 1000) + self.clock_offset_ms)',
    ),
    _runner(
        "I9",
        "a runner looks for jobs unasked",
        "claimer",
        "return 0.0 if progressed else self._pause()",
        "return 0.0 if progressed else None",
    ),
    _store(
        "I10",
        "one renewal covers all claims",
        "sqlalchemy_store",
        "_CLAIMS_PER_STATEMENT = 200",
        "_CLAIMS_PER_STATEMENT = 1",
    ),
    _store(
        "I10",
        "an idle claim ends with its first statement",
        "claims",
        "    canceled = set()\n",
        "    connection.execute(select(jobs.c.id).limit(1))\n    canceled = set()\n",
    ),
    _store(
        "I11",
        "recoveries are bounded",
        "statements",
        "        jobs.c.recovery_count < max_recoveries,\n",
    ),
    _store(
        "I11",
        "crashes are counted apart from failures",
        "statements",
        "recovery_count=jobs.c.recovery_count + 1",
        "retry_count=jobs.c.retry_count + 1",
    ),
]
