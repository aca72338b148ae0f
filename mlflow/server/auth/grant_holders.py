"""Whether a user of the basic-auth app holds what a job would be granted on the user's behalf."""

from collections.abc import Callable

from mlflow.entities._job import JobScopedPermission
from mlflow.server.auth.online_scorer_use import Caller

Holds = Callable[[str, JobScopedPermission], bool]


def holds_by(
    is_admin: Callable[[str], bool],
    may_edit: Callable[[str, str], bool],
    caller: Callable[[str], Caller],
) -> Holds:
    """Make the question whether the user of a name holds a permission.

    Args:
        is_admin: Whether a user of this name is an administrator, who holds everything.
        may_edit: Whether a user may edit the experiment with an id.
        caller: What else a user may do.
    """

    def holds(username: str, permission: JobScopedPermission) -> bool:
        identifier = permission.resource_identifier
        if is_admin(username):
            return True
        match permission.resource_type:
            case "experiment":
                return may_edit(username, identifier)
            case "gateway_endpoint":
                return caller(username).may_use(identifier)
            case "prompt":
                return caller(username).may_read(identifier)
            case _:
                return False

    return holds
