"""Each trace of a window comes once, oldest first, whatever happens between two pages."""

import itertools

from mlflow.server.jobs.discovery.batches import Position
from mlflow.server.jobs.discovery.waiting_traces import waiting_traces
from mlflow.tracing.constant import TraceMetadataKey

BEGIN = Position(0)


def read(store, experiment_id, after=BEGIN, before_ms=1_000, **options):
    return list(waiting_traces(store, experiment_id, after, before_ms, **options))


def test_traces_come_oldest_first_across_pages(tracking_store, experiment_id, add_trace):
    expected = [Position(time, f"t{time}") for time in range(10, 17)]
    for position in reversed(expected):
        add_trace(*position)

    assert read(tracking_store, experiment_id, page_size=3) == expected


def test_the_window_begins_after_the_checkpoint_and_ends_before_its_end(
    tracking_store, experiment_id, add_trace
):
    for time, trace_id in [(9, "a"), (10, "a2"), (10, "b"), (10, "c"), (20, "d"), (30, "e")]:
        add_trace(time, trace_id)

    found = read(tracking_store, experiment_id, after=Position(10, "b"), before_ms=30)

    assert found == [Position(10, "c"), Position(20, "d")]


def test_a_checkpoint_without_an_id_lies_before_the_traces_of_its_millisecond(
    tracking_store, experiment_id, add_trace
):
    add_trace(10, "a")

    assert read(tracking_store, experiment_id, after=Position(10)) == [Position(10, "a")]


def test_more_traces_in_one_millisecond_than_a_page_holds_all_come(
    tracking_store, experiment_id, add_trace
):
    expected = [Position(10, f"t{number}") for number in range(7)]
    for position in expected:
        add_trace(*position)

    found = read(tracking_store, experiment_id, after=Position(10, "t3"), page_size=2)

    assert found == expected[4:]


def test_a_trace_deleted_between_two_pages_hides_no_other(tracking_store, experiment_id, add_trace):
    for number in range(6):
        add_trace(10 + number, f"t{number}")
    waiting = waiting_traces(tracking_store, experiment_id, BEGIN, 1_000, page_size=2)

    first = list(itertools.islice(waiting, 2))
    tracking_store.delete_traces(experiment_id, trace_ids=["t0"])
    rest = list(waiting)

    assert [p.entity_id for p in first + rest] == [f"t{number}" for number in range(6)]


def test_traces_of_evaluation_runs_do_not_wait(tracking_store, experiment_id, add_trace):
    add_trace(10, "evaluated", trace_metadata={TraceMetadataKey.SOURCE_RUN: "run"})
    add_trace(20, "served")

    assert read(tracking_store, experiment_id) == [Position(20, "served")]


def test_a_filter_narrows_the_window(tracking_store, experiment_id, add_trace):
    add_trace(10, "a", tags={"color": "red"})
    add_trace(20, "b", tags={"color": "blue"})

    found = read(tracking_store, experiment_id, filter_string="tag.color = 'blue'")

    assert found == [Position(20, "b")]


def test_traces_of_other_experiments_do_not_wait_here(tracking_store, experiment_id, add_trace):
    add_trace(10, "elsewhere", experiment_id=tracking_store.create_experiment("other"))

    assert read(tracking_store, experiment_id) == []


def test_ids_of_one_millisecond_come_in_the_order_in_which_checkpoints_compare_them(
    tracking_store, experiment_id, add_trace
):
    for trace_id in ["b", "A", "a", "B"]:
        add_trace(10, trace_id)

    class OtherCollation:
        """A database that sorts ids without regard to case."""

        def search_traces(self, order_by, page_token, max_results, **search):
            infos, _ = tracking_store.search_traces(**search)
            infos.sort(key=lambda info: (info.timestamp_ms, info.trace_id.lower()))
            start = int(page_token or 0)
            more = str(start + max_results) if start + max_results < len(infos) else None
            return infos[start : start + max_results], more

    found = read(OtherCollation(), experiment_id, after=Position(10, "A"), page_size=1)

    assert [p.entity_id for p in found] == ["B", "a", "b"]
