"""A prompt optimization counts its evaluations for whoever asked, and says how many will be."""

import pytest

import mlflow
from mlflow.genai import scorer
from mlflow.genai.optimize.job_progress import reporting_optimization
from mlflow.genai.optimize.optimizers import (
    BasePromptOptimizer,
    GepaPromptOptimizer,
    MetaPromptOptimizer,
)
from mlflow.genai.optimize.progress import counted, evaluations_counted_by
from mlflow.genai.optimize.types import PromptOptimizerOutput
from mlflow.server.jobs import progress

ROWS = [{"inputs": {"name": name}, "outputs": f"Hello {name}"} for name in ("Ann", "Bob", "Eve")]
GEPA = GepaPromptOptimizer(reflection_model="openai:/none", max_metric_calls=5)
METAPROMPT = MetaPromptOptimizer(reflection_model="openai:/none")


@scorer
def polite(outputs) -> bool:
    return outputs.startswith("Hello")


class Passes(BasePromptOptimizer):
    """Evaluates the dataset as often as it is told, and changes nothing."""

    def __init__(self, passes):
        self._passes = passes

    def optimize(self, eval_fn, train_data, target_prompts, enable_tracking=True):
        for _ in range(self._passes):
            eval_fn(target_prompts, train_data)
        return PromptOptimizerOutput(optimized_prompts=target_prompts)


class Dataset:
    def __init__(self, rows):
        self._rows = rows

    def to_df(self):
        return self._rows


@pytest.fixture
def told(monkeypatch):
    """What the job told: (completed, total, unit)."""
    told = []

    class Tracker:
        def update_job_progress(self, message=None, progress=None):
            told.append((progress.completed, progress.total, progress.unit))

    monkeypatch.setattr(progress, "_job_tracker", Tracker())
    return told


def test_each_evaluation_of_a_row_is_counted(store):
    prompt = mlflow.genai.register_prompt("greeting", "Hello {{name}}")

    def predict(name):
        return mlflow.genai.load_prompt(prompt.uri).format(name=name)

    evaluated = []
    with evaluations_counted_by(lambda: evaluated.append(1)):
        mlflow.genai.optimize_prompts(
            predict_fn=predict,
            train_data=ROWS,
            prompt_uris=[prompt.uri],
            optimizer=Passes(2),
            scorers=[polite],
        )

    assert len(evaluated) == 2 * len(ROWS)


def test_an_evaluation_that_fails_is_counted_too():
    def fail():
        raise ValueError

    evaluated = []
    with evaluations_counted_by(lambda: evaluated.append(1)):
        failing = counted(fail)
    with pytest.raises(ValueError):
        failing()
    assert evaluated == [1]


def test_what_nobody_counts_is_itself():
    assert counted(test_what_nobody_counts_is_itself) is test_what_nobody_counts_is_itself


@pytest.mark.parametrize(
    ("optimizer", "scorers", "expected"),
    [(GEPA, [polite], 5), (METAPROMPT, [polite], 6), (METAPROMPT, [], 3)],
)
def test_the_total_is_what_the_optimizer_will_do(told, optimizer, scorers, expected):
    with reporting_optimization(optimizer, Dataset(ROWS), scorers):
        for _ in range(expected):
            counted(lambda: None)()

    assert told == [(0, expected, "evaluations"), (expected, expected, "evaluations")]


def test_more_evaluations_than_expected_raise_the_total(told):
    with reporting_optimization(GEPA, Dataset(ROWS), [polite]):
        for _ in range(6):
            counted(lambda: None)()

    assert told[-1] == (6, 6, "evaluations")


@pytest.mark.parametrize("dataset", [None, Dataset([])])
def test_without_examples_the_prompt_itself_is_counted(told, dataset):
    with reporting_optimization(METAPROMPT, dataset, []):
        assert told == [(0, 1, "prompts")]

    assert told[-1] == (1, 1, "prompts")


def test_an_optimization_that_fails_is_not_told_as_done(told):
    def fail():
        with reporting_optimization(METAPROMPT, None, []):
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert told == [(0, 1, "prompts")]
