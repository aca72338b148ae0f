"""What a fleet does periodically is done once for each due time, whoever leads then."""

from collections import Counter

import pytest

from mlflow.server.jobs import server_tasks as module
from mlflow.server.jobs.periodic import PeriodicTasks
from mlflow.server.jobs.server_tasks import server_tasks
from tests.server.jobs.test_periodic import next_term, on_the_spot, pass_time

HOUR_MS = 3_600_000


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """How often each task ran; what it would do is left out."""
    config = tmp_path / "archival.yaml"
    config.write_text(
        "trace_archival:\n"
        "  enabled: true\n"
        f"  location: {tmp_path.as_uri()}/archive\n"
        "  retention: 30d\n"
        "  interval_seconds: 7200\n"
    )
    monkeypatch.setenv("MLFLOW_TRACE_ARCHIVAL_CONFIG", str(config))
    monkeypatch.setenv("MLFLOW_SQL_TRACE_ROLLUPS_ENABLED", "true")
    monkeypatch.setattr(module, "initialize_periodic_tasks_tracking_store", lambda: None)
    runs = Counter()

    def count(name):
        return lambda *_, **__: runs.update([name])

    monkeypatch.setattr(module, "_run_trace_archival_scheduler", count("archival"))
    monkeypatch.setattr(module, "run_sql_trace_rollup_scheduler", count("rollups"))
    monkeypatch.setattr(module, "submit_due_detections", count("issue schedules"))
    return runs


@pytest.fixture
def make_replica(job_store, clock, monkeypatch):
    monkeypatch.setattr(job_store, "has_tagged_experiment", lambda _: True)

    def make() -> PeriodicTasks:
        return PeriodicTasks(
            job_store, clock, server_tasks(job_store, None, lambda _: None), on_the_spot
        )

    return make


@pytest.mark.parametrize("changes", ["never", "each time", "each time, to a new server"])
def test_a_change_of_leader_repeats_nothing_and_skips_nothing(
    job_store, clock, runs, make_replica, term, changes
):
    day_ms = 24 * HOUR_MS
    job_store.clock_offset_ms += day_ms - job_store.now_ms() % day_ms + 1000
    term = next_term(job_store, term, "first")
    fleet = [make_replica(), make_replica()]

    # A day, from midnight, in steps of ten minutes.
    for step in range(24 * 6):
        leader = fleet[0]
        if changes != "never":
            leader = make_replica() if changes.endswith("server") else fleet[step % 2]
            term = next_term(job_store, term, f"replica {step}")
        leader.begin_due(term)
        pass_time(job_store, clock, 600)

    # The archival's own interval is two hours; rollups are due at two o'clock.
    assert runs == {"archival": 12, "rollups": 1, "issue schedules": 24 * 4}
