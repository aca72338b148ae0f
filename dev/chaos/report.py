"""A fleet's run as one table."""

from collections import Counter, defaultdict

from rich.console import Console
from rich.table import Table

from dev.chaos.findings import KINDS, Findings

_STATES = {
    0: "pending",
    1: "running",
    2: "succeeded",
    3: "failed",
    4: "timed out",
    5: "canceled",
    6: "in recovery",
}
_MOST_SENTENCES = 50
_WIDTH = 100


def print_findings(found: Findings, title: str, *more: tuple[str, str]) -> None:
    """Print a table, and below it every broken promise.

    Args:
        found: What the audit found.
        title: What was audited.
        more: Further rows.
    """
    table = Table(title=title, title_justify="left", show_header=False)
    for row in more:
        table.add_row(*row)
    table.add_row("faults", _listed(found.faults) or "none")
    states: dict[str, Counter[str]] = defaultdict(Counter)
    for (name, status), count in found.jobs.items():
        states[name.removeprefix("chaos_")][_STATES.get(status, str(status))] += count
    table.add_row("jobs", f"{found.jobs.total()}, in {found.attempts} attempts")
    for name, ends in sorted(states.items()):
        table.add_row(f"  {name}", _listed(ends))
    table.add_row("set aside by recovery", str(found.set_aside))
    for kind in KINDS:
        table.add_row(kind, str(len(found.problems[kind])))
    every = sorted(each for times in found.recoveries_ms.values() for each in times)
    table.add_row("time to recover", _times(every))
    for way, times_ms in sorted(found.recoveries_ms.items()):
        table.add_row(f"  {way}", _times(times_ms))
    # Made here: the standard output of a test is another one each time.
    console = Console(highlight=False, soft_wrap=True, width=_WIDTH)
    console.print(table)
    for sentence in found.broken[:_MOST_SENTENCES]:
        console.print(sentence, markup=False)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _times(times_ms: list[int]) -> str:
    if not times_ms:
        return "no job was under way on a runner that was taken"
    p50, longest = times_ms[len(times_ms) // 2] / 1000, times_ms[-1] / 1000
    return f"p50 {p50:.1f} s, max {longest:.1f} s, of {len(times_ms)} jobs"
