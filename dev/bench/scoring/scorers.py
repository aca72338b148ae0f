"""A scorer that costs next to nothing, so that only what is around it is measured."""

from mlflow.genai.scorers import scorer


@scorer
def answered(outputs) -> bool:
    """Whether there is an answer."""
    return outputs is not None
