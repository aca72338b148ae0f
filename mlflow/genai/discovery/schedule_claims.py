"""How the state of a detection schedule is written: as any tag is, or as the leader may.

A pass over the schedules claims an occurrence by writing it down. It knows no leader; whoever has
it run for one says how that is done.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mlflow.entities import ExperimentTag
from mlflow.store.tracking.abstract_store import AbstractStore

WriteTag = Callable[[AbstractStore, str, ExperimentTag], None]


def _as_anybody(store: AbstractStore, experiment_id: str, tag: ExperimentTag) -> None:
    store.set_experiment_tag(experiment_id, tag)


_write: ContextVar[WriteTag] = ContextVar("write_schedule_state", default=_as_anybody)


@contextmanager
def written_by(write: WriteTag) -> Iterator[None]:
    """Within, states are written on this thread by what is given."""
    token = _write.set(write)
    try:
        yield
    finally:
        _write.reset(token)


def write_state(store: AbstractStore, experiment_id: str, tag: ExperimentTag) -> None:
    """Write the state that this tag holds."""
    _write.get()(store, experiment_id, tag)
