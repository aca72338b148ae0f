"""Read the scorers of many experiments at once, ahead of the looks at them.

The statement that finds the latest version of each scorer goes through all versions there are, so
that one for each experiment would cost the square of their number.
"""

from collections import defaultdict, deque
from collections.abc import Iterable

from mlflow.genai.scorers.online import OnlineScorer
from mlflow.genai.scorers.online.active_scorers import group_by_experiment
from mlflow.store.jobs.values import ScoredExperiment
from mlflow.store.tracking.abstract_store import AbstractStore

# A few seconds' looks, and no more than is right to know for so long.
_EXPERIMENTS_AT_ONCE = 100


class ScorersAhead:
    """The active scorers of experiments that are looked at one after the other.

    Args:
        tracking_store: Where the scorers are.
        experiments: In the order of the looks.
    """

    def __init__(
        self, tracking_store: AbstractStore, experiments: Iterable[ScoredExperiment]
    ) -> None:
        self._tracking_store = tracking_store
        self._ahead: dict[str, deque[str]] = defaultdict(deque)
        for experiment in experiments:
            self._ahead[experiment.workspace].append(experiment.experiment_id)
        self._read: dict[str, list[OnlineScorer]] = {}

    def of(self, experiment: ScoredExperiment) -> list[OnlineScorer]:
        """Its active scorers; to be called in its workspace.

        Raises:
            MlflowException: They cannot be read, or the database does not answer.
        """
        experiment_id, ahead = experiment.experiment_id, self._ahead[experiment.workspace]
        if ahead and ahead[0] == experiment_id:
            self._read_on(ahead)
        if experiment_id in self._read:
            return self._read.pop(experiment_id)
        return self._tracking_store.get_active_online_scorers(experiment_ids=[experiment_id])

    def _read_on(self, ahead: deque[str]) -> None:
        some = [ahead.popleft() for _ in range(min(len(ahead), _EXPERIMENTS_AT_ONCE))]
        try:
            found = self._tracking_store.get_active_online_scorers(experiment_ids=some)
        except Exception:  # noqa: BLE001 - each is read in its own turn then, which tells whose it is
            return
        self._read |= {each: [] for each in some} | group_by_experiment(found)
