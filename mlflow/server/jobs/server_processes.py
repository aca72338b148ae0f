"""All processes of one server, none of which outlives its main process.

`mlflow server` gives everything that it starts an id of this boot, which passes on from process to
process. When the web server has ended, its main process kills what still has it: workers whose
supervisor was killed, for instance, which would go on answering. When the main process itself is
killed, its warden does that.
"""

import logging
import os

from mlflow.environment_variables import _MLFLOW_SERVER_BOOT_ID
from mlflow.server.jobs.local.family import end_marked, mark_of
from mlflow.server.jobs.local.warding import Warden

_logger = logging.getLogger(__name__)

# What a runner whose launcher is gone takes to stop its jobs and leave them to recovery.
_ORDERLY_END_SECONDS = 8.0


class ServerProcesses:
    """Made by the main process."""

    def __init__(self, boot_id: str) -> None:
        self._mark = mark_of(_MLFLOW_SERVER_BOOT_ID.name, boot_id)
        self._warden = None
        if Warden.is_possible():
            try:
                self._warden = Warden(self._mark, os.environ, _ORDERLY_END_SECONDS)
            except OSError as error:
                _logger.warning("The server's processes may outlive it if it is killed: %s", error)

    def end(self) -> None:
        """Kill what is left."""
        if not end_marked(self._mark):
            _logger.warning("A process of the server cannot be killed")
        if self._warden:
            self._warden.dismiss()
