"""An evaluation is seen by whoever watches it, and is what it was where nobody does."""

import pytest

import mlflow
from mlflow.entities import Feedback
from mlflow.genai import scorer
from mlflow.genai.evaluation.progress import evaluations_watched_by, watched_bar

ROWS = [{"inputs": {"q": str(number)}, "outputs": "yes"} for number in range(3)]


@scorer
def fine(outputs) -> bool:
    return outputs == "yes"


class _Conversation(mlflow.genai.Scorer):
    name: str = "conversation"

    @property
    def is_session_level_scorer(self):
        return True

    def __call__(self, *, session=None, **kwargs):
        return Feedback(name=self.name, value=len(session))


@pytest.fixture
def experiment(store, monkeypatch):
    experiment_id = store.create_experiment("evaluated")
    # Not by set_experiment, which would outlive the test.
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", experiment_id)
    return experiment_id


def watched(evaluate):
    seen = []
    with evaluations_watched_by(lambda *step: seen.append(step)):
        evaluate()
    return seen


def test_each_row_that_is_done_is_told(experiment):
    seen = watched(lambda: mlflow.genai.evaluate(data=ROWS, scorers=[fine]))

    assert seen == [("traces", done, 3) for done in range(4)]


def test_sessions_are_told_after_the_rows(experiment):
    for number, session in enumerate(("one", "one", "two")):
        span = mlflow.start_span_no_context(
            "answer",
            inputs={"q": number},
            metadata={"mlflow.trace.session": session},
            experiment_id=experiment,
        )
        span.set_outputs("yes")
        span.end()
    traces = mlflow.search_traces(locations=[experiment], return_type="list")

    seen = watched(lambda: mlflow.genai.evaluate(data=traces, scorers=[_Conversation()]))

    rows = [("traces", done, 3) for done in range(4)]
    assert seen == [*rows, *(("sessions", done, 2) for done in range(3))]


def test_whoever_watched_before_sees_nothing_of_it(experiment):
    seen = watched(lambda: None)
    mlflow.genai.evaluate(data=ROWS, scorers=[fine])
    assert seen == []


class Bar:
    """What tqdm makes, as far as the harness uses it."""

    def __init__(self):
        self.bar_format = "as it was"
        self.calls = []

    def update(self, count):
        self.calls.append(count)

    def refresh(self):
        self.calls.append(self.bar_format)

    def close(self):
        self.calls.append("closed")


def test_a_bar_that_nobody_watches_is_itself():
    bar = Bar()
    assert watched_bar(bar, 2, 2) is bar
    assert watched_bar(None, 2, 2) is None


@pytest.mark.parametrize("inner", [Bar(), None])
def test_a_watched_bar_goes_on_in_the_terminal_if_there_is_one(inner):
    seen = []
    with evaluations_watched_by(lambda *step: seen.append(step)):
        bar = watched_bar(inner, 1, 1)
    bar.update(1)
    bar.bar_format = "new"
    bar.refresh()
    bar.close()

    assert seen == [("traces", 0, 1), ("traces", 1, 1)]
    if inner:
        assert inner.calls == [1, "new", "closed"]
