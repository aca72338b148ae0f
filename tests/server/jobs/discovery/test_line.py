"""Experiments take turns, and looks that found nothing are not repeated for nothing."""

import json

from mlflow.server.jobs.discovery.levels import SESSIONS, TRACES
from mlflow.server.jobs.discovery.line import Line, Sight
from mlflow.store.jobs.values import ScoredExperiment

NOW = 1_000_000


def sight(experiment_id="1", checkpoint=500, newest=600, level=TRACES, configuration="one"):
    text = json.dumps({"timestamp_ms": checkpoint, level.id_key: None})
    experiment = ScoredExperiment(
        experiment_id=experiment_id,
        workspace="default",
        scorer_count=1,
        configuration=configuration,
        checkpoints={} if checkpoint is None else {level.tag: text},
        newest_trace_ms={level.tag: newest},
    )
    return Sight(level, experiment, window_end_ms=900_000, now_ms=NOW)


def order(visits):
    return [visit.experiment.experiment_id for visit in visits]


def test_the_furthest_behind_comes_first():
    sights = [sight("1", 300), sight("2", 100), sight("3", 200)]

    assert order(Line().begin_cycle(sights)) == ["2", "3", "1"]


def test_what_was_settled_before_a_job_is_looked_at_again_after_it():
    line = Line()
    settled = sight()
    line.settle(settled)
    assert line.begin_cycle([settled]) == []

    assert line.begin_cycle([settled], busy={settled.key}) == []
    assert order(line.begin_cycle([settled])) == ["1"]


def test_who_had_its_turn_waits_for_all_others():
    line = Line()
    sights = [sight("1", 100), sight("2", 200), sight("3", 300)]
    first, *_ = line.begin_cycle(sights)
    line.take_turn(first)

    assert order(line.begin_cycle(sights)) == ["2", "3", "1"]


def test_only_what_shows_something_new_is_visited():
    sights = [
        sight("nothing new", checkpoint=700, newest=600),
        sight("no trace", newest=None),
        sight("no checkpoint", checkpoint=None),
        sight("at the checkpoint", checkpoint=600, newest=600),
        sight("in the future", checkpoint=NOW + 1),
    ]

    visited = order(Line().begin_cycle(sights))

    assert sorted(visited) == ["at the checkpoint", "in the future", "no checkpoint"]


def test_what_has_a_job_is_not_visited_and_still_waits():
    line = Line()
    busy = sight()
    line.settle(busy)

    assert line.begin_cycle([busy], busy=[busy.key]) == []
    assert line.waits_since_ms(busy) == 500


def test_a_look_that_found_nothing_is_not_repeated_until_something_changes():
    line = Line()
    line.begin_cycle([sight()])
    line.settle(sight())

    assert line.begin_cycle([sight()]) == []
    assert line.waits_since_ms(sight()) is None
    for changed in (sight(newest=601), sight(checkpoint=501), sight(configuration="two")):
        assert order(line.begin_cycle([changed])) == ["1"]


def test_even_without_a_change_another_look_follows_after_some_cycles():
    line = Line()
    line.begin_cycle([sight()])
    line.settle(sight())

    visited = [bool(line.begin_cycle([sight()])) for _ in range(11)]

    assert visited == [False] * 9 + [True] * 2


def test_both_levels_of_an_experiment_are_one_visit():
    (visit,) = Line().begin_cycle([sight(level=TRACES), sight(level=SESSIONS)])

    assert [each.level for each in visit.sights] == [TRACES, SESSIONS]


def test_the_line_forgets_experiments_that_are_gone():
    line = Line()
    (visit,) = line.begin_cycle([sight()])
    line.take_turn(visit)
    line.settle(sight())

    line.begin_cycle([])

    assert order(line.begin_cycle([sight(), sight("2", 550)])) == ["1", "2"]


def test_an_experiment_without_scorers_of_a_level_is_left_alone_until_they_change():
    line = Line()
    line.begin_cycle([sight(checkpoint=None)])
    line.settle_level(sight(checkpoint=None))

    later = [sight(checkpoint=None, newest=600 + number) for number in range(100)]
    assert [line.begin_cycle([each]) for each in later] == [[]] * 100
    assert order(line.begin_cycle([sight(checkpoint=None, configuration="two")])) == ["1"]


def test_a_checkpoint_is_put_down_before_the_first_trace():
    assert order(Line().begin_cycle([sight(checkpoint=None, newest=None)])) == ["1"]
