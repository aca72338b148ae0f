"""Import what calls models before threads would, and only where a model may be called."""

from collections.abc import Iterable

from mlflow.genai.evaluation.harness import _warmup_litellm
from mlflow.genai.scorers.base import Scorer, ScorerKind


def import_model_client(scorers: Iterable[Scorer]) -> None:
    """Import litellm here, if it is installed, unless all of these scorers are code.

    Its import takes seconds and asks the network. On several threads at once it can deadlock.
    """
    if any(scorer.kind is not ScorerKind.DECORATOR for scorer in scorers):
        _warmup_litellm()
