"""Tell a filter that the database can never answer from a database that cannot answer now.

Both come as an error of the search. Taking the first for the second would stop all scorers of an
experiment for good, and taking the second for the first would pass traces that were never looked
at. So a filter is at fault only where the error is of a kind that time does not mend, and where the
same search without a filter is answered.
"""

from collections.abc import Callable

from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    StatementError,
)

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, ErrorCode

_LASTING = (DataError, NotSupportedError, ProgrammingError, ValueError, ArithmeticError)
# What MariaDB and MySQL 8 say of a pattern; their drivers call it an operational error.
_BAD_PATTERN = {1139, *range(3685, 3700)}


def is_at_fault(error: MlflowException, answers_without: Callable[[], object]) -> bool:
    """Whether the filter of a search that failed has to be left out.

    Args:
        error: What the tracking store raised.
        answers_without: The same search without the filter; raises if that fails, too.
    """
    if error.error_code == ErrorCode.Name(INVALID_PARAMETER_VALUE):
        return True
    if not _lasts(error.__cause__):
        return False
    try:
        answers_without()
    except MlflowException:
        return False
    return True


def _lasts(cause: BaseException | None) -> bool:
    if isinstance(cause, OperationalError):
        return bool(cause.orig and cause.orig.args) and cause.orig.args[0] in _BAD_PATTERN
    # A statement that SQLAlchemy could not even hand to the driver.
    unsendable = isinstance(cause, StatementError) and not isinstance(cause, DBAPIError)
    return unsendable or isinstance(cause, _LASTING)
