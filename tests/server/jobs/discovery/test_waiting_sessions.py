"""Each completed session of a window comes once, by its last trace."""

import pytest

from mlflow.server.jobs.discovery.batches import Position
from mlflow.server.jobs.discovery.waiting_sessions import position_of, waiting_sessions

BEGIN = Position(0)


@pytest.fixture
def add_turns(add_trace):
    def add_turns(session_id, *times, **fields):
        for time in times:
            metadata = {"mlflow.trace.session": session_id}
            add_trace(time, f"{session_id}-{time}", trace_metadata=metadata, **fields)

    return add_turns


def read(store, experiment_id, after=BEGIN, before_ms=1_000, **options):
    sessions = waiting_sessions(store, experiment_id, after, before_ms, **options)
    return [tuple(position_of(session)) for session in sessions]


def test_sessions_come_by_their_last_trace_across_pages(tracking_store, experiment_id, add_turns):
    for number in range(7):
        add_turns(f"s{number}", 10, 100 - number)

    expected = [(100 - number, f"s{number}") for number in reversed(range(7))]
    assert read(tracking_store, experiment_id, page_size=2) == expected


def test_a_session_that_goes_on_after_the_window_is_not_complete(
    tracking_store, experiment_id, add_turns
):
    add_turns("done", 10, 20)
    add_turns("going on", 10, 30)

    assert read(tracking_store, experiment_id, before_ms=30) == [(20, "done")]
    assert read(tracking_store, experiment_id, before_ms=31) == [(20, "done"), (30, "going on")]


def test_the_window_begins_after_the_checkpoint(tracking_store, experiment_id, add_turns):
    for session_id in "abc":
        add_turns(session_id, 10)
    add_turns("earlier", 9)

    assert read(tracking_store, experiment_id, after=Position(10, "b")) == [(10, "c")]
    assert read(tracking_store, experiment_id, after=Position(10)) == [(10, each) for each in "abc"]


def test_more_sessions_in_one_millisecond_than_a_page_holds_all_come_in_order(
    tracking_store, experiment_id, add_turns
):
    for session_id in ["b", "A", "a", "B", "c"]:
        add_turns(session_id, 10)
    add_turns("later", 11)

    class OtherCollation:
        """A database that sorts ids without regard to case."""

        def find_completed_sessions(self, max_results, **search):
            found = tracking_store.find_completed_sessions(**search)
            found.sort(key=lambda s: (s.last_trace_timestamp_ms, s.session_id.lower()))
            return found[:max_results]

    found = read(OtherCollation(), experiment_id, after=Position(10, "A"), page_size=1)

    assert found == [(10, "B"), (10, "a"), (10, "b"), (10, "c"), (11, "later")]


def test_a_filter_is_about_the_first_trace(tracking_store, experiment_id, add_turns):
    add_turns("begins red", 10, tags={"color": "red"})
    add_turns("begins red", 20, tags={"color": "blue"})
    add_turns("begins blue", 11, tags={"color": "blue"})
    add_turns("begins blue", 21, tags={"color": "red"})

    found = read(tracking_store, experiment_id, filter_string="tag.color = 'red'")

    assert found == [(20, "begins red")]
