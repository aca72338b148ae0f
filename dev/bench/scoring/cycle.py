"""Cycles of discovery in a process of their own, ours or stock's, as asked for on stdin.

python -m dev.bench.scoring.cycle ours|stock URI

Each line of stdin asks for one cycle and is answered by a line of JSON: the seconds and the SQL
statements that it took. The line `look ID` asks stock for what the job of that experiment does
before it scores: stock's jobs find their traces themselves.
"""

import json
import sys
import time
from collections.abc import Callable

from sqlalchemy import event
from sqlalchemy.engine import Engine

_BUFFER_SECONDS = 300.0


class Counter:
    """Counts the statements of all engines of this process."""

    def __init__(self) -> None:
        self.statements = 0
        event.listen(Engine, "before_cursor_execute", self._count)

    def _count(self, *_: object) -> None:
        self.statements += 1


def ours(uri: str) -> Callable[[str], None]:
    """The cycle of a leader of this fork."""
    from mlflow.server.jobs.discovery.online_scoring import OnlineScoringDiscovery
    from mlflow.server.jobs.settings import JobSettings
    from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    class LocalOnly:
        def route(self, *_: object) -> str:
            return "local"

    store = SqlAlchemyJobStore(uri)
    discovery = OnlineScoringDiscovery(
        SqlAlchemyStore(uri, "mlflow-artifacts:/"),
        store,
        JobSettings(),
        LocalOnly(),
        trace_buffer_seconds=_BUFFER_SECONDS,
        session_buffer_seconds=_BUFFER_SECONDS,
    )
    term = store.acquire_scheduler_lease("scheduler", "bench", 86_400)
    return lambda _: discovery.run(term)


def stock(uri: str) -> Callable[[str], None]:
    """The scheduler's pass of stock, and a look of one of the jobs that it submits."""
    from mlflow.genai.scorers.job import run_online_scoring_scheduler
    from mlflow.genai.scorers.online import OnlineTraceScoringProcessor
    from mlflow.server.handlers import _get_tracking_store

    store = _get_tracking_store(uri, "mlflow-artifacts:/")
    scorers = {each.online_config.experiment_id: each for each in store.get_active_online_scorers()}

    def look(experiment_id: str) -> None:
        processor = OnlineTraceScoringProcessor.create(
            experiment_id, [scorers[experiment_id]], store
        )
        # What it finds is neither loaded nor scored.
        processor._trace_loader.fetch_traces = lambda _: []
        processor.process_traces()

    def run(asked: str) -> None:
        verb, _, experiment_id = asked.partition(" ")
        if verb == "look":
            look(experiment_id)
        else:
            run_online_scoring_scheduler()

    return run


def main() -> None:
    which, uri = sys.argv[1:]
    run = {"ours": ours, "stock": stock}[which](uri)
    counter = Counter()
    print("ready", flush=True)
    for line in sys.stdin:
        counter.statements = 0
        began = time.perf_counter()
        run(line.strip())
        seconds = time.perf_counter() - began
        print(json.dumps({"seconds": seconds, "statements": counter.statements}), flush=True)


if __name__ == "__main__":
    main()
