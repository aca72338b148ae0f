"""Cron fields, their union and their refusals."""

from datetime import datetime, timedelta, timezone

import pytest

from mlflow.server.jobs.cron import crontab


def ms(*args: int) -> int:
    return int(datetime(*args, tzinfo=timezone.utc).timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("5", [5]),
        ("05", [5]),
        ("1,2,59", [1, 2, 59]),
        ("10-20/3", [10, 13, 16, 19]),
        ("*/20", [0, 20, 40]),
        ("*/61", [0]),
        ("50-5/4", [2, 50, 54, 58]),
        ("58-1,30", [0, 1, 30, 58, 59]),
    ],
)
def test_a_field_is_a_list_of_numbers_ranges_and_steps(text, values):
    due = crontab(minute=text)
    assert [m for m in range(60) if due(datetime(2024, 2, 1, 3, m))] == values


@pytest.mark.parametrize(
    ("text", "weekdays"),
    [
        ("0", [0]),
        ("7", [0]),
        ("1-5", [1, 2, 3, 4, 5]),
        ("5-7", [0, 5, 6]),
        ("7-2", [0, 1, 2]),
        ("5-1", [0, 1, 5, 6]),
        ("0-7", [0, 1, 2, 3, 4, 5, 6]),
        ("5-1/2", [0, 5]),
    ],
)
def test_zero_and_seven_are_sunday_also_within_ranges(text, weekdays):
    due = crontab(day_of_week=text)
    sunday = datetime(2024, 2, 4)
    assert [n for n in range(7) if due(sunday + timedelta(days=n))] == weekdays


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("minute", "60"),
        ("minute", "-1"),
        ("minute", ""),
        ("minute", "1,"),
        ("minute", "*/0"),
        ("minute", "0-60"),
        ("minute", "5/10"),
        ("minute", " 5"),
        ("minute", "x"),
        ("minute", "1-2-3"),
        ("minute", "٣"),
        ("hour", "24"),
        ("day", "0"),
        ("day", "L"),
        ("month", "13"),
        ("month", "JAN"),
        ("day_of_week", "8"),
        ("day_of_week", "MON"),
        ("day_of_week", "*/2"),
        ("day_of_week", "1#2"),
    ],
)
def test_any_other_field_is_refused_by_name(field, text):
    with pytest.raises(ValueError, match=field):
        crontab(**{field: text})


def test_day_and_weekday_must_both_match():
    friday_the_13th = crontab(day="13", day_of_week="5")
    assert friday_the_13th(datetime(2024, 9, 13))
    assert not friday_the_13th(datetime(2024, 9, 20))
    assert not friday_the_13th(datetime(2024, 8, 13))


@pytest.mark.parametrize(
    ("fields", "now", "latest"),
    [
        ({"minute": "0", "hour": "2"}, ms(2024, 3, 1, 2, 0), ms(2024, 3, 1, 2, 0)),
        ({"minute": "0", "hour": "2"}, ms(2024, 3, 1, 1, 59, 59), ms(2024, 2, 29, 2, 0)),
        ({"minute": "*/15"}, ms(2024, 3, 1, 0, 14, 59), ms(2024, 3, 1, 0, 0)),
        ({"minute": "30", "hour": "22-2"}, ms(2024, 3, 1, 3, 0), ms(2024, 3, 1, 2, 30)),
        (
            {"minute": "0", "hour": "0", "day": "29", "month": "2", "day_of_week": "1"},
            ms(2026, 1, 1),
            ms(2016, 2, 29),
        ),
        ({"day": "31", "month": "2"}, ms(2026, 1, 1), None),
    ],
)
def test_the_latest_due_instant_is_not_after_now(fields, now, latest):
    assert crontab(**fields).latest_ms(now) == latest
