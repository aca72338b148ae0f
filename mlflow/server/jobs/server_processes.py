"""All processes of one server, none of which outlives its main process in the ordinary course.

`mlflow server` gives everything that it starts an id of this boot, which passes on from process to
process. When the web server has ended, its main process kills what still has it: workers whose
supervisor was killed, for instance, which would go on answering. When the main process itself is
killed, the runner stops the web server.
"""

import logging

from mlflow.environment_variables import _MLFLOW_SERVER_BOOT_ID
from mlflow.server.jobs.local.family import end_marked, mark_of

_logger = logging.getLogger(__name__)


class ServerProcesses:
    """Made by the main process."""

    def __init__(self, boot_id: str) -> None:
        self._mark = mark_of(_MLFLOW_SERVER_BOOT_ID.name, boot_id)

    def end(self) -> None:
        """Kill what is left."""
        if not end_marked(self._mark):
            _logger.warning("A process of the server cannot be killed")
