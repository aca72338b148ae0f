"""What a runner's process starts, stops and wakes."""

from dataclasses import dataclass

from mlflow.server.jobs.claimer import Claimer
from mlflow.server.jobs.executor import AbstractJobExecutor
from mlflow.server.jobs.loop import Loop
from mlflow.server.jobs.owned_jobs import OwnedJobs
from mlflow.server.jobs.scheduler import Scheduler
from mlflow.server.jobs.wakeups.announce import Announcer
from mlflow.server.jobs.wakeups.base import EVERYTHING, Hint, Receivers
from mlflow.store.jobs.abstract_store import AbstractJobStore


@dataclass(frozen=True)
class Parts:
    """What the runner process starts and stops.

    Attributes:
        store: The job store.
        owned: The jobs under way.
        claimer: What is told to drain.
        executors: To be started first and stopped last.
        claiming: The loop that takes work.
        canceling: The loop that looks for cancellations.
        supervising: The loops, that one included, which end only after the last job.
        leading: The loops of the leadership, the scheduler's first; empty where it is disabled.
        discovering: The loop of next batches.
        scheduler: What resigns; None where it is disabled.
        wakeups: The receivers of hints.
        announcer: What tells the other replicas.
    """

    store: AbstractJobStore
    owned: OwnedJobs
    claimer: Claimer
    executors: list[AbstractJobExecutor]
    claiming: Loop
    canceling: Loop
    supervising: list[Loop]
    leading: list[Loop]
    discovering: Loop
    scheduler: Scheduler | None
    wakeups: Receivers
    announcer: Announcer

    def wake(self, hint: Hint = EVERYTHING, is_own: bool = True) -> None:
        """Look soon at what the hint says.

        Args:
            hint: What may be worth a look.
            is_own: False where all replicas have been told the same.
        """
        if Hint.WORK in hint:
            if is_own:
                self.claiming.wake()
            else:
                self.claiming.wake_among_others()
        if Hint.CANCEL in hint:
            self.canceling.wake()
        if Hint.LEADER in hint and self.scheduler is not None:
            self.scheduler.look()
            self.leading[0].wake_among_others()
            self.discovering.wake_among_others()

    def farewell(self) -> None:
        """Tell the others that there may be a leader to elect, and jobs to recover."""
        self.announcer.to_others_now(Hint.LEADER)
