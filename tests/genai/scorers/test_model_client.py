"""What calls models is imported where a scorer may call one, and nowhere else."""

import sys

import pytest

from mlflow.genai import scorer
from mlflow.genai.scorers import Guidelines
from mlflow.genai.scorers.model_client import import_model_client


@scorer
def length(outputs) -> int:
    return len(outputs)


@pytest.fixture
def is_imported(monkeypatch, tmp_path):
    """Answers whether litellm is imported, of which there is an empty one."""
    (tmp_path / "litellm.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "litellm", raising=False)
    yield lambda: "litellm" in sys.modules
    sys.modules.pop("litellm", None)


@pytest.mark.parametrize(
    ("scorers", "expected"),
    [([], False), ([length], False), ([length, Guidelines(guidelines="Be kind.")], True)],
)
def test_scorers_that_are_code_do_without_it(is_imported, scorers, expected):
    import_model_client(scorers)
    assert is_imported() is expected
