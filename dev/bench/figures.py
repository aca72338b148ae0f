"""Medians and ranges of repeated measurements, as a table and as JSON."""

import statistics
from collections.abc import Mapping, Sequence

# Contender -> figure -> what each round measured; None where it could not.
Measured = dict[str, dict[str, list[float | None]]]


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest measured value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * percent // 100).__int__() - 1)]


def add(measured: Measured, contender: str, figures: Mapping[str, float | None]) -> None:
    """Append one round's figures."""
    for name, value in figures.items():
        measured.setdefault(contender, {}).setdefault(name, []).append(value)


def summary(measured: Measured) -> dict[str, dict[str, dict[str, float | list[float | None]]]]:
    """Contender -> figure -> its median, least, greatest, and all rounds."""
    return {
        contender: {
            name: {**_spread([each for each in values if each is not None]), "rounds": values}
            for name, values in figures.items()
        }
        for contender, figures in measured.items()
    }


def table(title: str, measured: Measured) -> str:
    """One line for each figure, one column for each contender: median [least-greatest]."""
    contenders = [*measured]
    names = [*dict.fromkeys(name for each in measured.values() for name in each)]
    rows = [["", *contenders]]
    for name in names:
        rows.append([name, *(_cell(measured[each].get(name, [])) for each in contenders)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([title, "=" * len(title), *lines, ""])


def _cell(values: Sequence[float | None]) -> str:
    present = [each for each in values if each is not None]
    if not present:
        return "-"
    middle = _short(statistics.median(present))
    if len(present) == 1:
        return middle
    return f"{middle} [{_short(min(present))}-{_short(max(present))}]"


def _spread(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {"median": statistics.median(values), "least": min(values), "greatest": max(values)}


def _short(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
