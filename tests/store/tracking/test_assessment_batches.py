"""Assessments stored in one transaction are those that are stored one by one."""

import time

import pytest
import sqlalchemy

from mlflow.entities import (
    AssessmentSource,
    Feedback,
    TraceInfo,
    TraceLocation,
    TraceState,
)
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.assessment_batches import create_assessments
from mlflow.store.tracking.dbmodels.models import SqlTraceRollupRebuild
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from tests.store.jobs.real_databases import KINDS, fresh_database

CODE = AssessmentSource(source_type="CODE", source_id="length")
OLD_MS = 1_700_000_000_000


@pytest.fixture(scope="module", params=KINDS)
def store(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp("tracking")
    with fresh_database(request.param, directory) as uri:
        store = SqlAlchemyStore(uri, str(directory))
        yield store
        store.engine.dispose()


@pytest.fixture
def trace_ids(store, request):
    """Sixty traces of an experiment."""
    experiment_id = store.create_experiment(f"{request.node.name} {time.time_ns()}")
    made = [f"tr-{experiment_id}-{number:02}" for number in range(60)]
    for number, trace_id in enumerate(made):
        store.start_trace(
            TraceInfo(
                trace_id=trace_id,
                trace_location=TraceLocation.from_experiment_id(experiment_id),
                request_time=OLD_MS + number,
                execution_duration=1,
                state=TraceState.OK,
            )
        )
    return made


def said(trace_id, value=3, **fields):
    return Feedback(
        name="length",
        value=value,
        source=CODE,
        trace_id=trace_id,
        rationale="counted",
        metadata={"scorer": "length"},
        span_id="span",
        create_time_ms=OLD_MS,
        last_update_time_ms=OLD_MS,
        **fields,
    )


def rows(store, trace_id):
    with store.engine.connect() as connection:
        found = connection.execute(
            sqlalchemy.text("SELECT * FROM assessments WHERE trace_id = :it"), {"it": trace_id}
        )
        return [
            {name: value for name, value in row._mapping.items() if name != "assessment_id"}
            for row in found
        ]


def statements_of(store, call):
    seen = []

    def note(connection, cursor, statement, *_):
        seen.append(statement)

    sqlalchemy.event.listen(store.engine, "before_cursor_execute", note)
    try:
        call()
    finally:
        sqlalchemy.event.remove(store.engine, "before_cursor_execute", note)
    return seen


@pytest.mark.parametrize("fields", [{}, {"value": None, "error": ValueError("cannot")}])
def test_a_row_is_the_same_as_that_of_a_single_one(store, trace_ids, fields):
    alone, together, beside = trace_ids[:3]

    store.create_assessment(said(alone, **fields))
    create_assessments(store, [said(together, **fields), said(beside, **fields)])

    (expected,) = rows(store, alone)
    (found,) = rows(store, together)
    assert expected.pop("trace_timestamp_ms") + 1 == found.pop("trace_timestamp_ms")
    assert (expected.pop("trace_id"), found.pop("trace_id")) == (alone, together)
    assert found == expected


def test_more_assessments_take_no_more_statements(store, trace_ids):
    few = statements_of(store, lambda: create_assessments(store, [*map(said, trace_ids[:2])]))
    many = statements_of(store, lambda: create_assessments(store, [*map(said, trace_ids[2:])]))

    assert len(many) == len(few)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"trace_id": "tr-gone"}, "'tr-gone' is gone"),
        ({"value": {"not", "JSON"}}, "not JSON serializable"),
    ],
)
def test_all_are_stored_or_none(store, trace_ids, bad, reason):
    with pytest.raises(MlflowException, match=reason):
        create_assessments(store, [said(trace_ids[0]), said(**{"trace_id": trace_ids[1]} | bad)])

    assert rows(store, trace_ids[0]) == []


def test_the_days_of_old_traces_are_rolled_up_anew(store, trace_ids, monkeypatch):
    monkeypatch.setenv("MLFLOW_SQL_TRACE_ROLLUPS_ENABLED", "true")
    experiment_id = int(trace_ids[0].split("-")[1])

    create_assessments(store, [*map(said, trace_ids[:3])])

    with store.ManagedSessionMaker() as session:
        queued = session.query(SqlTraceRollupRebuild).filter_by(experiment_id=experiment_id)
        assert [each.rollup_family for each in queued] == ["assessment"]
        assert [each.rollup_day.isoformat() for each in queued] == ["2023-11-14"]
