"""The job store as users of one workspace see it; runners use the store of all workspaces."""

from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.tables import jobs
from mlflow.store.workspace_aware_mixin import WorkspaceAwareMixin


class WorkspaceAwareSqlAlchemyJobStore(WorkspaceAwareMixin, SqlAlchemyJobStore):
    """Reads, cancels, deletes and creates only in the active workspace."""

    def _visible(self):
        return [jobs.c.workspace == self._get_active_workspace()]

    def _workspace_of_new_job(self, asked: str | None) -> str:
        return self._get_active_workspace()
