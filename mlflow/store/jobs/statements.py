"""One SQLAlchemy Core statement per transition. Keeps I1: `held_by` stands in every owner's WHERE.

A function here has the name of its transition's verb, takes the values it writes and the
database's time, and answers a statement whose row count says whether the transition happened.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Delete,
    FromClause,
    Insert,
    Select,
    Update,
    and_,
    any_,
    case,
    cast,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    literal_column,
    null,
    or_,
    select,
    update,
)

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import dialects, lease_rows, suspicion, transitions
from mlflow.store.jobs.numbers import LONGEST_SECONDS
from mlflow.store.jobs.tables import jobs, scheduler_leases
from mlflow.store.jobs.transitions import Transition
from mlflow.store.jobs.values import Claim, Owner, RecoveryCandidate, Term, TokenHolder

# A job may run this much longer than its timeout before it counts as stale.
OVERRUN = 1.15


def in_states(states: Collection[JobStatus]) -> ColumnElement[bool]:
    """The row is in one of these states. Codes are literal, so that partial indexes serve."""
    return _is_among(jobs.c.status, states)


def still_in(states: Collection[JobStatus]) -> ColumnElement[bool]:
    """A row that was named in another way is in one of these states.

    No index serves this. A database that believes a state to have few rows, as its statistics say
    until they are made anew, would otherwise read all rows of that state for a few that are named
    by their ids (I10).
    """
    return _is_among(jobs.c.status + literal_column("0"), states)


def _is_among(status: ColumnElement[int], states: Collection[JobStatus]) -> ColumnElement[bool]:
    codes = [literal_column(str(code)) for code in sorted(state.to_int() for state in states)]
    return status == codes[0] if len(codes) == 1 else status.in_(codes)


def pending() -> ColumnElement[bool]:
    """The row is PENDING, said so that the index of claims serves, and on PostgreSQL no other."""
    return _is_among(dialects.status_as_indexed(jobs.c.status), {transitions.PENDING})


def held_by(claims: Iterable[Claim]) -> ColumnElement[bool]:
    """The row is under one of these fences (I1); no row is under none."""
    held = (and_(jobs.c.id == each.job_id, jobs.c.fence == each.fence) for each in claims)
    return or_(false(), *held)


def held_by_listed(claims: FromClause, ids: ColumnElement) -> ColumnElement[bool]:
    """The row is under one of the fences of a list of claims (I1), whose ids are this list."""
    # What the list of ids adds is that rows are looked up by it.
    return and_(jobs.c.id == claims.c.id, jobs.c.fence == claims.c.fence, jobs.c.id == any_(ids))


def shown_by(holder: TokenHolder) -> ColumnElement[bool]:
    """The row's live token is the holder's (I8): as good as the fence, and ends with it."""
    return and_(jobs.c.id == holder.job_id, jobs.c.token_hash == holder.token_hash)


def owned_by(owner: Owner) -> ColumnElement[bool]:
    """The row is this owner's: the runner's by its fence, remote work's by its token."""
    return shown_by(owner) if isinstance(owner, TokenHolder) else held_by([owner])


def change(
    transition: Transition,
    now: ColumnElement,
    *guards: ColumnElement[bool],
    leaves: Collection[JobStatus] | None = None,
    **effects: Any,
) -> Update:
    """The transition's statement: its states and cleared columns, and these guards and effects.

    The guards name the rows by their ids.
    """
    return (
        update(jobs)
        .where(still_in(leaves or transition.leaves), *guards)
        .values(
            {
                **_cleared(transition),
                "status": transition.enters.to_int(),
                "last_update_time": now,
                **effects,
            }
        )
    )


def create(
    values: dict[str, Any], now: ColumnElement, term: Term | None = None, unless_unfinished=False
) -> Insert:
    """T1. With a term, the row comes into being only while that term lasts (I6)."""
    values = {
        "status": transitions.CREATE.enters.to_int(),
        "retry_count": 0,
        "creation_time": now,
        "last_update_time": now,
        **values,
    }
    if term is None:
        return insert(jobs).values(values)
    columns = [
        value if isinstance(value, ColumnElement) else literal(value, jobs.c[name].type)
        for name, value in values.items()
    ]
    source = select(*columns).select_from(scheduler_leases).where(lease_rows.held(term, now))
    if unless_unfinished:
        source = source.where(~unfinished_with(values["lock_key"], values["workspace"]))
    return insert(jobs).from_select(list(values), source)


def unfinished_with(lock_key: str, workspace: str) -> ColumnElement[bool]:
    """Some unfinished job of the workspace has this lock key."""
    return exists(
        select(literal_column("1"))
        .select_from(jobs)
        .where(
            jobs.c.lock_key == lock_key,
            jobs.c.workspace == workspace,
            in_states(transitions.UNFINISHED),
        )
        .correlate(None)
    )


def claim(which: ColumnElement[bool], replica_id: str, lease_ms: int, now: ColumnElement) -> Update:
    """T2. The fence rises, which ends every earlier claim of the row."""
    return change(
        transitions.CLAIM,
        now,
        which,
        fence=jobs.c.fence + 1,
        lease_expires_at=now + lease_ms,
        claimed_by=replica_id,
        started_at=now,
    )


def issue_tokens(hashes: Mapping[Claim, str]) -> Update:
    """The rest of T2 for remote backends: each claimed row is given the hash of its token (I8)."""
    by_id = {claim.job_id: token_hash for claim, token_hash in hashes.items()}
    token_hash = case(by_id, value=jobs.c.id)
    return (
        update(jobs)
        .where(still_in({transitions.CLAIM.enters}), held_by(hashes))
        .values(token_hash=token_hash, issued_token_hash=token_hash)
    )


def conflict(claim: Claim, reason: str, now: ColumnElement) -> Update:
    """T3. The exclusivity lock is held, so this job is not run."""
    return change(transitions.CONFLICT, now, held_by([claim]), result=reason, finished_at=now)


def keep_lock_key(claim: Claim, lock_key: str) -> Update:
    """Write down the lock key of a row that was stored without one."""
    return update(jobs).where(held_by([claim])).values(lock_key=lock_key)


def renew(claims: Sequence[Claim], lease_ms: int, now: ColumnElement) -> Update:
    """T4. A claim that is no longer ours matches no row (I1)."""
    return (
        update(jobs)
        .where(still_in(transitions.RENEW.leaves), held_by(claims))
        .values(lease_expires_at=now + lease_ms)
    )


def succeed(owner: Owner, result: str | None, now: ColumnElement) -> Update:
    """T5."""
    return change(transitions.SUCCEED, now, owned_by(owner), result=result, finished_at=now)


def succeed_all(claims: Sequence[Claim], results: Sequence[Any], now: ColumnElement) -> Update:
    """T5 of several rows. Each is met under its own fence only, and is given its own result."""
    own = case(
        *(
            (jobs.c.id == claim.job_id, result)
            for claim, result in zip(claims, results, strict=True)
        )
    )
    return change(transitions.SUCCEED, now, held_by(claims), result=own, finished_at=now)


def succeed_listed(successes: FromClause, ids: ColumnElement, now: ColumnElement) -> Update:
    """T5 of a list of claims with their results."""
    return change(
        transitions.SUCCEED,
        now,
        held_by_listed(successes, ids),
        result=successes.c.result,
        finished_at=now,
    )


def fail(owner: Owner, error: str | None, now: ColumnElement) -> Update:
    """T6."""
    return change(transitions.FAIL, now, owned_by(owner), result=error, finished_at=now)


def time_out(owner: Owner, error: str | None, now: ColumnElement) -> Update:
    """T6, with its own status."""
    return change(transitions.TIME_OUT, now, owned_by(owner), result=error, finished_at=now)


def end_overrun(*which: ColumnElement[bool], reason: str, now: ColumnElement) -> Update:
    """T6, of a job that lost its exclusivity lock by running past 115% of its timeout (I4)."""
    return change(transitions.TIME_OUT, now, *which, result=reason, finished_at=now)


def retry(owner: Owner, message: str, delay_ms: int, now: ColumnElement) -> Update:
    """T7."""
    return change(
        transitions.RETRY,
        now,
        owned_by(owner),
        retry_count=jobs.c.retry_count + 1,
        next_attempt_at=now + delay_ms,
        status_message=message,
    )


def report_progress(holder: TokenHolder, values: dict[str, Any]) -> Update:
    """What remote work says of itself while its claim lives (I8)."""
    return update(jobs).where(still_in(transitions.OWNED), shown_by(holder)).values(values)


def cancel(which: ColumnElement[bool], now: ColumnElement) -> Update:
    """T8. Whoever owns the row keeps lease and lock until its work has stopped (I4)."""
    return change(transitions.CANCEL, now, which, finished_at=now)


def confirm_canceled(claim: Claim, now: ColumnElement) -> Update:
    """T8, second half."""
    return (
        update(jobs)
        .where(still_in(transitions.CONFIRM_CANCELED.leaves), held_by([claim]))
        .values(_cleared(transitions.CONFIRM_CANCELED))
    )


def stale(now: ColumnElement) -> ColumnElement[bool]:
    """Nobody renews the row any more, or it has run well past its timeout."""
    return or_(
        jobs.c.lease_expires_at.is_(None),
        jobs.c.lease_expires_at < now,
        jobs.c.started_at < now - overrun_ms(jobs.c.timeout),
    )


def overrun_ms(timeout: ColumnElement) -> ColumnElement:
    """115% of a timeout in seconds, in milliseconds."""
    # I3: one absurd timeout must not make the statement overflow for every other row.
    bounded = case((timeout > LONGEST_SECONDS, LONGEST_SECONDS), (timeout < 0, 0), else_=timeout)
    return cast(bounded * (OVERRUN * 1000), BigInteger)


def sweep(job_ids: Collection[str], term: Term, now: ColumnElement) -> Update:
    """T9. Nobody handed the job over, so its claim counts as lost (I11)."""
    return change(
        transitions.SWEEP,
        now,
        jobs.c.id.in_(job_ids),
        stale(now),
        lease_rows.holds(term, now),
        crashed_at=now,
    )


def swept(limit: int, now: ColumnElement) -> Select:
    """What a sweep would mark."""
    return select(jobs.c.id).where(in_states(transitions.SWEEP.leaves), stale(now)).limit(limit)


def unlocked(job_ids: Collection[str]) -> Select:
    """Which of these rows no other transaction has locked.

    Alone in a transaction it locks none of them any more once it has answered.
    """
    which = select(jobs.c.id).where(jobs.c.id.in_(job_ids))
    return dialects.skipping_locked(which, jobs)


def outlook(now: ColumnElement) -> list[ColumnElement]:
    """The columns of an `Outlook`; two short index ranges are read for them."""
    running = in_states(transitions.SWEEP.leaves)
    lease_ends = func.min(func.coalesce(jobs.c.lease_expires_at, 0))
    overruns = func.min(jobs.c.started_at + overrun_ms(jobs.c.timeout))
    waiting = exists(select(jobs.c.id).where(in_states({transitions.NEEDS_RECOVERY})))
    return [
        now.label("now_ms"),
        select(lease_ends).where(running).scalar_subquery().label("lease_ends_at"),
        select(overruns).where(running).scalar_subquery().label("overruns_at"),
        case((waiting, 1), else_=0).label("recovery_waits"),
    ]


def abandon(claims: Sequence[Claim], now: ColumnElement) -> Update:
    """T10 of work that was stopped in good order."""
    return change(transitions.ABANDON, now, held_by(claims))


def give_up(claims: Sequence[Claim], now: ColumnElement) -> Update:
    """T10 of work that was lost: how it ended is not known (I11)."""
    return change(transitions.ABANDON, now, held_by(claims), crashed_at=now)


def reattach(
    candidate: RecoveryCandidate, replica_id: str, lease_ms: int, term: Term, now: ColumnElement
) -> Update:
    """T11. The job token is carried over, the fence is not."""
    return change(
        transitions.REATTACH,
        now,
        held_by([_claim_of(candidate)]),
        lease_rows.holds(term, now),
        fence=jobs.c.fence + 1,
        lease_expires_at=now + lease_ms,
        claimed_by=replica_id,
    )


def requeue(candidate: RecoveryCandidate, term: Term, now: ColumnElement) -> Update:
    """T12 of a job that its last runner handed over, which counts as nothing (I11)."""
    return change(
        transitions.REQUEUE,
        now,
        held_by([_claim_of(candidate)]),
        jobs.c.crashed_at.is_(None),
        lease_rows.holds(term, now),
        **_due_again(candidate.is_suspect),
    )


def requeue_crashed(
    candidate: RecoveryCandidate,
    crashes: list[dict[str, Any]],
    term: Term,
    max_recoveries: int,
    now: ColumnElement,
) -> Update:
    """T12 of a job that was lost, while it has recoveries left (I11)."""
    is_suspect = suspicion.is_due_to(candidate.recovery_count + 1, max_recoveries)
    return change(
        transitions.REQUEUE,
        now,
        held_by([_claim_of(candidate)]),
        jobs.c.recovery_count < max_recoveries,
        lease_rows.holds(term, now),
        recovery_count=jobs.c.recovery_count + 1,
        crashes=crashes,
        **_due_again(is_suspect),
    )


def _due_again(is_suspect: bool) -> dict[str, Any]:
    return {"next_attempt_at": suspicion.DUE_AT} if is_suspect else {}


def set_aside(
    candidate: RecoveryCandidate,
    crashes: list[dict[str, Any]],
    error: str,
    term: Term,
    max_recoveries: int,
    now: ColumnElement,
) -> Update:
    """T13, of a job whose recoveries are used up (I11)."""
    return (
        fail_recovery(candidate, error, term, now)
        .where(jobs.c.recovery_count >= max_recoveries)
        .values(recovery_count=jobs.c.recovery_count + 1, crashes=crashes)
    )


def fail_recovery(
    candidate: RecoveryCandidate, error: str, term: Term, now: ColumnElement, after_ms: int = 0
) -> Update:
    """T13, where asked for only once nothing has been heard of the job for so long."""
    waited = [jobs.c.last_update_time <= now - after_ms] if after_ms else []
    return change(
        transitions.FAIL_RECOVERY,
        now,
        held_by([_claim_of(candidate)]),
        *waited,
        lease_rows.holds(term, now),
        result=error,
        finished_at=now,
    )


def removable(now: ColumnElement) -> ColumnElement[bool]:
    """Terminal, and no work is left of it."""
    # I4: the lock of a canceled job goes with its row, so the row stays while its work may live.
    return and_(
        still_in(transitions.TERMINAL),
        or_(jobs.c.lease_expires_at.is_(None), jobs.c.lease_expires_at < now),
    )


def remove(job_ids: Collection[str], now: ColumnElement) -> Delete:
    """Delete terminal rows; their locks go with them."""
    return delete(jobs).where(jobs.c.id.in_(job_ids), removable(now))


def _cleared(transition: Transition) -> dict[str, Any]:
    return {name: null() for name in transition.clears}


def _claim_of(candidate: RecoveryCandidate) -> Claim:
    return Claim(candidate.job_id, candidate.fence)
