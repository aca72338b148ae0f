"""Scorers are read for many experiments at once, and one malformed scorer spoils no other."""

import pytest
import sqlalchemy

from mlflow.exceptions import MlflowException
from mlflow.server.jobs.discovery.scorers_ahead import ScorersAhead
from mlflow.store.jobs.values import ScoredExperiment


@pytest.fixture
def experiments(tracking_store, schedule):
    """Three experiments with a judge each, as a cycle sees them."""
    made = [tracking_store.create_experiment(name) for name in "abc"]
    for each in made:
        schedule(to=each)
    return [ScoredExperiment(each, "default", 1, "", {}, {}) for each in made]


@pytest.fixture
def statements(tracking_store):
    seen = []

    def note(connection, cursor, statement, *_):
        seen.append(statement)

    sqlalchemy.event.listen(tracking_store.engine, "before_cursor_execute", note)
    yield seen
    sqlalchemy.event.remove(tracking_store.engine, "before_cursor_execute", note)


def owners(online_scorers):
    return [each.online_config.experiment_id for each in online_scorers]


def test_each_experiment_gets_its_own_scorers(tracking_store, experiments):
    ahead = ScorersAhead(tracking_store, experiments)

    assert [owners(ahead.of(each)) for each in experiments] == [
        [each.experiment_id] for each in experiments
    ]


def test_more_experiments_take_no_more_statements(tracking_store, experiments, statements):
    ScorersAhead(tracking_store, experiments[:1]).of(experiments[0])
    for_one = len(statements)
    statements.clear()

    ahead = ScorersAhead(tracking_store, experiments)
    for each in experiments:
        ahead.of(each)

    assert len(statements) == for_one


def test_an_experiment_without_scorers_has_none(tracking_store, experiments, experiment_id):
    without = ScoredExperiment(experiment_id, "default", 0, "", {}, {})
    ahead = ScorersAhead(tracking_store, [without, *experiments])

    assert ahead.of(without) == []


MALFORMED = [
    "{",
    "[]",
    "null",
    '{"instructions_judge_pydantic_data": 5}',
    '{"call_source": "", "name": "x", "builtin_scorer_class": "y"}',
    '{"call_source": 5}',
    '{"name": ' + "[" * 100_000,
]


@pytest.mark.parametrize("stored", MALFORMED)
def test_a_malformed_scorer_spoils_no_other_of_its_experiment(
    tracking_store, experiments, schedule, stored, monkeypatch, caplog
):
    monkeypatch.setenv("MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS", "true")
    with_bad = experiments[1]
    schedule("bad", to=with_bad.experiment_id)
    store_as(tracking_store, "bad", stored)

    for _ in range(2):
        ahead = ScorersAhead(tracking_store, experiments)
        assert [[one.name for one in ahead.of(each)] for each in experiments] == [["polite"]] * 3

    (warning,) = [line for line in caplog.messages if "cannot be read" in line]
    assert f"'bad' of experiment {with_bad.experiment_id}," in warning


def store_as(tracking_store, name, serialized):
    with tracking_store.engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "UPDATE scorer_versions SET serialized_scorer = :text WHERE scorer_id = "
                "(SELECT scorer_id FROM scorers WHERE scorer_name = :name)"
            ),
            {"text": serialized, "name": name},
        )


def test_a_store_that_cannot_read_one_experiments_scorers_spoils_no_other(
    tracking_store, experiments
):
    first, bad, last = experiments

    class Store:
        def get_active_online_scorers(self, experiment_ids):
            if bad.experiment_id in experiment_ids:
                raise MlflowException("cannot be read")
            return tracking_store.get_active_online_scorers(experiment_ids=experiment_ids)

    ahead = ScorersAhead(Store(), experiments)

    assert owners(ahead.of(first)) == [first.experiment_id]
    with pytest.raises(MlflowException, match="cannot be read"):
        ahead.of(bad)
    assert owners(ahead.of(last)) == [last.experiment_id]


def test_experiments_of_another_workspace_are_not_read_from_here(tracking_store, experiments):
    here, there = experiments[0], ScoredExperiment("99", "elsewhere", 1, "", {}, {})
    asked = []

    class Store:
        def get_active_online_scorers(self, experiment_ids):
            asked.append(experiment_ids)
            return []

    ahead = ScorersAhead(Store(), [here, there, *experiments[1:]])
    ahead.of(here)
    ahead.of(there)

    assert asked == [[each.experiment_id for each in experiments], ["99"]]
