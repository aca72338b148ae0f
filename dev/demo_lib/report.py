"""The demo's table."""

from datetime import datetime, timezone
from typing import Any

from rich.console import Console
from rich.table import Table

from dev.demo_lib.observed import Observed


def print_report(console: Console, seen: Observed, scorer_name: str) -> None:
    """Prints the scoring jobs and, below them, what they left behind."""
    jobs = Table(title="Online scoring jobs", title_justify="left")
    for heading in ("job", "state", "duration", "traces scored", "assessments"):
        jobs.add_column(heading)
    for job in seen.jobs:
        result = job["result"] if isinstance(job["result"], dict) else {}
        jobs.add_row(
            job["job_id"][:8],
            job["status"],
            _duration(job),
            str(result.get("traces_scored", "-")),
            str(result.get("assessments", "-")),
        )
    console.print(jobs)

    values = ", ".join(f"{value}: {count}" for value, count in sorted(seen.values.items()))
    found = Table(title="Read back over HTTP", title_justify="left", show_header=False)
    found.add_row("traces", str(seen.traces))
    found.add_row(f"assessments '{scorer_name}'", f"{seen.values.total()}  ({values})")
    found.add_row("traces with exactly one", str(seen.scored))
    found.add_row("checkpoint", _checkpoint(seen.checkpoint))
    console.print(found)


def _duration(job: dict[str, Any]) -> str:
    return f"{(job['last_update_time'] - job['creation_time']) / 1000:.1f} s"


def _checkpoint(checkpoint: dict[str, Any] | None) -> str:
    if checkpoint is None:
        return "none"
    moment = datetime.fromtimestamp(checkpoint["timestamp_ms"] / 1000, tz=timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC, trace {checkpoint.get('trace_id') or '-'}"
