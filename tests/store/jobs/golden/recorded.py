"""Every statement of the store, recorded as its verbs run on SQLite, compiled for each dialect.

What is recorded are the statements before they are text, so that the text for a database that is
not at hand is that of the same statements. Those that depend on the database, or are sent as text
(`driver_text`), are built for each: the claim, the successes of jobs that end together, and how a
leader renews and looks.
"""

import contextlib
import re
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import sqlalchemy
from sqlalchemy import ClauseElement, SelectBase, UpdateBase
from sqlalchemy.dialects import mssql, mysql, postgresql, sqlite

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs import (
    claims,
    dialects,
    due_rows,
    joint_successes,
    lease_rows,
    statements,
    tables,
)
from mlflow.store.jobs.dialects import now_ms
from mlflow.store.jobs.job_tokens import hash_of
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import (
    CheckpointMove,
    Claim,
    ClaimedJob,
    NewJob,
    RecoveryCandidate,
    Term,
    TokenHolder,
)
from tests.store.jobs.store_factories import (
    change_raw,
    claim,
    claim_one,
    create,
    lead,
    to_recovery,
)

FOLDER = Path(__file__).parent
DIALECTS = {
    "mssql": mssql.dialect(paramstyle="named"),
    "mysql": mysql.dialect(paramstyle="named"),
    "postgresql": postgresql.dialect(paramstyle="named"),
    "sqlite": sqlite.dialect(paramstyle="named"),
}
TAG = "mlflow.latestOnlineScoring.trace.checkpoint"
# Statements that a listing shows best with each clause on a line of its own.
_CLAUSES = (
    "SET|FROM|JOIN|WHERE|AND|OR|ORDER BY|LIMIT|VALUES|UNION ALL|OUTPUT|RETURNING|FOR UPDATE|SELECT"
)

Verb = tuple[str, Callable[[], object]]


def texts() -> dict[str, str]:
    """The listing of each dialect, by its name."""
    recorded = record()
    return {
        name: _listing([*_claim(name, dialect), *_together(name), *_lead(name), *recorded], dialect)
        for name, dialect in DIALECTS.items()
    }


def record() -> list[tuple[str, ClauseElement]]:
    """The statements that each verb runs, in order, each with the name of its verb."""
    recorded = []
    with tempfile.TemporaryDirectory() as folder:
        store = SqlAlchemyJobStore(f"sqlite:///{folder}/jobs.db")
        try:
            for title, run in _verbs(store):
                with _recording(store.engine) as statements_of_verb:
                    run()
                recorded += [(title, each) for each in statements_of_verb if not _claims(each)]
        finally:
            store.engine.dispose()
    return recorded


@contextlib.contextmanager
def _recording(engine) -> Iterator[list[ClauseElement]]:
    sent: list[ClauseElement] = []

    def keep(connection, clauseelement, multiparams, params, execution_options):
        if isinstance(clauseelement, (SelectBase, UpdateBase)):
            sent.append(clauseelement)

    sqlalchemy.event.listen(engine, "before_execute", keep)
    try:
        yield sent
    finally:
        sqlalchemy.event.remove(engine, "before_execute", keep)


def _verbs(store: SqlAlchemyJobStore) -> Iterator[Verb]:
    """The verbs; what is done between them, so that they find something, is not recorded."""
    yield from _leadership(store)
    yield from _owner(store)
    yield from _leader(store)
    yield from _user(store)


def _leadership(store) -> Iterator[Verb]:
    term = SimpleNamespace()

    def acquire():
        term.held = lead(store)

    yield "scheduler lease: first acquisition", acquire
    yield "scheduler lease: renewal", lambda: store.renew_scheduler_lease(term.held, 20)
    yield "lead", lambda: store.lead(term.held, 20)
    yield "scheduler lease: how long it lasts", lambda: store.scheduler_lease_lasts("scheduler")
    yield "standing orders: online scoring", lambda: store.has_online_scoring(["checkpoint"])
    yield "standing orders: a tagged experiment", lambda: store.has_tagged_experiment("tag")
    yield "statuses", lambda: store.statuses(["found", "other"])
    yield "periodic run: first", lambda: store.begin_periodic_run("task", 1, term.held)
    yield "periodic run: later", lambda: store.begin_periodic_run("task", 2, term.held)
    yield "periodic run: last", lambda: store.last_periodic_run("task")
    yield "T1 by discovery", lambda: create(store, lock_key="key-1", term=term.held, job_id="found")
    yield "discovery: experiments", lambda: store.scored_experiments({TAG: 1, "other": 2}, "1")
    yield (
        "discovery: unfinished jobs",
        lambda: store.unfinished_lock_keys(["job"], lambda *_: None, ["key-1"]),
    )
    yield "discovery: first checkpoint", lambda: store.begin_checkpoint(_move(0), term.held)
    yield (
        "discovery: another checkpoint",
        lambda: store.begin_checkpoint(_move(0), term.held, instead_of="text"),
    )
    yield (
        "discovery: checkpoint forgotten",
        lambda: store.forget_checkpoint("1", TAG, "text", term.held),
    )
    yield (
        "discovery: checkpoints forgotten",
        lambda: store.forget_unscored_checkpoints([TAG], term.held),
    )
    yield "scheduler lease: release", lambda: store.release_scheduler_lease(term.held)
    yield "database time", store.now_ms
    store.cancel_job("found")


def _owner(store) -> Iterator[Verb]:
    yield "T1", lambda: create(store, job_id="first", lock_key="key")
    yield "anything due", lambda: store.due_work([None, "local"], ["job", "other"], ["job"])
    owned = SimpleNamespace()

    def take_lock():
        (owned.first,) = claim(store).claimed

    yield "T2, exclusivity lock is free", take_lock
    create(store, job_id="second")
    yield "T3, exclusivity lock is held", lambda: claim(store, lock_key_for=lambda *_: "key")
    yield "T4", lambda: store.renew([owned.first.claim], 30)
    yield "progress", lambda: store.update_job_progress("first", "half", fence=1)
    yield "T5, and the first checkpoint", lambda: store.succeed(owned.first.claim, "1", _move(1))
    later = claim_one(store)
    yield "T5, and a later checkpoint", lambda: store.succeed(later.claim, "1", _move(2))
    yield "T5 that comes too late", lambda: store.succeed(Claim(later.claim.job_id, 0), "1")
    for title, run in _endings(store):
        one = claim_one(store)
        yield title, lambda one=one, run=run: run(one)
    yield from _remote_work(store)
    overrun = claim_one(store, lock_key="slow", timeout=1.0)
    change_raw(store, overrun.claim.job_id, started_at=1)
    with store.engine.begin() as connection:
        connection.execute(tables.job_locks.update().values(acquired_at=1))
    create(store, lock_key="slow")
    yield "T2, exclusivity lock is taken over", lambda: claim(store)


def _endings(store) -> Iterator[tuple[str, Callable[[ClaimedJob], object]]]:
    yield "T6 fail", lambda one: store.fail(one.claim, "error")
    yield "T6 time out", lambda one: store.time_out(one.claim, "late")
    yield "T7", lambda one: store.retry(one.claim, "again", 3600.0)
    yield "T10", lambda one: store.abandon([one.claim])
    yield "T10 of lost work", lambda one: store.abandon([one.claim], lost=True)
    yield "not running", lambda one: store.not_running([one.claim])
    yield "T8 of a running job", lambda one: store.cancel_job(one.claim.job_id)


def _remote_work(store) -> Iterator[Verb]:
    create(store, job_id="remote")
    holder = SimpleNamespace()

    def take_token():
        (job,) = store.claim_batch(
            "replica-a", [None], {"job": 1}, 30, lambda *_: None, token_backends=[None]
        ).claimed
        holder.of = TokenHolder("remote", hash_of(job.token))

    yield "T2, the token of a remote backend", take_token
    yield "job of a token", lambda: store.job_of_token(holder.of)
    yield "progress by token", lambda: store.report_progress(holder.of, "half")
    yield (
        "status details by token",
        lambda: store.report_progress(holder.of, status_details={"a": 1}),
    )
    yield "T5 by token", lambda: store.succeed(holder.of, "1")
    yield "T5 by token, again", lambda: store.succeed(holder.of, "1")


def _leader(store) -> Iterator[Verb]:
    term = lead(store)
    _forget_jobs(store)
    lapsed = claim_one(store)
    change_raw(store, lapsed.claim.job_id, lease_expires_at=1)
    yield "T9", lambda: store.sweep(term, limit=10)
    yield "recovery candidates", store.recovery_candidates
    yield "backends that jobs wait for", store.waiting_backends
    yield "how many wait for a backend", lambda: store.count_waiting("ray")
    yield "whether a backend is served", lambda: store.is_served("ray")
    _forget_jobs(store)
    for title, run in {
        "T11": lambda candidate: store.reattach(candidate, "replica-b", 30, term),
        "T12": lambda candidate: store.requeue(candidate, term, 3),
        "T12 after a crash": lambda candidate: store.requeue(candidate, term, 3, "died"),
        "T12 of a suspect": lambda candidate: store.requeue(candidate, term, 1, "died"),
        "T12, set aside": lambda candidate: store.requeue(candidate, term, 0, "died"),
        "T13": lambda candidate: store.fail_recovery(candidate, "gone", term),
        "T13 of a backend that nobody has": lambda candidate: store.fail_recovery(
            candidate, "gone", term, 60
        ),
    }.items():
        candidate: RecoveryCandidate = to_recovery(store, claim_one(store))
        yield title, lambda run=run, candidate=candidate: run(candidate)
        _forget_jobs(store)
    create(store, job_id="old")
    change_raw(store, "old", status=JobStatus.FAILED.to_int(), last_update_time=1)
    yield "whether there is work for retention", lambda: store.has_expired(60.0)
    yield "retention", lambda: store.delete_expired(term, 60.0, limit=10)


def _user(store) -> Iterator[Verb]:
    create(store, job_id="waiting")
    yield "read", lambda: store.get_job("waiting")
    yield "T8 of a waiting job", lambda: store.cancel_job("waiting")
    create(store, job_id="stopped")
    (stopped,) = claim(store).claimed
    store.cancel_job("stopped")
    yield "T8 confirmed", lambda: store.confirm_canceled(stopped.claim)
    yield "search", store.search_jobs
    token = _two_pages(store)
    yield "search of a later page", lambda: store.search_jobs(page_token=token)
    yield (
        "search by all that there is",
        lambda: store.search_jobs(
            job_name="job",
            statuses=[JobStatus.RUNNING, JobStatus.FAILED],
            workspace="default",
            creator="somebody",
            begin=1,
            end=2,
        ),
    )
    yield "deletion by age", lambda: store.delete_jobs(older_than=1)
    yield "deletion by id", lambda: store.delete_jobs(job_ids=["waiting"])
    several = [NewJob("job", "{}"), NewJob("job", "{}")]
    yield "T1 of several, or where an insert answers no row", lambda: store.create_jobs(several)


def _two_pages(store) -> str:
    create(store)
    create(store)
    _, token = store.search_jobs(max_results=1)
    return token


def _move(timestamp_ms: int) -> CheckpointMove:
    return CheckpointMove("0", TAG, {"timestamp_ms": timestamp_ms, "trace_id": "tr"})


def _forget_jobs(store) -> None:
    with store.engine.begin() as connection:
        connection.execute(tables.job_locks.delete())
        connection.execute(tables.jobs.delete())


def _claims(statement: ClauseElement) -> bool:
    return "due_rows" in str(statement.compile(dialect=DIALECTS["sqlite"]))


def _claim(name: str, dialect) -> Iterator[tuple[str, ClauseElement]]:
    now = now_ms(0)
    suspect = due_rows.suspect(["job", "other"], [None, "local"], name)
    if dialect.update_returning:
        yield "T2 of a suspect", claims.claim_at_once(suspect, "replica", 30, now, name)
    else:
        yield "T2 of a suspect: which", suspect
    due = due_rows.due({"job": 3, "other": 2}, [None, "local"], now, name)
    if dialect.update_returning:
        yield (
            "T2, two types of job on two backends",
            claims.claim_at_once(due, "replica", 30, now, name),
        )
    else:
        yield "T2, two types of job on two backends: what is due", due
        which = tables.jobs.c.id.in_(["1", "2"])
        yield "T2: the claim", statements.claim(which, "replica", 30, now)


def _together(name: str) -> Iterator[tuple[str, ClauseElement]]:
    if dialects.takes_lists(name):
        yield (
            "T5 of jobs that end together, and the release of their locks",
            joint_successes.listed(0),
        )
        yield (
            "T5 of jobs that end together, with T2 for their slots",
            claims.claim_with_successes(frozenset({None, "local"}), 0, name),
        )
    else:
        yield "T5 of jobs that end together", joint_successes.each(2, 0)
        yield "T5 of jobs that end together: their locks", joint_successes.release_each(2)


def _lead(name: str) -> Iterator[tuple[str, ClauseElement]]:
    if name == "postgresql":
        now = now_ms(0)
        renewal = lease_rows.renew(Term("scheduler", "leader", 1), 15, now)
        yield "lead, in one statement", renewal.returning(*statements.outlook(now))


def _listing(recorded: list[tuple[str, ClauseElement]], dialect) -> str:
    """Each text once, below the names of all verbs that run it."""
    verbs: dict[str, list[str]] = {}
    for title, statement in recorded:
        titles = verbs.setdefault(_text(statement, dialect), [])
        if title not in titles:
            titles.append(title)
    return "\n".join(
        "".join(f"-- {title}\n" for title in titles) + text for text, titles in verbs.items()
    )


def _text(statement: ClauseElement, dialect) -> str:
    compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    one_line = " ".join(str(compiled).split())
    lines = re.sub(rf"\s(?=(?:{_CLAUSES})\b)", "\n", one_line).splitlines()
    wrapped = (
        textwrap.fill(
            line, 100, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
        for line in lines
    )
    return "\n".join(wrapped) + ";\n"
