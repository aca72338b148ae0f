"""A batch is the oldest part of what waits, and no trace is passed without a look."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from mlflow.server.jobs.discovery.batches import Candidate, FilterGroup, Position, cut_batch

WINDOW_END = 1_000


def group(positions, sample=lambda trace_id: ["judge"]):
    return FilterGroup(waiting=candidates(sorted(positions)), sample=sample)


def candidates(positions):
    return [Candidate(position, {"trace_id": position.entity_id}) for position in positions]


def scorers_of(batch):
    return {entry["trace_id"]: entry["scorers"] for entry in batch.entries}


def never(trace_id):
    return []


def positions(*pairs):
    return [Position(*pair) for pair in pairs]


def test_a_window_that_fits_reaches_its_end():
    batch = cut_batch([group(positions((10, "a"), (20, "b")))], WINDOW_END, 5, 5)

    assert scorers_of(batch) == {"a": ["judge"], "b": ["judge"]}
    assert batch.begins == Position(10, "a")
    assert batch.reaches == Position(WINDOW_END)
    assert not batch.full


def test_a_window_without_traces_reaches_its_end():
    batch = cut_batch([group([])], WINDOW_END, 5, 5)

    assert (batch.entries, batch.reaches) == ([], Position(WINDOW_END))


def test_a_batch_is_cut_at_its_oldest_traces():
    batch = cut_batch([group(positions((30, "c"), (10, "a"), (20, "b")))], WINDOW_END, 2, 9)

    assert list(scorers_of(batch)) == ["a", "b"]
    assert batch.reaches == Position(20, "b")
    assert batch.full


def test_traces_of_one_millisecond_are_cut_by_id():
    batch = cut_batch([group(positions((10, "b"), (10, "c"), (10, "a")))], WINDOW_END, 2, 9)

    assert list(scorers_of(batch)) == ["a", "b"]
    assert batch.reaches == Position(10, "b")


def test_a_group_that_samples_nothing_stops_at_its_last_look():
    unsampled = group(positions((10, "a"), (20, "b"), (30, "c")), never)

    batch = cut_batch([unsampled], WINDOW_END, 2, 2)

    assert batch.entries == []
    assert batch.reaches == Position(20, "b")
    assert batch.full


def test_the_least_advanced_group_holds_the_others_back():
    crowded = group(positions((10, "a"), (20, "b"), (30, "c")), never)
    sparse = group(positions((15, "x"), (40, "y")))

    batch = cut_batch([crowded, sparse], WINDOW_END, 9, 2)

    assert scorers_of(batch) == {"x": ["judge"]}
    assert batch.reaches == Position(20, "b")


def test_what_stands_beyond_the_window_is_left_to_the_next():
    ahead = group(positions((10, "a"), (WINDOW_END, "b"), (WINDOW_END + 1, "c")))

    batch = cut_batch([ahead, group([])], WINDOW_END, 3, 3)

    assert scorers_of(batch) == {"a": ["judge"]}
    assert batch.reaches == Position(WINDOW_END)


def test_a_trace_of_two_groups_gets_the_scorers_of_both_once():
    shared = positions((10, "a"))
    first = group(shared, lambda trace_id: ["judge", "guard"])
    second = group(shared, lambda trace_id: ["guard", "length"])

    batch = cut_batch([first, second], WINDOW_END, 5, 5)

    assert scorers_of(batch) == {"a": ["judge", "guard", "length"]}


def test_groups_that_fill_a_batch_only_together_are_cut_too():
    first = group(positions((10, "a"), (30, "c")))
    second = group(positions((20, "b"), (40, "d")))

    batch = cut_batch([first, second], WINDOW_END, 2, 9)

    assert list(scorers_of(batch)) == ["a", "b"]
    assert batch.reaches == Position(20, "b")


def test_a_group_reads_no_further_than_it_looks():
    def waiting():
        yield from candidates(positions((10, "a"), (20, "b")))
        raise AssertionError("read past the bound")

    batch = cut_batch([FilterGroup(waiting(), never)], WINDOW_END, 5, 2)

    assert batch.reaches == Position(20, "b")


@dataclass
class Watched:
    """A group with the traces it wants and those of them that it samples."""

    wants: set[str]
    samples: set[str]

    def over(self, waiting, seen):
        def sample(trace_id):
            seen.append(trace_id)
            return ["judge"] if trace_id in self.samples else []

        return FilterGroup(candidates([p for p in waiting if p.entity_id in self.wants]), sample)


@st.composite
def histories(draw):
    """Traces on few milliseconds, so that many share one, and groups that want parts of them."""
    ids = [f"t{number:02}" for number in range(draw(st.integers(0, 30)))]
    traces = [Position(draw(st.integers(0, 8)), trace_id) for trace_id in ids]
    # Most groups want and sample most traces; leaving some out is what a set of ids is good at.
    left_out = st.sets(st.sampled_from(ids)) if ids else st.just(set())
    kept = left_out.map(set(ids).difference)
    groups = draw(st.lists(st.builds(Watched, kept, kept), min_size=1, max_size=3))
    window_ends = [*sorted(draw(st.lists(st.integers(0, 9), max_size=4))), 9]
    return traces, groups, window_ends


@given(histories(), st.integers(1, 4), st.integers(1, 6))
def test_every_trace_is_scored_once_however_the_cycles_fall(history, max_traces, max_looks):
    traces, groups, window_ends = history
    checkpoint, scored = Position(-1), []

    for window_end in window_ends:
        full = True
        while full and checkpoint < Position(window_end):
            seen = []
            waiting = sorted(p for p in traces if checkpoint < p < Position(window_end))
            batch = cut_batch(
                [watched.over(waiting, seen) for watched in groups],
                window_end,
                max_traces,
                max_looks,
            )
            passed = {p.entity_id for p in waiting if p <= batch.reaches}
            assert passed & set().union(*(w.wants for w in groups)) <= set(seen)
            assert checkpoint < batch.reaches <= Position(window_end)
            assert len(batch.entries) <= max_traces
            scored += scorers_of(batch)
            checkpoint, full = batch.reaches, batch.full

    wanted = set().union(*(watched.wants & watched.samples for watched in groups))
    assert scored == [p.entity_id for p in sorted(traces) if p.entity_id in wanted]
