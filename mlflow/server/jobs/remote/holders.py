"""A job may be granted no more than whoever submits it holds.

A job token stands in for its user where the job runs, so without this a declaration in a scorer
would open what its author may not. What somebody holds is known to the authorization of the server,
if it has any; that says how to ask. Jobs that nobody submits have been checked when they were set
up, as online scorers are.
"""

from collections.abc import Callable, Iterable

from mlflow.entities._job import JobScopedPermission
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

Holds = Callable[[str, JobScopedPermission], bool]

_holds: Holds | None = None


def ask_before_granting(holds: Holds | None) -> None:
    """Name the authorization of this process, which tells whether a user holds a permission."""
    global _holds
    _holds = holds


def require_held(username: str | None, permissions: Iterable[JobScopedPermission]) -> None:
    """Refuse a grant that goes beyond what its user holds.

    Raises:
        MlflowException: PERMISSION_DENIED; the message names the resource.
    """
    if _holds is None or username is None:
        return
    for permission in permissions:
        if not _holds(username, permission):
            raise MlflowException(
                f"This job would be granted {permission.permission} on the "
                f"{permission.resource_type} {permission.resource_identifier!r}, which "
                f"{username!r} does not have.",
                error_code=PERMISSION_DENIED,
            )
