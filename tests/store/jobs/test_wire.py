"""I10: what the verbs of an idle runner send to PostgreSQL, read on the wire."""

import contextlib

import pytest
import sqlalchemy

from mlflow.store.jobs import at_hand, silent_ping
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Success
from tests.proxies import Proxy
from tests.store.jobs.store_factories import claim, create, empty, lead, not_exclusive

DRIVERS = ["psycopg2", "psycopg"]
# psycopg2's begins with its first statement, and ends with COMMIT; psycopg sends BEGIN by itself.
MESSAGES_OF_A_TRANSACTION = {"psycopg2": 2, "psycopg": 3}


pytestmark = pytest.mark.parametrize("database_uri", ["postgresql"], indirect=True, scope="session")


@pytest.fixture
def proxy(database_uri):
    url = sqlalchemy.make_url(database_uri)
    proxy = Proxy(url.host, url.port or 5432)
    yield proxy
    proxy.close()


@pytest.fixture(params=DRIVERS)
def wired(request, proxy, store, database_uri):
    """A store whose connections can be listened to, and which has been in use."""
    pytest.importorskip(request.param)
    url = sqlalchemy.make_url(database_uri).set(
        drivername=f"postgresql+{request.param}", host="127.0.0.1", port=proxy.port
    )
    in_clear = {"sslmode": "disable", "gssencmode": "disable"}
    uri = url.update_query_dict(in_clear).render_as_string(hide_password=False)
    wired = SqlAlchemyJobStore(uri)
    empty(wired)
    yield wired
    wired.engine.dispose()


def messages(proxy: Proxy, verb) -> list[bytes]:
    """What a verb asks the server to run: simple queries, or executions of prepared ones."""
    verb()
    proxy.sent.clear()
    verb()
    sent, found = bytes(proxy.sent), []
    while sent:
        kind, length = sent[:1], int.from_bytes(sent[1:5], "big")
        if kind in (b"Q", b"E"):
            found.append(sent[5 : 1 + length])
        sent = sent[1 + length :]
    return found


def test_what_an_idle_runner_does_is_one_message_each(proxy, wired):
    term = lead(wired, ttl_seconds=1000.0)
    create(wired)
    owned = [job.claim for job in claim(wired).claimed]
    verbs = {
        "lead": lambda: wired.lead(term, 1000.0),
        "follow": lambda: wired.scheduler_lease_lasts("scheduler"),
        "look for due jobs": lambda: wired.due_work([None, "local"], ["job"], ["job"]),
        "renew": lambda: wired.renew(owned, 30.0),
        "look for cancellations": lambda: wired.not_running(owned),
        "sweep": lambda: wired.sweep(term),
        "recovery candidates": wired.recovery_candidates,
        "online scoring": lambda: wired.has_online_scoring(["checkpoint"]),
        "retention": lambda: wired.has_expired(60.0),
        "schedules": lambda: wired.has_tagged_experiment("schedule"),
    }

    assert {name: len(messages(proxy, verb)) for name, verb in verbs.items()} == dict.fromkeys(
        verbs, 1
    )


def test_a_claim_is_one_transaction_and_nothing_else(proxy, wired):
    sent = messages(
        proxy, lambda: wired.claim_batch("a", ["local"], {"job": 1}, 30.0, not_exclusive)
    )

    assert len(sent) == MESSAGES_OF_A_TRANSACTION[wired.engine.dialect.driver]


def test_a_claim_that_ends_jobs_first_is_as_many_messages(proxy, wired):
    for _ in range(4):
        create(wired)
    ended = iter([Success(job.claim, "1") for job in claim(wired, capacity={"job": 2}).claimed])

    sent = messages(proxy, lambda: claim(wired, capacity={"job": 1}, after=[next(ended)]))

    assert len(sent) == MESSAGES_OF_A_TRANSACTION[wired.engine.dialect.driver]


def test_a_transaction_after_a_self_committing_statement_still_rolls_back(wired):
    wired.now_ms()

    def broken(connection):
        connection.execute(sqlalchemy.text("INSERT INTO job_periodic_runs VALUES ('x', 1, 1, '')"))
        raise LookupError

    with contextlib.suppress(LookupError):
        wired._transactions.write(broken)
    assert wired.last_periodic_run("x") is None


def test_a_failed_statement_leaves_a_connection_that_begins_transactions_again(wired):
    def broken(connection):
        connection.exec_driver_sql("SELECT no_such_column")

    for _ in range(3):
        with pytest.raises(Exception, match="no_such_column"):
            wired._transactions.write_statement(broken)
    with wired.engine.connect() as connection:
        assert connection.connection.driver_connection.autocommit is False


def test_connections_that_the_server_ended_are_replaced_without_an_error(proxy, wired):
    for _ in range(3):
        assert wired.now_ms() > 0
        proxy.end_connections()
    create(wired)


def test_a_connection_that_was_idle_for_long_is_asked_by_a_statement(proxy, wired, monkeypatch):
    for module, constant in ((silent_ping, "_SILENT_PING_SECONDS"), (at_hand, "_KEPT_SECONDS")):
        monkeypatch.setattr(module, constant, 0.0)

    assert len(messages(proxy, lambda: wired.has_tagged_experiment("any"))) == 2
