"""Which online scorers a remote backend can be granted, so that one of them stops no other."""

from collections.abc import Callable
from typing import Any

from mlflow.entities._job import JobScopedPermission
from mlflow.genai.scorers.online import OnlineScorer
from mlflow.server.jobs.errors import InvalidSubmission
from mlflow.server.jobs.executor_registry import JobExecutorRegistry
from mlflow.server.jobs.remote.permissions import grant_for
from mlflow.server.jobs.router import JobRouter

ParamsOf = Callable[[list[OnlineScorer]], dict[str, Any]]


class OnlineGrants:
    """Grants of the jobs that discovery creates.

    Args:
        router: Chooses the backend of a job.
        registry: The backends.
    """

    def __init__(self, router: JobRouter, registry: JobExecutorRegistry) -> None:
        self._router = router
        self._registry = registry

    def grantable(
        self,
        job_name: str,
        online_scorers: list[OnlineScorer],
        params_of: ParamsOf,
        on_skipped: Callable[[OnlineScorer, str], None],
    ) -> list[OnlineScorer]:
        """The scorers that can be granted what they need on the backend that their job gets.

        Args:
            job_name: The online job.
            online_scorers: Scorers of one experiment, meant for one job.
            params_of: The params that the job of these scorers would have.
            on_skipped: Called with a scorer that is left out, and why.
        """
        while online_scorers:
            backend = self._router.choose(job_name, params_of(online_scorers))
            kept = []
            for scorer in online_scorers:
                try:
                    self.grant(backend, job_name, params_of([scorer]))
                except InvalidSubmission as error:
                    on_skipped(scorer, error.reason)
                else:
                    kept.append(scorer)
            if len(kept) == len(online_scorers):
                break
            # Without those left out the job may belong on another backend.
            online_scorers = kept
        return online_scorers

    def grant(
        self,
        backend: str,
        job_name: str,
        params: dict[str, Any],
        workspace: str | None = None,
    ) -> list[JobScopedPermission] | None:
        """See `grant_for`."""
        return grant_for(self._registry.get(backend), backend, job_name, params, workspace)
