"""The job store on a SQL database: open the transaction, run the statement, read the row count."""

from mlflow.store.jobs.abstract_store import AbstractJobStore
from mlflow.store.jobs.discovery_verbs import DiscoveryVerbs
from mlflow.store.jobs.leader_verbs import LeaderVerbs
from mlflow.store.jobs.leadership_verbs import LeadershipVerbs
from mlflow.store.jobs.legacy_verbs import LegacyVerbs
from mlflow.store.jobs.owner_verbs import OwnerVerbs
from mlflow.store.jobs.report_verbs import ReportVerbs
from mlflow.store.jobs.user_verbs import UserVerbs


class SqlAlchemyJobStore(
    UserVerbs,
    OwnerVerbs,
    ReportVerbs,
    LeaderVerbs,
    LeadershipVerbs,
    DiscoveryVerbs,
    LegacyVerbs,
    AbstractJobStore,
):
    """Jobs of all workspaces of one database.

    Attributes:
        clock_offset_ms: Added to the database's time everywhere; tests move time with it.
    """
