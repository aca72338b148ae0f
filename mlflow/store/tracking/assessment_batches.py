"""Store many new assessments in one transaction."""

from collections.abc import Iterable, Iterator

from sqlalchemy.orm import Session

from mlflow.entities import Assessment
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.store.tracking.dbmodels.models import SqlAssessments, SqlTraceInfo
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.store.tracking.utils.sql_trace_rollups import (
    RollupFamily,
    enqueue_rollup_rebuild_partitions,
)

# SQLite binds at most 999 values in the versions that MLflow supports.
_IDS_PER_STATEMENT = 500

# Trace id -> experiment and time, which an assessment repeats of its trace.
_Places = dict[str, tuple[int, int]]


def create_assessments(store: SqlAlchemyStore, assessments: list[Assessment]) -> None:
    """Store all of the assessments or none.

    Args:
        store: Where their traces are.
        assessments: New ones, none of which overrides another.

    Raises:
        MlflowException: A trace is not there, or the database refuses.
    """
    trace_ids = sorted({assessment.trace_id for assessment in assessments})
    with store.ManagedSessionMaker(read_only=False) as session:
        seen = _places(store, session, trace_ids)
        # MLflow's order: keys of the rollup queue first, rows of traces after them.
        enqueue_rollup_rebuild_partitions(session, _partitions(seen.values()))
        places = _places(store, session, trace_ids, for_update=True)
        if missing := [each for each in trace_ids if each not in places]:
            raise MlflowException(f"Trace {missing[0]!r} is gone", RESOURCE_DOES_NOT_EXIST)
        if places != seen:
            raise MlflowException("A trace was moved meanwhile")
        for assessment in assessments:
            row = SqlAssessments.from_mlflow_entity(assessment)
            row.experiment_id, row.trace_timestamp_ms = places[assessment.trace_id]
            session.add(row)


def _places(
    store: SqlAlchemyStore, session: Session, trace_ids: list[str], for_update: bool = False
) -> _Places:
    # In the order of ids, so that two writers cannot wait for each other.
    found = {}
    for begin in range(0, len(trace_ids), _IDS_PER_STATEMENT):
        some = trace_ids[begin : begin + _IDS_PER_STATEMENT]
        query = (
            store._trace_query(session, for_update_or_delete=for_update)
            .filter(SqlTraceInfo.request_id.in_(some))
            .order_by(SqlTraceInfo.request_id)
            .with_entities(
                SqlTraceInfo.request_id, SqlTraceInfo.experiment_id, SqlTraceInfo.timestamp_ms
            )
        )
        found |= {trace_id: (experiment_id, ms) for trace_id, experiment_id, ms in query}
    return found


def _partitions(
    places: Iterable[tuple[int, int]],
) -> Iterator[tuple[RollupFamily, int, list[int]]]:
    for experiment_id, timestamp_ms in places:
        yield RollupFamily.ASSESSMENT, experiment_id, [timestamp_ms]
