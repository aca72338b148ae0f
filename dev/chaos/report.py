"""A fleet's run as one table."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.table import Table

from dev.chaos.findings import KINDS, Findings
from dev.chaos.recoveries import Recovery

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
    for row in _recovery_rows(found.recoveries):
        table.add_row(*row)
    # Made here: the standard output of a test is another one each time.
    console = Console(highlight=False, soft_wrap=True, width=_WIDTH)
    console.print(table)
    for sentence in found.broken[:_MOST_SENTENCES]:
        console.print(sentence, markup=False)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))


def _recovery_rows(recoveries: list[Recovery]) -> Iterator[tuple[str, str]]:
    """Until the jobs were free; then for each way, and from each stage to the next."""
    hindered = [each.free_ms for each in recoveries if each.hindered]
    recoveries = [each for each in recoveries if not each.hindered]
    yield "time to recover", _times(each.free_ms for each in recoveries)
    yield "  with nobody or no database there", _times(hindered)
    ways: dict[str, list[int]] = defaultdict(list)
    for each in recoveries:
        ways[f"{each.way}, {'leader' if each.led else 'follower'}"].append(each.free_ms)
    for way, times_ms in sorted(ways.items()):
        yield f"  {way}", _times(times_ms)
    marked = [each for each in recoveries if each.marked_ms is not None]
    again = [each for each in marked if each.claimed_ms is not None]
    at_work = [each for each in again if each.at_work_ms is not None]
    yield "  from the fault to the mark (T9)", _times(each.marked_ms for each in marked)
    yield "  to being free (T12, T13)", _times(each.free_ms - each.marked_ms for each in marked)
    yield "  to the next claim (T2)", _times(each.claimed_ms - each.free_ms for each in again)
    yield "  to work", _times(each.at_work_ms - each.claimed_ms for each in at_work)


def _times(times_ms: Iterable[int]) -> str:
    ordered = sorted(times_ms)
    if not ordered:
        return "-"
    p50, longest = ordered[len(ordered) // 2] / 1000, ordered[-1] / 1000
    return f"p50 {p50:.1f} s, max {longest:.1f} s, of {len(ordered)} jobs"
