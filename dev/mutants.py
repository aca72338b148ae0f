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
    "I8": _OF_STORE + "invariants/test_i08_job_token.py",
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
        "owner_verbs",
        "rowcount != count:",
        "rowcount < 0:",
        test="test_successes.py",
    ),
    _runner(
        "I5",
        "a success with a checkpoint is not written without it",
        "lifecycle",
        "if checkpoint_move(job.job_name, job.params):",
        "if False:",
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
        "report_verbs",
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
        "if self._clock.monotonic() >= job.trust_until and",
        "if False and",
        test="test_self_fencing.py",
    ),
    _runner(
        "I4",
        "the watchdog hears of a job before its work begins",
        "self_fencing",
        "owned.call_after_add(self.fence)",
        "pass",
        test="test_self_fencing.py",
    ),
    _runner(
        "I4",
        "a runner without a sign of life is killed",
        "watchdog",
        "elif _now() >= instant:",
        "elif instant < 0:",
        test="test_watchdog.py",
    ),
    _runner(
        "I4",
        "a job's descendants in other sessions end with it",
        "local.process_group",
        "if not self._family.end():",
        "if False:",
        test="local/test_process_group.py",
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
        "sql_store",
        "            also(connection)\n",
    ),
    _store(
        "I5",
        "the checkpoint moves with a success that happened",
        "sql_store",
        "            if connection.execute(statement).rowcount == 0:\n"
        "                return refused(connection, owner, outcome)\n"
        "            _release_locks(connection, owner)\n"
        "            also(connection)\n",
        "            also(connection)\n"
        "            if connection.execute(statement).rowcount == 0:\n"
        "                return refused(connection, owner, outcome)\n"
        "            _release_locks(connection, owner)\n",
    ),
    _store(
        "I5",
        "a first checkpoint takes the place of what was read only",
        "checkpoints",
        "        same if text else or_(same, _tags.value.is_(None)),\n",
        test="test_scored_experiments.py",
    ),
    _runner(
        "I5",
        "a checkpoint stays behind the group that looked least far",
        "discovery.batches",
        "reaches = min((look",
        "reaches = max((look",
        test="discovery/test_batches.py",
    ),
    _store(
        "I6",
        "a first checkpoint names its term",
        "checkpoints",
        "            lease_rows.held(term, now),\n",
        test="test_scored_experiments.py",
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
        _TERM_OF + "        crashed_at=now,",
        "        crashed_at=now,",
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
        "a requeue after a crash names its term",
        "statements",
        _TERM_OF + "        recovery_count=",
        "        recovery_count=",
    ),
    _store(
        "I6",
        "a requeue after a hand-over names its term",
        "statements",
        "        jobs.c.crashed_at.is_(None),\n" + _TERM_OF,
        "        jobs.c.crashed_at.is_(None),\n",
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
        "leader_verbs",
        "            if not lease_rows.is_held(connection, term, self._now):\n",
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
        "sql_store",
        "return dialects.now_ms(self.clock_offset_ms)",
        'return sqlalchemy.literal(int(__import__("time").time() * 1000) + self.clock_offset_ms)',
    ),
    _store(
        "I8",
        "remote work names its live token",
        "statements",
        "and_(jobs.c.id == holder.job_id, jobs.c.token_hash == holder.token_hash)",
        "and_(jobs.c.id == holder.job_id)",
    ),
    _store(
        "I8",
        "a token ends with every way back to PENDING",
        "transitions",
        '"lease_expires_at", "token_hash", *_MARK}',
        '"lease_expires_at", *_MARK}',
    ),
    _store(
        "I8",
        "a token opens something while its claim lives",
        "report_verbs",
        "live = status in transitions.OWNED and job_tokens.same_hash(",
        "live = job_tokens.same_hash(",
        "            row.token_hash, holder.token_hash\n        )\n        return TokenJob(",
        "            row.issued_token_hash, holder.token_hash\n        )\n        return TokenJob(",
    ),
    _store(
        "I8",
        "a token is of one job",
        "report_verbs",
        "if row is None or not job_tokens.same_hash(row.issued_token_hash, holder.token_hash):",
        "if row is None:",
    ),
    _runner(
        "I8",
        "a token of an ended claim is not accepted",
        "remote.judge",
        "if not job.live and (route is None or route.live):",
        "if False:",
        test="remote/test_judge.py",
    ),
    _runner(
        "I8",
        "a grant is of one thing",
        "remote.judge",
        "        and each.resource_identifier == identifier\n",
        test="remote/test_judge.py",
    ),
    _runner(
        "I8",
        "to read is not to change",
        "remote.judge",
        "        and _RANKS.get(each.permission, 0) >= _RANKS[permission]\n",
        test="remote/test_judge.py",
    ),
    _runner(
        "I8",
        "a token opens the workspace of its job",
        "remote.judge",
        "    if route.in_workspace and _is_elsewhere(job):\n",
        "    if False:\n",
        test="remote/test_judge.py",
    ),
    _runner(
        "I8",
        "a header that is sent twice proves nothing",
        "remote.token_headers",
        'if len(values) != 1 or not values[0].strip() or "," in values[0]:',
        "if not values:",
        test="remote/test_judge.py",
    ),
    _runner(
        "I8",
        "nobody's job is granted more than its user holds",
        "remote.holders",
        "if not _holds(username, permission):",
        "if False:",
        test="remote/grants/test_holders.py",
    ),
    _runner(
        "I8",
        "a need that cannot be told is refused",
        "remote.permissions",
        "if needs.untold:",
        "if False:",
        test="remote/grants/test_permissions.py",
    ),
    _runner(
        "I8",
        "a model outside the gateway is refused",
        "remote.permissions",
        "if needs.outside_gateway:",
        "if False:",
        test="remote/grants/test_permissions.py",
    ),
    _runner(
        "I9",
        "a runner looks for jobs unasked",
        "claimer",
        "return 0.0 if progressed else self._pause_until_poll()",
        "return 0.0 if progressed else None",
    ),
    _runner(
        "I9",
        "a runner looks for cancellations unasked",
        "cancellation",
        "        return self._pace.cancel_look_seconds\n",
        "        return None\n",
        test="test_cancellation.py",
    ),
    _runner(
        "I3",
        "the leader sweeps when the first lease has run out",
        "scheduler",
        "        if outlook.stale_at_ms is not None:\n",
        "        if False:\n",
        test="test_scheduler.py",
    ),
    _runner(
        "I3",
        "a leader that has swept looks again for what is stale next",
        "scheduler",
        "        self._ask_at = min(self._ask_at, self._swept_at + self._sweep_seconds)\n",
        test="test_scheduler.py",
    ),
    _store(
        "I10",
        "a leader renews and looks at once",
        "statements",
        "    lease_ends = func.min(func.coalesce(jobs.c.lease_expires_at, 0))\n",
        "    lease_ends = func.max(func.coalesce(jobs.c.lease_expires_at, 0))\n",
        test="test_leases.py",
    ),
    _store(
        "I10",
        "one renewal covers all claims",
        "sql_store",
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
        "        recovery_count=jobs.c.recovery_count + 1,\n",
        "        retry_count=jobs.c.retry_count + 1,\n",
    ),
    _store(
        "I11",
        "a hand-over counts as no crash",
        "leader_verbs",
        "handed_over = candidate.crashed_at is None and crash is None",
        "handed_over = False",
    ),
    _store(
        "I11",
        "a claim that ran out counts as a crash",
        "statements",
        _TERM_OF + "        crashed_at=now,\n",
        _TERM_OF,
    ),
    _store(
        "I11",
        "work of an unknown end counts as a crash",
        "statements",
        "change(transitions.ABANDON, now, held_by(claims), crashed_at=now)",
        "change(transitions.ABANDON, now, held_by(claims))",
    ),
    _store("I11", "the history of crashes is bounded", "crashes", "[-MOST_KEPT:]"),
    _runner(
        "I11",
        "what a runner stops itself is no crash",
        "lifecycle",
        "lost = owned.end is not End.ABANDONED",
        "lost = True",
        test="test_lifecycle.py",
    ),
    _runner(
        "I11",
        "what a runner did not stop itself is a crash",
        "lifecycle",
        "lost = owned.end is not End.ABANDONED",
        "lost = False",
        test="test_lifecycle.py",
    ),
    _runner(
        "I3",
        "jobs of a backend that is not configured are given a while",
        "recovery",
        "_UNCONFIGURED_SECONDS = 60.0",
        "_UNCONFIGURED_SECONDS = 0.0",
        test="test_recovery.py",
    ),
    _runner(
        "I3",
        "jobs of a backend that others serve are not failed",
        "recovery",
        "        if self._store.is_served(backend):\n",
        "        if False:\n",
        test="test_recovery.py",
    ),
]
