"""No due task is skipped or run twice by a change of leader, and none runs beside itself."""

import logging

import pytest

from mlflow.server.jobs.cron import crontab
from mlflow.server.jobs.periodic import DatabaseTime, Every, PeriodicTask, PeriodicTasks
from mlflow.store.jobs.errors import LeadershipLost
from mlflow.store.jobs.values import Term

MINUTE_MS = 60_000
SLOT_MS = 60 * MINUTE_MS
EVERY_MINUTE = Every(60)


@pytest.fixture
def runs():
    return []


@pytest.fixture(autouse=True)
def start_of_an_hour(job_store):
    job_store.clock_offset_ms += SLOT_MS - job_store.now_ms() % SLOT_MS + 1000


def on_the_spot(name, run):
    run()


@pytest.fixture
def make_tasks(job_store, clock, runs):
    """The part of one replica."""

    def make(schedule=EVERY_MINUTE, run=None, start=on_the_spot, **fields) -> PeriodicTasks:
        task = PeriodicTask("task", schedule, run or runs.append, **fields)
        return PeriodicTasks(job_store, clock, [task], start)

    return make


def pass_time(job_store, clock, seconds: float) -> None:
    job_store.clock_offset_ms += int(seconds * 1000)
    clock.advance(seconds)


def next_term(job_store, term: Term, holder: str) -> Term:
    job_store.release_scheduler_lease(term)
    return job_store.acquire_scheduler_lease(term.lease_key, holder, 100_000)


def test_a_task_runs_at_first_sight_and_then_once_per_due_instant(
    job_store, clock, make_tasks, runs, term
):
    tasks = make_tasks()
    assert tasks.begin_due(term) == ["task"]
    for _ in range(11):
        pass_time(job_store, clock, 5)
        tasks.begin_due(term)
    assert runs == [term]
    pass_time(job_store, clock, 5)
    tasks.begin_due(term)
    assert runs == [term, term]


def test_what_one_leader_ran_the_next_does_not_run_again(job_store, make_tasks, runs, term):
    make_tasks().begin_due(term)
    successor = next_term(job_store, term, "b")
    make_tasks().begin_due(successor)
    assert runs == [term]


def test_what_came_due_between_two_leaders_is_run_by_the_second(
    job_store, clock, make_tasks, runs, term
):
    make_tasks().begin_due(term)
    pass_time(job_store, clock, 61)
    successor = next_term(job_store, term, "b")
    make_tasks().begin_due(successor)
    assert runs == [term, successor]


def test_an_ex_leader_begins_nothing_and_keeps_nobody_from_it(job_store, make_tasks, runs, term):
    successor = next_term(job_store, term, "b")
    make_tasks().begin_due(term)
    assert runs == []
    make_tasks().begin_due(successor)
    assert runs == [successor]


def test_a_leader_that_was_refused_runs_the_task_when_it_leads_again(
    job_store, make_tasks, runs, term
):
    tasks = make_tasks()
    other = next_term(job_store, term, "b")
    assert tasks.begin_due(term) == []
    again = next_term(job_store, other, "a")
    assert tasks.begin_due(again) == ["task"]
    assert runs == [again]


def test_after_an_outage_only_the_latest_instant_is_made_up_for(
    job_store, clock, make_tasks, runs, term
):
    tasks = make_tasks()
    tasks.begin_due(term)
    pass_time(job_store, clock, 3600)
    tasks.begin_due(term)
    tasks.begin_due(term)
    assert len(runs) == 2


def test_a_cron_task_first_runs_at_the_first_instant_after_it_was_seen(
    job_store, clock, make_tasks, runs, term
):
    daily = crontab(minute="0", hour="2")
    make_tasks(daily, runs_at_first_sight=False).begin_due(term)
    assert runs == []
    pass_time(job_store, clock, 24 * 3600)
    make_tasks(daily, runs_at_first_sight=False).begin_due(term)
    assert len(runs) == 1


def test_a_task_that_still_runs_is_not_begun_again_and_is_due_afterwards(
    job_store, clock, make_tasks, runs, term
):
    held = []
    tasks = make_tasks(start=lambda name, run: held.append(run))
    tasks.begin_due(term)
    pass_time(job_store, clock, 60)
    assert tasks.begin_due(term) == []
    held.pop()()
    assert tasks.begin_due(term) == ["task"]


def test_a_failing_task_is_logged_once_and_runs_again_when_due(
    job_store, clock, make_tasks, term, caplog
):
    caplog.set_level(logging.INFO)
    failures = [ValueError("at 0x1"), ValueError("at 0x2"), None]
    attempts = []

    def run(_):
        attempts.append(1)
        if error := failures[len(attempts) - 1]:
            raise error

    tasks = make_tasks(run=run)
    for _ in range(3):
        tasks.begin_due(term)
        pass_time(job_store, clock, 60)
    assert len(attempts) == 3
    levels = [record.levelname for record in caplog.records if "task" in record.getMessage()]
    assert levels == ["ERROR", "INFO"]


def test_a_task_whose_term_ended_is_no_failure(make_tasks, term, caplog):
    def run(_):
        raise LeadershipLost("k", "a", 1)

    make_tasks(run=run).begin_due(term)
    assert "ERROR" not in [record.levelname for record in caplog.records]


def test_the_databases_clock_decides_though_the_hosts_is_elsewhere(
    job_store, make_tasks, runs, term
):
    make_tasks().begin_due(term)
    job_store.clock_offset_ms += 60_000
    make_tasks().begin_due(term)
    assert len(runs) == 2


def test_database_time_is_read_rarely_and_carried_on_in_between(job_store, clock, monkeypatch):
    readings = []
    now_ms = job_store.now_ms

    def read():
        readings.append(now_ms())
        return readings[-1]

    monkeypatch.setattr(job_store, "now_ms", read)
    time = DatabaseTime(job_store, clock)
    first = time.ms()
    clock.advance(59)
    assert time.ms() == first + 59_000
    assert len(readings) == 1
    clock.advance(2)
    time.ms()
    assert len(readings) == 2


@pytest.mark.parametrize(("now_ms", "due_ms"), [(120_000, 120_000), (179_999, 120_000)])
def test_every_is_aligned_to_the_epoch(now_ms, due_ms):
    assert Every(60).latest_ms(now_ms) == due_ms


def test_an_instant_at_which_there_is_no_work_is_passed_over_in_one_question(
    job_store, clock, term, monkeypatch
):
    asked, ran, has_work = [], [], []
    task = PeriodicTask(
        "task",
        Every(60),
        lambda _: ran.append(1),
        has_work=lambda: asked.append(1) or bool(has_work),
    )
    tasks = PeriodicTasks(job_store, clock, [task], lambda name, run: run())
    for _ in range(3):
        assert tasks.begin_due(term) == []
    assert len(asked) == 1
    assert job_store.last_periodic_run("task") is None
    has_work.append(1)
    clock.advance(60)
    job_store.clock_offset_ms += 60_000
    assert tasks.begin_due(term) == ["task"]
    assert len(ran) == 1


def test_a_task_that_cannot_say_whether_it_has_work_is_begun(job_store, clock, term):
    def broken():
        raise RuntimeError("away")

    ran = []
    task = PeriodicTask("task", Every(60), lambda _: ran.append(1), has_work=broken)
    tasks = PeriodicTasks(job_store, clock, [task], lambda name, run: run())
    assert tasks.begin_due(term) == ["task"]
    assert len(ran) == 1


def test_time_that_was_read_for_another_purpose_is_not_read_again(
    job_store, clock, term, monkeypatch
):
    tasks = PeriodicTasks(job_store, clock, [], lambda name, run: run())
    monkeypatch.setattr(job_store, "now_ms", None)
    tasks.tell_time(90_000)
    assert tasks.seconds_to_next_look() == 30
    clock.advance(10)
    assert tasks.seconds_to_next_look() == 20
    assert tasks.begin_due(term) == []
