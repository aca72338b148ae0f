"""Experiments with scorers, and traces by the million, by bulk SQL into MLflow's own tables."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy
from sqlalchemy import BigInteger, String, Table, bindparam, cast, func, literal, select

from dev.bench.rounds import progress
from dev.serving import clean_environment

CHECKPOINT_TAG = "mlflow.latestOnlineScoring.trace.checkpoint"
_FIRST_EXPERIMENT = 1_001
_CHUNK = 100_000
_WHOLE_TRACE = {
    "trace_info": "request_id",
    "trace_tags": "request_id",
    "trace_request_metadata": "request_id",
    "spans": "trace_id",
}
_TRACE_WITHOUT_SPANS = {
    name: key for name, key in _WHOLE_TRACE.items() if name in ("trace_info", "trace_tags")
}


@dataclass(frozen=True)
class Times:
    """When traces came: the first, and how far apart; milliseconds."""

    begin_ms: int
    apart_ms: float


class Rows:
    """The rows of one database."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self._engine = engine
        self._tables = sqlalchemy.MetaData()
        self._tables.reflect(engine)
        self._template: str | None = None

    def add_experiments(self, count: int, serialized_scorer: str, name: str) -> None:
        """Make experiments that each have one online scorer, switched on."""
        ids = [_FIRST_EXPERIMENT + number for number in range(count)]
        now_ms = int(time.time() * 1000)
        rows = {
            "experiments": [
                {
                    "experiment_id": each,
                    "name": f"scored-{each}",
                    "artifact_location": f"mlflow-artifacts:/{each}",
                    "lifecycle_stage": "active",
                    "creation_time": now_ms,
                    "last_update_time": now_ms,
                    "workspace": "default",
                }
                for each in ids
            ],
            "scorers": [
                {"experiment_id": each, "scorer_name": name, "scorer_id": f"scorer-{each}"}
                for each in ids
            ],
            "scorer_versions": [
                {
                    "scorer_id": f"scorer-{each}",
                    "scorer_version": 1,
                    "serialized_scorer": serialized_scorer,
                    "creation_time": now_ms,
                }
                for each in ids
            ],
            "online_scoring_configs": [
                {
                    "online_scoring_config_id": f"config-{each}",
                    "scorer_id": f"scorer-{each}",
                    "sample_rate": 1.0,
                    "experiment_id": each,
                }
                for each in ids
            ],
        }
        with self._engine.begin() as connection:
            for table, values in rows.items():
                connection.execute(self._table(table).insert(), values)

    def switch_on(self, count: int) -> None:
        """Let the first experiments' scorers be switched on, and no others'."""
        configs = self._table("online_scoring_configs")
        first_off = _FIRST_EXPERIMENT + count
        rate = sqlalchemy.case((configs.c.experiment_id < first_off, 1.0), else_=0.0)
        with self._engine.begin() as connection:
            connection.execute(configs.update().values(sample_rate=rate))

    def set_checkpoints(self, count: int, timestamp_ms: int) -> None:
        """Let all of the first experiments' traces up to this time have been looked at."""
        tags = self._table("experiment_tags")
        value = json.dumps({"timestamp_ms": timestamp_ms, "trace_id": None})
        with self._engine.begin() as connection:
            connection.execute(tags.delete().where(tags.c.key.like("mlflow.latestOnline%")))
            connection.execute(
                tags.insert(),
                [
                    {
                        "key": CHECKPOINT_TAG,
                        "value": value,
                        "experiment_id": _FIRST_EXPERIMENT + number,
                    }
                    for number in range(count)
                ],
            )

    def add_traces(
        self, prefix: str, count: int, experiments: int, times: Times, with_spans: bool
    ) -> None:
        """Copy a trace so often, in turn into each of the experiments.

        Args:
            prefix: Begin of the ids.
            count: How many.
            experiments: Into how many experiments.
            times: When they came.
            with_spans: Whole traces; else what a search reads of them.
        """
        template = self._template = self._template or self._traced()
        tables = _WHOLE_TRACE if with_spans else _TRACE_WITHOUT_SPANS
        for begin in range(0, count, _CHUNK):
            end = min(begin + _CHUNK, count)
            with self._engine.begin() as connection:
                for table, key in tables.items():
                    copied = _copies(
                        self._table(table), key, template, prefix, (begin, end), experiments, times
                    )
                    connection.execute(
                        self._table(table)
                        .insert()
                        .from_select(copied.selected_columns.keys(), copied)
                    )
            if count > _CHUNK:
                progress(f"    {end:,} of {count:,} traces")

    def forget_traces(self, prefix: str) -> None:
        """Delete the traces without spans that have this prefix."""
        with self._engine.begin() as connection:
            for name in reversed(_TRACE_WITHOUT_SPANS):
                table = self._table(name)
                connection.execute(
                    table.delete().where(table.c.request_id.between(prefix, prefix + "~"))
                )

    def forget_jobs(self) -> None:
        """Delete all jobs, and who leads."""
        with self._engine.begin() as connection:
            for name in ("job_locks", "jobs", "scheduler_leases"):
                connection.execute(self._table(name).delete())

    def count(self, table: str) -> int:
        """How many rows a table has."""
        with self._engine.connect() as connection:
            return connection.scalar(select(func.count()).select_from(self._table(table)))

    def tell_planner(self) -> None:
        """Let the database know how many rows there are."""
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("ANALYZE")

    def _table(self, name: str) -> Table:
        return self._tables.tables[name]

    def _traced(self) -> str:
        url = self._engine.url.render_as_string(hide_password=False)
        # What it writes there nobody reads: the spans are in the database.
        with tempfile.TemporaryDirectory(prefix="mlflow-bench-") as artifacts:
            run = subprocess.run(
                [sys.executable, "-m", "dev.bench.scoring.template", url, artifacts],
                env=clean_environment(),
                check=True,
                capture_output=True,
                text=True,
            )
        return run.stdout.split()[-1]


def _copies(
    table: Table,
    key: str,
    template: str,
    prefix: str,
    numbers: tuple[int, int],
    experiments: int,
    times: Times,
) -> sqlalchemy.Select:
    begin, end = numbers
    counted = select(literal(begin, BigInteger).label("number")).cte("numbers", recursive=True)
    counted = counted.union_all(select(counted.c.number + 1).where(counted.c.number < end - 1))
    number = counted.c.number
    trace_id = literal(prefix).concat(cast(number + 1_000_000_000, String(20)))
    columns = {column.name: column for column in table.c if not column.computed}
    columns[key] = trace_id
    if "experiment_id" in columns:
        columns["experiment_id"] = _FIRST_EXPERIMENT + func.mod(number, experiments)
    if "timestamp_ms" in columns:
        columns["timestamp_ms"] = cast(times.begin_ms + number * times.apart_ms, BigInteger)
    if "content" in columns:
        columns["content"] = func.replace(table.c.content, bindparam("id", template), trace_id)
    return (
        select(*(column.label(name) for name, column in columns.items()))
        .select_from(table.join(counted, sqlalchemy.true()))
        .where(table.c[key] == template)
    )


@contextmanager
def rows_of(uri: str) -> Iterator[Rows]:
    """The rows of a database that has its tables."""
    engine = sqlalchemy.create_engine(uri)
    try:
        yield Rows(engine)
    finally:
        engine.dispose()


def experiment_ids(count: int) -> Sequence[str]:
    """The ids of the first experiments."""
    return [str(_FIRST_EXPERIMENT + number) for number in range(count)]
