"""The default limit of scorer calls spares models; one that an operator has set holds for all."""

import pytest

from mlflow.genai import make_judge, scorer
from mlflow.genai.evaluation.rate_limiter import NoOpRateLimiter
from mlflow.genai.scorers.online.batch_parts import rate_limits


@scorer
def length(outputs) -> int:
    return len(outputs)


@pytest.fixture
def judge():
    return make_judge("polite", "Is {{ outputs }} polite?", model="gateway:/endpoint")


@pytest.mark.parametrize("code", [[], [length]])
def test_code_is_not_limited_unasked_and_takes_no_share_of_the_models(judge, code):
    limits = rate_limits([judge, *code])

    assert isinstance(limits.of(length), NoOpRateLimiter)
    assert limits.of(judge).current_rps == rate_limits([judge]).models.current_rps > 0


@pytest.mark.parametrize(
    ("variable", "rate"),
    [("MLFLOW_GENAI_EVAL_SCORER_RATE_LIMIT", 7), ("MLFLOW_GENAI_EVAL_PREDICT_RATE_LIMIT", 14)],
)
def test_a_limit_that_was_set_is_shared_by_models_and_code(judge, monkeypatch, variable, rate):
    monkeypatch.setenv(variable, "7")

    limits = rate_limits([judge, length])

    assert limits.of(length) is limits.of(judge)
    assert limits.of(length).current_rps == rate
