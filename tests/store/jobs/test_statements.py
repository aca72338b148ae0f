"""What the statements say on every database; MSSQL is compiled where no server is to be had."""

import pytest
import sqlalchemy
from sqlalchemy.dialects import mssql, mysql, postgresql, sqlite

from mlflow.store.jobs import (
    claims,
    due_rows,
    joint_successes,
    lease_rows,
    lock_rows,
    statements,
    transitions,
)
from mlflow.store.jobs.dialects import locking, now_ms
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.values import Claim, RecoveryCandidate, Term

DIALECTS = {
    "postgresql": postgresql.dialect(),
    "mysql": mysql.dialect(),
    "sqlite": sqlite.dialect(),
    "mssql": mssql.dialect(),
}
NOW = now_ms(0)
CLAIM = Claim("job-id", 41)
TERM = Term("scheduler", "holder-id", 42)
CANDIDATE = RecoveryCandidate("job-id", 41, None, "job", 0)

OWNERS = {
    "T3": statements.conflict(CLAIM, "reason", NOW),
    "T4": statements.renew([CLAIM], 30, NOW),
    "T5": statements.succeed(CLAIM, "1", NOW),
    "T5 together": statements.succeed_all([CLAIM, Claim("other-id", 41)], ["1", "2"], NOW),
    "T6 fail": statements.fail(CLAIM, "error", NOW),
    "T6 time out": statements.time_out(CLAIM, None, NOW),
    "T7": statements.retry(CLAIM, "error", 5, NOW),
    "T8 confirm": statements.confirm_canceled(CLAIM, NOW),
    "T10": statements.abandon([CLAIM], NOW),
    "T10 of lost work": statements.give_up([CLAIM], NOW),
}
RECOVERIES = {
    "T11": statements.reattach(CANDIDATE, "replica", 30, TERM, NOW),
    "T12": statements.requeue(CANDIDATE, TERM, NOW),
    "T12 after a crash": statements.requeue_crashed(CANDIDATE, None, TERM, 3, NOW),
    "T12 set aside": statements.set_aside(CANDIDATE, None, "error", TERM, 3, NOW),
    "T13": statements.fail_recovery(CANDIDATE, "error", TERM, NOW),
}
OTHERS = {
    "T1": statements.create({"id": "1", "lock_key": None, "workspace": "w"}, NOW),
    "T1 discovery": statements.create(
        {"id": "1", "lock_key": "key", "workspace": "w"}, NOW, TERM, unless_unfinished=True
    ),
    "T2": statements.claim(jobs.c.id.in_(["1"]), "replica", 30, NOW),
    "T8": statements.cancel(jobs.c.id == "1", NOW),
    "T9 candidates": statements.swept(10, NOW),
    "T9": statements.sweep(["1"], TERM, NOW),
    "renewal of the lease": lease_rows.renew(TERM, 20, NOW),
    "deletion": statements.remove(["1"], NOW),
    "locked read": locking(sqlalchemy.select(jobs.c.id), jobs),
}
STATEMENTS = OWNERS | RECOVERIES | OTHERS


def compiled(statement, dialect):
    return str(statement.compile(dialect=DIALECTS[dialect], compile_kwargs={"literal_binds": True}))


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_compiles(name, dialect):
    assert "jobs" in compiled(STATEMENTS[name], dialect) or "lease" in name


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", OWNERS | RECOVERIES)
def test_every_write_of_an_owner_names_its_fence_and_the_state_it_leaves(name, dialect):
    _, condition = compiled(STATEMENTS[name], dialect).split("WHERE", 1)

    assert "jobs.fence = 41" in condition
    assert "jobs.status" in condition


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("name", [*RECOVERIES, "T9", "T1 discovery"])
def test_every_write_of_a_leader_names_its_term(name, dialect):
    _, condition = compiled(STATEMENTS[name], dialect).split("WHERE", 1)

    assert "'holder-id'" in condition
    assert "scheduler_leases.fence = 42" in condition


@pytest.mark.parametrize(
    ("dialect", "passes_over", "ranges"),
    [
        # Those of all types are one.
        ("postgresql", "FOR UPDATE SKIP LOCKED", 4),
        ("mysql", "FOR UPDATE SKIP LOCKED", 8),
        ("mssql", "READPAST", 8),
        ("sqlite", "ORDER BY jobs.executor_backend, jobs.job_name", 8),
    ],
)
def test_the_claim_passes_over_rows_that_another_claims_where_several_can(
    dialect, passes_over, ranges
):
    candidates = due_rows.due({"job": 1, "other": 2}, [None, "local"], NOW, dialect)

    assert compiled(candidates, dialect).count(passes_over) == ranges


def test_a_claim_of_many_types_has_as_few_ranges_as_one_of_few_where_types_are_joined():
    few, many = (
        compiled(
            due_rows.due(dict.fromkeys(map(str, range(count)), 1), [None], NOW, "postgresql"),
            "postgresql",
        )
        for count in (2, 30)
    )

    assert many.count("FOR UPDATE") == few.count("FOR UPDATE") == 2


def test_statements_that_are_prepared_are_not_compiled_anew_each_time():
    shape = (("job", "other"), frozenset({None, "local"}), 0, "postgresql")
    for statement in (claims._prepared_claim(*shape), joint_successes.each(3, 0)):
        assert statement._generate_cache_key() is not None


def test_no_row_is_held_by_no_claim():
    assert compiled(statements.renew([], 30, NOW), "postgresql").endswith("AND false")
    assert compiled(lock_rows.release_all([]), "postgresql").endswith("WHERE false")


def test_states_are_literal_so_that_partial_indexes_serve():
    text = str(statements.in_states({transitions.PENDING}).compile(dialect=sqlite.dialect()))

    assert text == "jobs.status = 0"


def test_no_index_serves_the_state_of_a_row_that_is_named_by_its_id():
    text = str(statements.still_in({transitions.PENDING}).compile(dialect=sqlite.dialect()))

    assert text == "jobs.status + 0 = 0"
