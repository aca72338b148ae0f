"""Keep scorers that run code of their own from ending the job that calls them, and others with it.

A batch whose job ended before it had a result is tried again like this. What only calls models, as
MLflow's own judges do, stays in the job's process. The first try is in that process throughout; it
gives up when no scorer answers any more.
"""

from collections.abc import Iterable, Sequence

from mlflow.entities import Feedback, Trace
from mlflow.genai.scorers.base import Scorer, ScorerKind
from mlflow.genai.scorers.online.sampler import OnlineScorerSampler
from mlflow.genai.scorers.online.scorer_process import ScorerProcess
from mlflow.server.jobs.settings import JobSettings

_OF_MLFLOW = (ScorerKind.BUILTIN, ScorerKind.GUIDELINES, ScorerKind.INSTRUCTIONS)
_PATIENCE_SECONDS = 600.0
# Of the job's own time: what a scorer may waste by being silent is a fraction of it.
_PATIENCE_SHARE = 1 / 8


class Isolation:
    """The processes of the scorers of one batch; ends them when it is left.

    Args:
        scorers: The batch's scorers.
        isolates: Whether there are such processes; otherwise all scorers are called in this one.
        patience_seconds: How long one call may take; None stands for ten minutes, and no more than
            an eighth of the time that online scoring jobs have.

    Attributes:
        patience_seconds: The same, as it holds here.
    """

    def __init__(
        self,
        scorers: OnlineScorerSampler,
        isolates: bool,
        patience_seconds: float | None = None,
    ) -> None:
        self._scorers = scorers
        self._isolates = isolates
        self.patience_seconds = patience_seconds or min(
            _PATIENCE_SECONDS, JobSettings.from_env().default_timeout * _PATIENCE_SHARE
        )
        self._processes: dict[str, ScorerProcess] = {}

    def __enter__(self) -> "Isolation":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.close()

    def begin(self, scorers: Iterable[Scorer]) -> float | None:
        """Take in those of these scorers that run code of their own.

        Returns:
            How long it may be, in seconds, that none of the batch's scorers answers; None for any
            time, where none of them runs code of its own in this process.
        """
        foreign = [scorer.name for scorer in scorers if scorer.kind not in _OF_MLFLOW]
        if not self._isolates:
            return self.patience_seconds if foreign else None
        for name in foreign:
            self._processes[name] = ScorerProcess(
                self._scorers.online_scorer(name), self.patience_seconds
            )
        return None

    def holds(self, scorer: Scorer) -> bool:
        """Whether this scorer is called in a process of its own."""
        return scorer.name in self._processes

    def ask(
        self, scorer: Scorer, traces: Sequence[Trace], session_id: str | None = None
    ) -> list[Feedback]:
        """What the scorer says of a trace, or of a session.

        Raises:
            MlflowException: It gave no answer; the message says why.
        """
        return self._processes[scorer.name].ask(traces, session_id)
