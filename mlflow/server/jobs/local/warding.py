"""The watched process's side of a warden: start it, and hold the pipe that tells it of the end."""

import os
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from mlflow.server.jobs.local.job_environment import fork_server_environment

_MAX_READ_BYTES = 4096
_WARDEN = str(Path(__file__).with_name("warden.py"))


class Warden:
    """A process that outlives this one by a moment, to end what it left."""

    def __init__(self, mark: str, env: Mapping[str, str], grace_seconds: float = 0.0) -> None:
        """Start it.

        Args:
            mark: What is worn by that which must not outlive this process; see `family`.
            env: The environment of this process, of which the warden gets what is no secret.
            grace_seconds: How long what is left may take to end by itself.

        Raises:
            OSError: It cannot be started.
        """
        read_end, self._lifeline = os.pipe()
        os.set_blocking(self._lifeline, False)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", _WARDEN, str(read_end), str(grace_seconds), mark],
                env=fork_server_environment(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                pass_fds=[read_end],
                start_new_session=True,
            )
        except BaseException:
            os.close(self._lifeline)
            raise
        finally:
            os.close(read_end)
        os.set_blocking(self._process.stdout.fileno(), False)
        self._strikes = 0
        self._counting = threading.Lock()

    def trust_until(self, instant: float) -> None:
        """Say that this process sees to its own until then, and will say so again before.

        Args:
            instant: By `Clock`.
        """
        try:
            os.write(self._lifeline, struct.pack("d", instant))
        except OSError:
            # The warden is gone, or has been paused while this process was not.
            pass

    def strikes(self) -> int:
        """How often it has killed because this process seemed to be paused.

        One counts before anything is killed.
        """
        with self._counting:
            try:
                self._strikes += len(os.read(self._process.stdout.fileno(), _MAX_READ_BYTES))
            except OSError:
                # There is nothing new.
                pass
            return self._strikes

    @staticmethod
    def is_possible() -> bool:
        """Whether this platform shows which processes wear a mark."""
        return sys.platform == "linux"

    def dismiss(self) -> None:
        """End it: this process sees to everything itself."""
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        os.close(self._lifeline)
