"""The two levels of online scoring, traces and sessions: all that tells them apart."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mlflow.genai.scorers.job import (
    ONLINE_SESSION_SCORER_JOB_NAME,
    ONLINE_TRACE_SCORER_JOB_NAME,
)
from mlflow.genai.scorers.online.constants import MAX_SESSIONS_PER_JOB, MAX_TRACES_PER_JOB
from mlflow.server.jobs.discovery.batches import Candidate, Position
from mlflow.server.jobs.discovery.waiting_sessions import position_of, waiting_sessions
from mlflow.server.jobs.discovery.waiting_traces import waiting_traces
from mlflow.store.tracking.abstract_store import AbstractStore
from mlflow.utils.mlflow_tags import (
    MLFLOW_LATEST_ONLINE_SCORING_SESSION_CHECKPOINT,
    MLFLOW_LATEST_ONLINE_SCORING_TRACE_CHECKPOINT,
)

# Store, experiment id, position to begin after, end of the window, filter.
Waiting = Callable[[AbstractStore, str, Position, int, str | None], Iterator[Candidate]]


@dataclass(frozen=True)
class Level:
    """What is scored one by one.

    Attributes:
        unit: What users call it.
        job_name: The job that scores a batch.
        tag: The experiment's tag that holds the checkpoint.
        id_key: The id in the checkpoint.
        max_entries: Most entries of one batch.
        waiting: What passes a filter after a position, in order.
    """

    unit: str
    job_name: str
    tag: str
    id_key: str
    max_entries: int
    waiting: Waiting

    @property
    def is_session_level(self) -> bool:
        """Whether its scorers are the session-level ones."""
        return self is SESSIONS


def trace_candidate(position: Position) -> Candidate:
    """A trace as what may have to be scored."""
    return Candidate(position, {"trace_id": position.entity_id})


def _traces(store, experiment_id, after, before_ms, filter_string) -> Iterator[Candidate]:
    for position in waiting_traces(store, experiment_id, after, before_ms, filter_string):
        yield trace_candidate(position)


def _sessions(store, experiment_id, after, before_ms, filter_string) -> Iterator[Candidate]:
    for session in waiting_sessions(store, experiment_id, after, before_ms, filter_string):
        name = {
            "session_id": session.session_id,
            "first_trace_timestamp_ms": session.first_trace_timestamp_ms,
            "last_trace_timestamp_ms": session.last_trace_timestamp_ms,
        }
        yield Candidate(position_of(session), name)


TRACES = Level(
    unit="traces",
    job_name=ONLINE_TRACE_SCORER_JOB_NAME,
    tag=MLFLOW_LATEST_ONLINE_SCORING_TRACE_CHECKPOINT,
    id_key="trace_id",
    max_entries=MAX_TRACES_PER_JOB,
    waiting=_traces,
)

SESSIONS = Level(
    unit="sessions",
    job_name=ONLINE_SESSION_SCORER_JOB_NAME,
    tag=MLFLOW_LATEST_ONLINE_SCORING_SESSION_CHECKPOINT,
    id_key="session_id",
    max_entries=MAX_SESSIONS_PER_JOB,
    waiting=_sessions,
)

LEVELS = (TRACES, SESSIONS)
CHECKPOINT_TAGS = tuple(level.tag for level in LEVELS)
