"""I10: the statements of submissions, claims and renewals; `test_plans` shows what they read."""

import sqlalchemy

from tests.store.jobs.store_factories import claim, create, lead

# They do not leave the process. Elsewhere BEGIN may go with what is counted.
_OF_SQLITE_ALONE = ("PRAGMA", "BEGIN IMMEDIATE")


class Counter:
    """Counts the statements that reach the database."""

    def __init__(self, engine):
        self._engine = engine
        self.statements = []

    def _record(self, connection, cursor, statement, parameters, context, executemany):
        self.statements.append(statement)

    def __enter__(self):
        sqlalchemy.event.listen(self._engine, "before_cursor_execute", self._record)
        return self

    def __exit__(self, *exc_info):
        sqlalchemy.event.remove(self._engine, "before_cursor_execute", self._record)


def statements_of(store, action):
    with Counter(store.engine) as counter:
        action()
    return [each for each in counter.statements if not each.startswith(_OF_SQLITE_ALONE)]


def test_a_submission_is_one_statement_where_the_database_answers_with_the_row(store):
    # MySQL and MariaDB are asked once how large a text may be.
    create(store)
    sent = statements_of(store, lambda: create(store))

    assert len(sent) == (1 if store.engine.dialect.insert_returning else 2), sent


def test_an_idle_claim_is_one_statement_whatever_waits_for_others(store):
    for number in range(20):
        create(store, job_name="capped", workspace=f"team-{number}")
        create(store, executor_backend="ray")

    idle = statements_of(store, lambda: claim(store, backends=["local"], capacity={"job": 5}))

    assert len(idle) == 1


def test_one_renewal_covers_all_claims_of_a_runner(store):
    for _ in range(20):
        create(store)
    owned = [job.claim for job in claim(store, capacity={"job": 20}).claimed]

    assert len(owned) == 20
    assert len(statements_of(store, lambda: store.renew(owned, 30))) == 1


def test_a_claim_takes_as_many_statements_for_many_jobs_as_for_one(store):
    create(store)
    few = len(statements_of(store, lambda: claim(store)))
    for _ in range(30):
        create(store)

    assert len(statements_of(store, lambda: claim(store, capacity={"job": 30}))) == few


def test_a_look_for_due_jobs_is_one_statement(store):
    create(store, executor_backend="ray")
    names = [f"type-{number}" for number in range(7)]

    looks = statements_of(store, lambda: store.due_work([None, "local"], names, names))
    assert len(looks) == 1


def test_a_leader_renews_and_looks_in_one_statement_where_the_database_can(store):
    term = lead(store)
    most = 1 if store.db_type == "postgresql" else 2

    assert len(statements_of(store, lambda: store.lead(term, 20))) == most
