"""The jobs tables of a new database, of an interrupted upgrade, and beside stock MLflow."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy
import sqlalchemy.orm
from alembic.script import ScriptDirectory

from mlflow.entities._job_status import JobStatus
from mlflow.store.db.utils import _get_schema_version, _verify_schema
from mlflow.store.jobs import schema, tables
from mlflow.store.jobs.errors import JobsSchemaOutOfDate
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.tracking.dbmodels.models import SqlJob, SqlJobLock
from tests.db.jobs_databases import HEADS, clear
from tests.store.jobs.real_databases import KINDS, fresh_database
from tests.store.jobs.store_factories import claim, locks_of, row_of, status_of


@pytest.fixture(scope="module", params=KINDS)
def first_start(request, tmp_path_factory):
    """An engine on a database that was empty before a store was opened on it."""
    with fresh_database(request.param, tmp_path_factory.mktemp("database")) as uri:
        yield SqlAlchemyJobStore(uri).engine
        SqlAlchemyJobStore._engine_map.pop(uri).dispose()


@pytest.fixture
def whole(first_start):
    """A database with everything and no rows."""
    schema.upgrade(first_start)
    clear(first_start)
    return first_start


@pytest.fixture
def stock(whole):
    """A database as stock 3.18.0 makes it."""
    schema.downgrade(whole)
    # A pooled SQLite connection may remember the columns that are gone by now.
    whole.dispose()
    return whole


def uri_of(engine):
    return engine.url.render_as_string(hide_password=False)


def test_an_empty_database_is_given_everything_at_its_first_start(first_start):
    schema.verify(first_start)
    _verify_schema(first_start)
    inspector = sqlalchemy.inspect(first_start)
    for table in (
        tables.jobs,
        tables.job_locks,
        tables.scheduler_leases,
        tables.job_periodic_runs,
    ):
        present = {column["name"] for column in inspector.get_columns(table.name)}
        assert present == {column.name for column in table.columns}, table.name


def test_a_database_of_stock_3_18_is_refused_until_it_is_upgraded(stock):
    with pytest.raises(JobsSchemaOutOfDate, match="mlflow db upgrade"):
        SqlAlchemyJobStore(uri_of(stock))

    schema.upgrade(stock)
    schema.upgrade(stock)

    SqlAlchemyJobStore(uri_of(stock)).create_job("job", "{}")


def test_mlflows_own_head_stays_what_stock_3_18_demands(whole):
    assert _get_schema_version(whole) == HEADS["3.18.0"]
    _verify_schema(whole)


def test_stock_writes_and_reads_on_the_new_schema(whole):
    store = SqlAlchemyJobStore(uri_of(whole))
    with sqlalchemy.orm.Session(whole) as session:
        session.add(SqlJob(id="stock", job_name="job", params='{"a": 1}', status=0))
        session.flush()
        session.add(SqlJobLock(lock_key="key", job_id="stock"))
        session.get(SqlJob, "stock").progress = None
        session.commit()
    assert row_of(store, "stock").fence == 0

    (claimed,) = claim(store, lock_key_for=lambda *facts: "key").claimed
    assert locks_of(store) == {"key": ("stock", 1)}
    store.fail(claimed.claim, "broken")

    assert status_of(store, "stock") is JobStatus.FAILED
    with sqlalchemy.orm.Session(whole) as session:
        assert session.get(SqlJob, "stock").to_mlflow_entity().error_message == "broken"


def test_an_upgrade_that_was_broken_off_is_finished_by_the_next(stock):
    with stock.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs ADD COLUMN claimed_by VARCHAR(255)")
        connection.exec_driver_sql(
            "CREATE INDEX index_jobs_status_last_update_time ON jobs (status, last_update_time)"
        )

    schema.upgrade(stock)

    schema.verify(stock)
    SqlAlchemyJobStore(uri_of(stock)).create_job("job", "{}")


def indexes_that_hold(engine, job_id):
    """Those of PostgreSQL that have an entry for this row as it is now."""
    asked = (
        "SELECT indexrelid::regclass::text, coalesce(pg_get_expr(indpred, indrelid), 'true') "
        "FROM pg_index WHERE indrelid = 'jobs'::regclass"
    )
    with engine.connect() as connection:
        found = connection.exec_driver_sql(asked).all()
        row = "SELECT id FROM jobs WHERE id = :id AND"
        return {
            name
            for name, condition in found
            if connection.execute(sqlalchemy.text(f"{row} {condition}"), {"id": job_id}).all()
        }


def test_a_claim_on_postgresql_writes_into_no_index_that_is_not_mlflows_own(stock):
    if stock.dialect.name != "postgresql":
        pytest.skip("the others write into those indexes alone that have the status")
    schema.upgrade(stock)
    store = SqlAlchemyJobStore(uri_of(stock))
    job_id = store.create_job("job", "{}", creator="somebody").job_id
    own = {
        "jobs_pk",
        "index_jobs_name_status_creation_time",
        "index_jobs_status_lease_expires_at",
    }
    searched = {
        "index_jobs_search_state",
        "index_jobs_search_type",
        "index_jobs_workspace_creation_time",
        "index_jobs_search_creator",
    }

    assert indexes_that_hold(stock, job_id) == own | searched | {"index_jobs_claim"}
    (claimed,) = claim(store).claimed
    assert indexes_that_hold(stock, job_id) == own
    store.succeed(claimed.claim, "1")
    ended = own | searched | {"index_jobs_status_last_update_time"}
    assert indexes_that_hold(stock, job_id) == ended


def test_an_index_from_before_the_first_release_goes_with_a_downgrade(whole):
    before = {index["name"] for index in sqlalchemy.inspect(whole).get_indexes("jobs")}
    with whole.begin() as connection:
        connection.exec_driver_sql(
            "CREATE INDEX index_jobs_creation_time ON jobs (creation_time, id)"
        )

    schema.downgrade(whole)
    schema.upgrade(whole)

    after = {index["name"] for index in sqlalchemy.inspect(whole).get_indexes("jobs")}
    assert after == before


OPTIONS = {
    "autovacuum_analyze_threshold": "1000",
    "autovacuum_analyze_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_scale_factor": "0.01",
    "vacuum_index_cleanup": "on",
}


def options_of_jobs(engine):
    asked = "SELECT unnest(reloptions) FROM pg_class WHERE oid = 'jobs'::regclass"
    with engine.connect() as connection:
        found = connection.exec_driver_sql(asked).scalars().all()
    return dict(option.split("=", 1) for option in found)


def test_postgresql_tidies_the_jobs_up_often_and_as_an_operator_has_set_it(stock):
    if stock.dialect.name != "postgresql":
        pytest.skip("no other database is told how to tidy up")
    assert options_of_jobs(stock) == {}
    own = {"autovacuum_vacuum_threshold": "77"}
    with stock.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs SET (autovacuum_vacuum_threshold = 77)")

    schema.upgrade(stock)
    assert options_of_jobs(stock) == OPTIONS | own
    schema.downgrade(stock)
    assert options_of_jobs(stock) == own

    with stock.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs RESET (autovacuum_vacuum_threshold)")
    schema.upgrade(stock)
    assert options_of_jobs(stock) == OPTIONS


def test_servers_that_start_at_once_upgrade_once(stock):
    start = threading.Barrier(3)

    def run(_):
        start.wait()
        schema.upgrade(stock)

    with ThreadPoolExecutor(3) as servers:
        list(servers.map(run, range(3)))

    schema.verify(stock)


def test_without_an_environment_of_its_own_the_schema_is_mlflows_to_judge(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "_ENVIRONMENT", tmp_path)
    engine = sqlalchemy.create_engine("sqlite://")

    schema.upgrade(engine)
    schema.verify(engine)

    assert sqlalchemy.inspect(engine).get_table_names() == []


def test_the_revision_that_stores_look_for_is_the_last_one_that_there_is():
    assert ScriptDirectory.from_config(schema._config(None)).get_current_head() == schema.HEAD


def test_what_is_wrong_with_a_database_is_not_taken_for_an_old_revision(tmp_path):
    engine = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/odd.db")
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {schema.VERSION_TABLE} (other TEXT)")

    with pytest.raises(sqlalchemy.exc.OperationalError, match="version_num"):
        schema.is_current(engine)
    engine.dispose()
