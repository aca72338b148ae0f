"""An operator is told when scoring is behind, not too often, and when it has caught up."""

import logging

import pytest

from mlflow.server.jobs.discovery.backlog import Backlog, BacklogReport, backlog_of

MINUTE_MS = 60_000
NOW = 100 * MINUTE_MS
BEHIND = Backlog(experiments=2, oldest_ms=0, experiment_id="7")


@pytest.fixture
def told(caplog):
    caplog.set_level(logging.INFO, logger="mlflow.server.jobs.discovery.backlog")
    return lambda: caplog.messages


def test_a_backlog_counts_experiments_and_names_the_furthest():
    waiting = [("1", NOW - MINUTE_MS), ("2", 30 * MINUTE_MS), ("7", 0), ("7", 50 * MINUTE_MS)]

    assert backlog_of(waiting, NOW) == BEHIND


def test_what_waits_for_minutes_only_is_no_backlog():
    assert backlog_of([("1", NOW - 15 * MINUTE_MS)], NOW) == Backlog()


def test_the_second_cycle_behind_is_told_and_then_every_quarter_of_an_hour(told):
    report = BacklogReport()

    for minute in range(31):
        report.note(BEHIND, NOW + minute * MINUTE_MS)

    assert len(told()) == 2
    assert (
        "in 2 experiment(s); furthest in experiment 7, where what came since 1970-01-01"
        in told()[0]
    )


def test_one_cycle_behind_is_nothing_to_tell(told):
    report = BacklogReport()

    for minute in range(6):
        report.note(BEHIND if minute % 2 else Backlog(), NOW + minute * MINUTE_MS)

    assert told() == []


def test_having_caught_up_is_told_once(told):
    report = BacklogReport()

    for backlog in (BEHIND, BEHIND, Backlog(), Backlog()):
        report.note(backlog, NOW)

    assert told()[1:] == ["Online scoring has caught up in all experiments"]
