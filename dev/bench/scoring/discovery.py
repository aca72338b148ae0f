"""What a cycle of discovery costs, by the numbers of experiments and of traces.

Every experiment has a judge that is switched on. All contenders are measured on one database, which
is put back between them; for each, one process looks again and again, as a leader or as stock's
process of periodic tasks does:

- when nothing is new, at first and when it knows everything already;
- when each experiment has one new trace, until no look finds another.

In stock a cycle only submits a job for each experiment, new traces or not. What such a job looks
for is measured apart, for a few of them, without the start of its process.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dev.bench.databases import Databases
from dev.bench.figures import Measured
from dev.bench.rounds import alternate, progress
from dev.bench.scoring.rows import Rows, Times, experiment_ids, rows_of
from dev.bench.sizes import DiscoverySizes
from dev.serving import clean_environment
from dev.testing.releases import release_env
from mlflow.entities import GatewayEndpointModelConfig, GatewayModelLinkageType
from mlflow.genai.judges import make_judge
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

_MINUTE_MS = 60_000
_OLD, _NEW = "old-", "new-"
_STOCK = "3.18.0"


def contest(
    databases: Databases,
    kind: str,
    sizes: DiscoverySizes,
    rounds: int,
    only: list[str] | None = None,
) -> dict[str, Measured]:
    """Measure ours and stock in turn; one table for each number of traces."""
    measured = {}
    for traces in sizes.traces:
        progress(f"{traces:,} traces on {kind}")
        with databases.empty(kind) as uri, _filled(uri, traces, max(sizes.experiments)) as rows:
            measured[f"{traces:,} traces"] = alternate(
                {
                    f"{name}, {count:,}": lambda name=name, count=count: measure(
                        name, uri, rows, count, sizes.looks
                    )
                    for count in sizes.experiments
                    for name in ("ours", "stock")
                    if only is None or name in only
                },
                rounds,
            )
    return measured


def measure(name: str, uri: str, rows: Rows, experiments: int, looks: int) -> dict[str, float]:
    """One round of one contender."""
    now_ms = int(time.time() * 1000)
    rows.forget_jobs()
    rows.forget_traces(_NEW)
    rows.switch_on(experiments)
    rows.set_checkpoints(experiments, now_ms - 29 * _MINUTE_MS)
    rows.tell_planner()
    figures = {}
    with _cycles(name, uri) as ask:
        _note(figures, "first cycle, nothing new", ask("cycle"))
        before = rows.count("jobs")
        _note(figures, "nothing new", ask("cycle"))
        figures["nothing new: job rows"] = rows.count("jobs") - before
        rows.add_traces(_NEW, experiments, experiments, Times(now_ms - 10 * _MINUTE_MS, 1), False)
        before, cycles = rows.count("jobs"), []
        while not cycles or (name == "ours" and rows.count("jobs") < before + experiments):
            cycles.append(ask("cycle"))
        _note(figures, "a new trace in each", _sum(cycles))
        figures["a new trace in each: cycles"] = len(cycles)
        figures["a new trace in each: job rows"] = rows.count("jobs") - before
        if name == "stock":
            asked = experiment_ids(experiments)[:looks]
            spent = _sum([ask(f"look {each}") for each in asked])
            figures["look of a job, ms"] = 1000 * spent["seconds"] / len(asked)
            figures["look of a job: statements"] = spent["statements"] / len(asked)
    return figures


@contextmanager
def _filled(uri: str, traces: int, experiments: int) -> Iterator[Rows]:
    SqlAlchemyJobStore(uri).engine.dispose()
    with rows_of(uri) as rows:
        rows.add_experiments(experiments, _serialized_judge(uri), "polite")
        now_ms = int(time.time() * 1000)
        week_ms = 7 * 24 * 60 * _MINUTE_MS
        times = Times(now_ms - 30 * _MINUTE_MS - week_ms, week_ms / traces)
        rows.add_traces(_OLD, traces, experiments, times, False)
        yield rows


def _serialized_judge(uri: str) -> str:
    """A judge as the tracking store keeps it, with a gateway endpoint to name."""
    store = SqlAlchemyStore(uri, "mlflow-artifacts:/")
    secret = store.create_gateway_secret("key", {"api_key": "unused"}, provider="openai")
    model = store.create_gateway_model_definition("model", secret.secret_id, "openai", "gpt")
    config = GatewayEndpointModelConfig(
        model_definition_id=model.model_definition_id,
        linkage_type=GatewayModelLinkageType.PRIMARY,
    )
    endpoint = store.create_gateway_endpoint("endpoint", [config], usage_tracking=False)
    model_uri = f"gateway:/{endpoint.endpoint_id}"
    judge = make_judge("polite", "Is {{ outputs }} polite?", model=model_uri)
    store.engine.dispose()
    return json.dumps(judge.model_dump())


@contextmanager
def _cycles(name: str, uri: str) -> Iterator:
    with tempfile.TemporaryDirectory(prefix="mlflow-bench-") as queues:
        env = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
        if name == "stock":
            env |= release_env(_STOCK)
            env |= {"_MLFLOW_SERVER_FILE_STORE": uri, "_MLFLOW_HUEY_STORAGE_PATH": queues}
        process = subprocess.Popen(
            [sys.executable, "-m", "dev.bench.scoring.cycle", name, uri],
            env=clean_environment(env),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            process.stdout.readline()

            def ask(what: str) -> dict[str, float]:
                print(what, file=process.stdin, flush=True)
                answer = process.stdout.readline()
                if not answer:
                    raise RuntimeError(f"The process of {name} has ended at {what!r}")
                return json.loads(answer)

            yield ask
        finally:
            process.stdin.close()
            process.wait(60)


def _sum(spent: Sequence[dict[str, float]]) -> dict[str, float]:
    return {name: sum(each[name] for each in spent) for name in ("seconds", "statements")}


def _note(figures: dict[str, float], title: str, spent: dict[str, float]) -> None:
    figures[f"{title}, s"] = spent["seconds"]
    figures[f"{title}: statements"] = spent["statements"]
