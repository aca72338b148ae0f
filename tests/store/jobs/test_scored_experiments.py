"""What discovery reads of all experiments at once, and the checkpoints that it puts down."""

import json

import pytest
import sqlalchemy

from mlflow.store.jobs import tables
from mlflow.store.jobs.errors import LeadershipLost
from mlflow.store.jobs.values import CheckpointMove, JobUpdateStatus
from tests.store.jobs.store_factories import claim_one, create, lead

TRACES = "mlflow.latestOnlineScoring.trace.checkpoint"
SESSIONS = "mlflow.latestOnlineScoring.session.checkpoint"
START = CheckpointMove("71", TRACES, {"timestamp_ms": 1000, "trace_id": None})


@pytest.fixture(autouse=True)
def _experiments(store):
    """71 is scored, 72 is switched off, 73 deleted, 74 of another workspace."""
    rows = [
        (71, "active", "default", [1.0, 0.5]),
        (72, "active", "default", [0.0]),
        (73, "deleted", "default", [1.0]),
        (74, "active", "team", [0.1]),
    ]
    with store.engine.begin() as connection:
        _clear(connection)
        for number, stage, workspace, rates in rows:
            _insert(
                connection,
                "experiments",
                experiment_id=number,
                name=f"e{number}",
                lifecycle_stage=stage,
                workspace=workspace,
            )
            for place, rate in enumerate(rates):
                scorer = f"s{number}-{place}"
                _insert(
                    connection,
                    "scorers",
                    experiment_id=number,
                    scorer_name=scorer,
                    scorer_id=scorer,
                )
                _insert(
                    connection,
                    "online_scoring_configs",
                    online_scoring_config_id=scorer,
                    scorer_id=scorer,
                    sample_rate=rate,
                    experiment_id=number,
                )
    yield
    with store.engine.begin() as connection:
        _clear(connection)


def _insert(connection, table, **values):
    columns = [sqlalchemy.column(name) for name in values]
    connection.execute(sqlalchemy.table(table, *columns).insert().values(values))


def _clear(connection):
    for table in ("online_scoring_configs", "scorers", "trace_info", "experiment_tags"):
        connection.exec_driver_sql(f"DELETE FROM {table}")
    connection.exec_driver_sql("DELETE FROM experiments WHERE experiment_id BETWEEN 71 AND 74")


def add_trace(store, experiment_id, timestamp_ms):
    with store.engine.begin() as connection:
        _insert(
            connection,
            "trace_info",
            request_id=f"tr-{experiment_id}-{timestamp_ms}",
            experiment_id=experiment_id,
            timestamp_ms=timestamp_ms,
            status="OK",
        )


def put(store, text, experiment_id=71, tag=TRACES):
    with store.engine.begin() as connection:
        connection.execute(
            tables.experiment_tags.insert().values(key=tag, experiment_id=experiment_id, value=text)
        )


def tags(store):
    with store.engine.connect() as connection:
        rows = connection.execute(sqlalchemy.select(tables.experiment_tags)).all()
    return {(row.experiment_id, row.key): row.value for row in rows}


def scored(store, ends_ms=None, experiment_id=None):
    found = store.scored_experiments(ends_ms or {TRACES: 1000}, experiment_id)
    return {each.experiment_id: each for each in found}


def test_active_experiments_with_a_scorer_switched_on_are_found_in_all_workspaces(store):
    found = scored(store)

    assert {key: (e.workspace, e.scorer_count) for key, e in found.items()} == {
        "71": ("default", 2),
        "74": ("team", 1),
    }
    assert list(scored(store, experiment_id="74")) == ["74"]
    assert scored(store, experiment_id="72") == {}


def test_each_checkpoint_and_the_newest_trace_before_its_end_come_along(store):
    put(store, "text")
    put(store, None, tag=SESSIONS)
    for timestamp_ms in (10, 20, 30):
        add_trace(store, 71, timestamp_ms)

    found = scored(store, {TRACES: 30, SESSIONS: 31})

    assert found["71"].checkpoints == {TRACES: "text", SESSIONS: ""}
    assert found["71"].newest_trace_ms == {TRACES: 20, SESSIONS: 30}
    assert found["74"].checkpoints == {}
    assert found["74"].newest_trace_ms == {TRACES: None, SESSIONS: None}


def test_a_scorer_switched_on_or_off_shows(store):
    before = scored(store)["71"].configuration
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE online_scoring_configs SET sample_rate = 0 "
            "WHERE online_scoring_config_id = 's71-1'"
        )

    assert scored(store)["71"].configuration != before


def test_unfinished_jobs_answer_their_lock_keys(store):
    store.succeed(claim_one(store, lock_key="k3").claim, None)
    create(store, lock_key="k1")
    create(store, params=json.dumps({"experiment_id": "9"}))
    create(store, job_name="other", lock_key="k2")

    def computed(name, params, workspace):
        return f"{workspace}:{name}:{params['experiment_id']}"

    assert store.unfinished_lock_keys(["job"], computed) == {"k1", "default:job:9"}
    assert store.unfinished_lock_keys(["job"], computed, ["k9"]) == {"default:job:9"}


def test_i06_a_first_checkpoint_is_put_down_by_the_leader_alone(store):
    ended = lead(store)
    store.release_scheduler_lease(ended)

    with pytest.raises(LeadershipLost):
        store.begin_checkpoint(START, ended)

    assert tags(store) == {}
    assert store.begin_checkpoint(START, lead(store, "next"))
    assert json.loads(tags(store)[71, TRACES]) == START.value


def test_i05_a_first_checkpoint_undoes_no_move(store):
    term = lead(store)
    moved = CheckpointMove("71", TRACES, {"timestamp_ms": 5000, "trace_id": "tr"})
    assert store.succeed(claim_one(store).claim, None, moved) is JobUpdateStatus.APPLIED

    assert not store.begin_checkpoint(START, term)
    assert not store.begin_checkpoint(START, term, instead_of="what stood there before")

    assert json.loads(tags(store)[71, TRACES]) == moved.value


@pytest.mark.parametrize("text", ["unreadable", "", None])
def test_a_checkpoint_takes_the_place_of_the_text_that_was_read(store, text):
    put(store, text)

    assert store.begin_checkpoint(START, lead(store), instead_of=text or "")

    assert json.loads(tags(store)[71, TRACES]) == START.value


def test_i06_no_ex_leader_replaces_or_forgets_a_checkpoint(store):
    put(store, "text")
    put(store, "text", experiment_id=72)
    ended = lead(store)
    store.release_scheduler_lease(ended)

    with pytest.raises(LeadershipLost):
        store.begin_checkpoint(START, ended, instead_of="text")
    assert not store.forget_checkpoint("71", TRACES, "text", ended)
    assert store.forget_unscored_checkpoints([TRACES], ended) == 0

    assert set(tags(store).values()) == {"text"}


def test_a_checkpoint_is_forgotten_only_as_it_was_read(store):
    put(store, "text")
    term = lead(store)

    assert not store.forget_checkpoint("71", TRACES, "another text", term)
    assert store.forget_checkpoint("71", TRACES, "text", term)
    assert tags(store) == {}


def test_checkpoints_are_forgotten_where_no_scorer_is_switched_on(store):
    for experiment_id in (71, 72, 73, 74):
        put(store, "text", experiment_id)
    put(store, "text", 72, SESSIONS)
    put(store, "kept", 72, "another tag")

    assert store.forget_unscored_checkpoints([TRACES, SESSIONS], lead(store)) == 2

    assert {number for number, key in tags(store) if key == TRACES} == {71, 73, 74}
    assert tags(store)[72, "another tag"] == "kept"


def test_i10_experiments_add_no_statement(store):
    counted = []
    sqlalchemy.event.listen(
        store.engine, "before_cursor_execute", lambda *args: counted.append(args[2])
    )

    assert len(scored(store, {TRACES: 30, SESSIONS: 31})) == 2
    store.unfinished_lock_keys(["job"], lambda *_: None)

    assert len([each for each in counted if "SELECT" in each.upper()]) == 2
