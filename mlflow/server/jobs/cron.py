"""Five-field UTC cron schedules, as MLflow's rollup schedule is written, matched by croniter. Pure.

croniter reads more than MLflow does (names, `L`, `#`, a step behind a single number), so fields are
read here, strictly, and handed to it as plain lists. All five must match: a day of the month AND a
weekday, where classic cron takes either. A range may wrap (`22-2`), and Sunday is 0 and 7.
"""

import re
from datetime import datetime, timedelta, timezone

from croniter import CroniterBadDateError, croniter

_TERM = re.compile(
    r"(?:(?P<all>\*)|(?P<first>\d{1,2})(?:-(?P<last>\d{1,2}))?)(?:/(?P<step>\d{1,4}))?", re.ASCII
)
_BOUNDS = {
    "minute": (0, 59),
    "hour": (0, 23),
    "day": (1, 31),
    "month": (1, 12),
    "day_of_week": (0, 7),
}


class Crontab:
    """When a schedule is due."""

    def __init__(self, expression: str) -> None:
        """
        Args:
            expression: Five fields of numbers and commas; weekdays count from Sunday, 0 to 6.
        """
        self._expression = expression

    def __call__(self, at: datetime) -> bool:
        """Whether the schedule is due in the minute of `at`, which is UTC."""
        return croniter.match(self._expression, at, day_or=False)

    def latest_ms(self, now_ms: int) -> int | None:
        """The last due instant that is not after `now_ms`; None when there never was one.

        Args:
            now_ms: Epoch milliseconds.
        """
        now = datetime.fromtimestamp(now_ms / 1000, tz=timezone.utc)
        # croniter answers what is before its start, and this minute counts.
        start = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
        try:
            due_at = croniter(self._expression, start, day_or=False).get_prev(datetime)
        except CroniterBadDateError:
            return None
        return int(due_at.timestamp()) * 1000


def crontab(
    minute: str = "*",
    hour: str = "*",
    day: str = "*",
    month: str = "*",
    day_of_week: str = "*",
    strict: bool = True,
) -> Crontab:
    """Parse the five fields of a schedule: lists of `*`, `*/step`, `n`, `n-m` and `n-m/step`.

    Args:
        minute: 0 to 59.
        hour: 0 to 23.
        day: Day of the month, 1 to 31.
        month: 1 to 12.
        day_of_week: 0 to 7; a step over `*` is refused here.
        strict: Accepted for callers of other parsers; a bad field is always refused.

    Raises:
        ValueError: A field holds something else; the message names field and text.
    """
    fields = {
        "minute": minute,
        "hour": hour,
        "day": day,
        "month": month,
        "day_of_week": day_of_week,
    }
    return Crontab(" ".join(_plain(name, text) for name, text in fields.items()))


def _plain(name: str, text: str) -> str:
    if text == "*":
        return text
    return ",".join(str(value) for term in text.split(",") for value in _values(name, term))


def _values(name: str, term: str) -> list[int]:
    lowest, highest = _BOUNDS[name]
    found = _TERM.fullmatch(term)
    if found is None:
        raise ValueError(f"{name} has {term!r}, which is not a cron term")
    first = lowest if found["all"] else int(found["first"])
    last = highest if found["all"] else int(found["last"] or found["first"])
    if not all(lowest <= value <= highest for value in (first, last)):
        raise ValueError(f"{name} has {term!r}, outside {lowest} to {highest}")
    values = [*range(first, last + 1)] or [*range(first, highest + 1), *range(lowest, last + 1)]
    if name == "day_of_week":
        # 7 is 0 again, and is counted once.
        values = [*dict.fromkeys(value % 7 for value in values)]
    if found["step"] is None:
        return values
    if name == "day_of_week" and found["all"]:
        raise ValueError(f"{name} has {term!r}, but cannot take a step over every day")
    if not (found["all"] or found["last"]):
        raise ValueError(f"{name} has {term!r}, but a step needs a range")
    if int(found["step"]) == 0:
        raise ValueError(f"{name} has {term!r}, but a step is at least 1")
    return values[:: int(found["step"])]
