"""Plans that PostgreSQL keeps suit a table that has grown; behind a pooler none are kept."""

from collections.abc import Iterator

import pytest
import sqlalchemy

from mlflow.store.jobs import at_hand, kept_plans
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Claim, Success
from tests.store.jobs.store_factories import claim, claim_one, create, empty, not_exclusive
from tests.store.jobs.test_bursts import BURST, add_jobs
from tests.store.jobs.test_plans import (
    MOST_READ,
    explain_postgresql,
    gather_statistics,
    sent_by,
)

pytestmark = pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True, scope="session")


@pytest.fixture
def keeping(store, database_uri) -> Iterator[SqlAlchemyJobStore]:
    """A store with one connection, whose driver does not keep plans itself."""
    uri = sqlalchemy.make_url(database_uri).set(drivername="postgresql+psycopg2")
    keeping = SqlAlchemyJobStore(uri.render_as_string(hide_password=False))
    empty(keeping)
    keeping.engine.dispose()
    kept_plans._given_up.discard(keeping.engine.dialect)
    yield keeping
    kept_plans._given_up.discard(keeping.engine.dialect)
    empty(keeping)
    keeping.engine.dispose()


def prepared(store) -> dict[str, tuple[int, int]]:
    """What is prepared for the connection, beside the submission of a job.

    How often it was run by a kept plan, and by a new one.
    """
    with at_hand.connect(store.engine) as connection:
        rows = connection.exec_driver_sql(
            "SELECT name, generic_plans, custom_plans FROM pg_prepared_statements "
            "WHERE statement NOT LIKE '%%INSERT INTO jobs%%'"
        )
        return {name: (kept, anew) for name, kept, anew in rows}


def test_claims_and_successes_are_planned_once(keeping):
    for _ in range(10):
        owned = claim_one(keeping)
        assert keeping.succeed_all([Success(owned.claim, "1")])

    for _ in range(10):
        create(keeping)
        (owned,) = claim(keeping, capacity={"job": 1}, after=[]).claimed
        claim(keeping, capacity={"job": 1}, after=[Success(owned.claim, "1")])

    assert len(prepared(keeping)) == 3
    assert {anew for _, anew in prepared(keeping).values()} == {0}


def test_a_claim_takes_as_many_types_and_successes_by_the_same_plans(keeping):
    create(keeping, job_name="one")
    create(keeping, job_name="two")
    claimed = [
        *claim(keeping, capacity={"one": 1}).claimed,
        *claim(keeping, capacity={"two": 1, "one": 5, "three": 1}).claimed,
    ]
    assert keeping.succeed_all([Success(each.claim, "1") for each in claimed])
    assert keeping.succeed_all([Success(claim_one(keeping).claim, "1")])

    assert len(prepared(keeping)) == 2


@pytest.mark.parametrize("known", [True, False], ids=["statistics of little", "no statistics"])
def test_a_plan_that_was_made_for_few_rows_reads_as_few_of_many(keeping, known):
    if known:
        claim_one(keeping)
        gather_statistics(keeping)
    assert keeping.succeed_all([Success(claim_one(keeping).claim, "1")])
    claim(keeping, after=[Success(claim_one(keeping).claim, "1")])
    add_jobs(keeping, "job", BURST)

    claiming = sent_by(keeping, lambda: claim(keeping, capacity={"job": 3, "other": 1}))
    some = claim(keeping, capacity={"job": 3}).claimed
    successes = [Success(each.claim, "1") for each in some]
    succeeding = sent_by(keeping, lambda: keeping.succeed_all(successes[1:]))
    both = sent_by(keeping, lambda: claim(keeping, capacity={"job": 3}, after=successes[:1]))

    with at_hand.connect(keeping.engine) as connection:
        for statement in (*claiming, *succeeding, *both):
            plan = explain_postgresql(connection, *statement)
            assert plan.read <= MOST_READ["postgresql"], plan
    assert len(prepared(keeping)) == 3


@pytest.mark.parametrize("shared", ["taken away", "there already"])
def test_behind_a_pooler_that_shares_sessions_all_goes_on_without(keeping, shared):
    first = claim_one(keeping)
    with at_hand.connect(keeping.engine) as connection:
        if shared == "taken away":
            connection.exec_driver_sql("DEALLOCATE ALL")
        else:
            connection.info.clear()

    second = claim_one(keeping)

    assert {first.claim.fence, second.claim.fence} == {1}
    assert keeping.succeed_all([Success(each.claim, "1") for each in (first, second)])
    assert not kept_plans.keeps_plans(keeping.engine.dialect)


def test_a_statement_that_fails_leaves_what_was_prepared_for_it_usable(keeping):
    missing = Claim("no-such-job", 1)
    assert not keeping.succeed_all([Success(missing, "1")])
    with pytest.raises(TypeError):
        keeping.claim_batch("a", [None], {"job": object()}, 30.0, not_exclusive)

    assert keeping.succeed_all([Success(claim_one(keeping).claim, "1")])
    assert kept_plans.keeps_plans(keeping.engine.dialect)
