"""Traces are read for many experiments at once, each experiment's after its own checkpoint."""

import json
import random

import pytest
import sqlalchemy

from mlflow.exceptions import MlflowException
from mlflow.server.jobs.discovery import traces_ahead
from mlflow.server.jobs.discovery.batches import Position
from mlflow.server.jobs.discovery.checkpoints import value_of
from mlflow.server.jobs.discovery.levels import SESSIONS, TRACES
from mlflow.server.jobs.discovery.line import Sight, Visit
from mlflow.server.jobs.discovery.traces_ahead import TracesAhead
from mlflow.store.jobs.values import ScoredExperiment
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils.workspace_context import ServerWorkspaceContext
from tests.server.jobs.discovery.scenes import HOUR_MS

END_MS = 3 * HOUR_MS


@pytest.fixture
def experiments(tracking_store):
    return [tracking_store.create_experiment(name) for name in "abc"]


@pytest.fixture
def statements(tracking_store):
    seen = []

    def note(connection, cursor, statement, *_):
        seen.append(statement)

    sqlalchemy.event.listen(tracking_store.engine, "before_cursor_execute", note)
    yield seen
    sqlalchemy.event.remove(tracking_store.engine, "before_cursor_execute", note)


def visit(experiment_id, checkpoint=None, levels=(TRACES,), workspace="default"):
    texts = (
        {}
        if checkpoint is None
        else {level.tag: json.dumps(value_of(checkpoint, level.id_key)) for level in levels}
    )
    experiment = ScoredExperiment(experiment_id, workspace, 1, "", texts, {})
    return Visit(experiment, [Sight(level, experiment, END_MS, END_MS) for level in levels])


def ids(candidates):
    return candidates and [each.position.entity_id for each in candidates]


def test_each_experiment_gets_its_own_traces_after_its_checkpoint_in_order(
    tracking_store, experiments, add_trace
):
    first, second, third = experiments
    add_trace(10, "t1", experiment_id=first)
    add_trace(30, "t3", experiment_id=first)
    add_trace(20, "t2", experiment_id=first)
    add_trace(20, "u1", experiment_id=second)
    add_trace(20, "u2", experiment_id=second)
    add_trace(END_MS, "too young", experiment_id=second)
    visits = [
        visit(first, Position(5)),
        visit(second, Position(20, "u1")),
        visit(third, Position(0)),
    ]
    ahead = TracesAhead(tracking_store, visits)

    found = [ids(ahead.of(each.sights[0])) for each in visits]

    assert found == [["t1", "t2", "t3"], ["u2"], []]


def test_what_is_known_ahead_is_what_each_search_of_its_own_would_find(tracking_store, add_trace):
    chance = random.Random(318)
    experiments = [tracking_store.create_experiment(f"e{number}") for number in range(8)]
    for number in range(60):
        metadata = {"mlflow.sourceRun": "run"} if chance.random() < 0.2 else {}
        add_trace(
            chance.randrange(12),
            f"t{number:02}",
            experiment_id=chance.choice(experiments),
            trace_metadata=metadata,
        )
    visits = [
        visit(each, Position(chance.randrange(8), chance.choice(["", "t20", "t40"])))
        for each in experiments
    ]
    ahead = TracesAhead(tracking_store, visits)

    for each in visits:
        (sight,) = each.sights
        searched = TRACES.waiting(
            tracking_store, sight.experiment.experiment_id, sight.checkpoint, END_MS, None
        )
        assert ahead.of(sight) == list(searched) != []


def test_more_experiments_take_no_more_statements(
    tracking_store, experiments, add_trace, statements
):
    for each in experiments:
        add_trace(10, f"t{each}", experiment_id=each)
    visits = [visit(each, Position(0)) for each in experiments]
    statements.clear()
    TracesAhead(tracking_store, visits[:1]).of(visits[0].sights[0])
    for_one = len(statements)
    statements.clear()

    ahead = TracesAhead(tracking_store, visits)
    for each in visits:
        ahead.of(each.sights[0])

    assert len(statements) == for_one > 0


def test_where_one_search_is_not_enough_nothing_is_known(
    tracking_store, experiments, add_trace, monkeypatch
):
    monkeypatch.setattr(traces_ahead, "_TRACES_AT_ONCE", 1)
    for number in range(2):
        add_trace(10, f"t{number}", experiment_id=experiments[0])
    visits = [visit(each, Position(0)) for each in experiments]
    ahead = TracesAhead(tracking_store, visits)

    assert [ahead.of(each.sights[0]) for each in visits] == [None, None, None]


def test_one_that_is_far_behind_makes_no_search_go_through_what_others_have_long_done(
    tracking_store, experiments, add_trace, monkeypatch
):
    monkeypatch.setattr(traces_ahead, "_TRACES_AT_ONCE", 1)
    behind, done = experiments[:2]
    add_trace(10, "t", experiment_id=behind)
    for number in range(2):
        add_trace(10, f"done-{number}", experiment_id=done)
    visits = [visit(behind, Position(0)), visit(done, Position(2 * HOUR_MS))]
    ahead = TracesAhead(tracking_store, visits)

    assert [ids(ahead.of(each.sights[0])) for each in visits] == [["t"], []]


def test_those_that_were_passed_over_keep_no_other_from_being_known(
    tracking_store, experiments, add_trace, monkeypatch
):
    monkeypatch.setattr(traces_ahead, "_EXPERIMENTS_AT_ONCE", 1)
    add_trace(10, "t", experiment_id=experiments[2])
    visits = [visit(each, Position(0)) for each in experiments]
    ahead = TracesAhead(tracking_store, visits)

    assert ids(ahead.of(visits[2].sights[0])) == ["t"]
    assert ahead.of(visits[1].sights[0]) is None


def test_only_what_begins_at_a_checkpoint_is_known(tracking_store, experiments):
    first, second, third = experiments
    visits = [
        visit(first),
        visit(second, Position(END_MS + 1)),
        visit(third, Position(0), levels=(SESSIONS,)),
    ]
    ahead = TracesAhead(tracking_store, visits)

    assert [ahead.of(each.sights[0]) for each in visits] == [None, None, None]


def test_traces_are_not_taken_for_sessions(tracking_store, experiments, add_trace):
    add_trace(10, "t", experiment_id=experiments[1])
    one, other = [visit(each, Position(0), levels=(TRACES, SESSIONS)) for each in experiments[:2]]
    ahead = TracesAhead(tracking_store, [one, other])
    ahead.of(one.sights[0])

    assert ahead.of(other.sights[1]) is None
    assert ids(ahead.of(other.sights[0])) == ["t"]


def test_a_search_that_fails_leaves_each_experiment_to_its_own(
    tracking_store, experiments, monkeypatch
):
    def refuse(**_):
        raise MlflowException("no")

    monkeypatch.setattr(tracking_store, "search_traces", refuse)
    each = visit(experiments[0], Position(0))

    assert TracesAhead(tracking_store, [each]).of(each.sights[0]) is None


def test_each_workspace_is_read_by_itself(database_uri, tmp_path, start_trace, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    store = WorkspaceAwareSqlAlchemyStore(database_uri, str(tmp_path / "artifacts"))
    visits = []
    for workspace in ("red", "blue"):
        with ServerWorkspaceContext(workspace):
            experiment_id = store.create_experiment("scored")
            start_trace(store, experiment_id, 10, f"t-{workspace}")
            visits.append(visit(experiment_id, Position(0), workspace=workspace))
    ahead = TracesAhead(store, visits)

    found = []
    for each in visits:
        with ServerWorkspaceContext(each.experiment.workspace):
            found.append(ids(ahead.of(each.sights[0])))

    assert found == [["t-red"], ["t-blue"]]
