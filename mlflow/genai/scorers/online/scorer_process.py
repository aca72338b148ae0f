"""A scorer in a process of its own, which is all that it can end.

It is asked one thing at a time: so what was asked last is what the process ended of. What it
sends is unpickled here, where its code would run otherwise.
"""

import logging
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection

from mlflow.entities import Feedback, Trace
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.online.entities import OnlineScorer
from mlflow.server.jobs.local.process_group import describe_exit

_logger = logging.getLogger(__name__)

# A fresh interpreter, which costs seconds, each time.
_MOST_ENDS = 3
# To import MLflow on a busy host, and to load the scorer.
_START_SECONDS = 120.0
# From the end of its connection to its own end.
_END_SECONDS = 5.0


class ScorerProcess:
    """Asks the scorer, and starts another process where the last one has ended.

    Args:
        online_scorer: The scorer.
        patience_seconds: How long one answer may take.
    """

    def __init__(self, online_scorer: OnlineScorer, patience_seconds: float) -> None:
        self._online_scorer = online_scorer
        self._patience_seconds = patience_seconds
        self._one_at_a_time = threading.Lock()
        self._process: subprocess.Popen | None = None
        self._connection: Connection | None = None
        self._ends = 0
        self._last_words = ""

    def ask(self, traces: Sequence[Trace], session_id: str | None) -> list[Feedback]:
        """What the scorer says of a session, or without a session id of the one trace.

        Raises:
            MlflowException: It gave no answer, or has ended too many processes to be asked again.
        """
        with self._one_at_a_time:
            if self._ends >= _MOST_ENDS:
                raise MlflowException(
                    f"The scorer was not called here, since it gave no answer {self._ends} times "
                    f"in this batch. The last time {self._last_words}."
                )
            try:
                feedbacks, error = self._answer(traces, session_id)
            except MlflowException:
                raise
            except TimeoutError as silence:
                self._ended(str(silence))
            except BlockingIOError:
                self._ended(_silence(self._patience_seconds))
            except (EOFError, OSError):
                self._ended(_how_it_ends(self._process))
            except Exception as unreadable:  # noqa: BLE001 - the answer's values may be anything
                error = f"The scorer cannot be asked, or its answer not be read: {unreadable!r}"
            if error is not None:
                raise MlflowException(error)
            return feedbacks

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._connection.close()
            self._process = None

    def _answer(
        self, traces: Sequence[Trace], session_id: str | None
    ) -> tuple[list[Feedback] | None, str | None]:
        if self._process is None:
            self._start()
            self._receive(_START_SECONDS)
        self._connection.send((session_id, [trace.to_json() for trace in traces]))
        return self._receive(self._patience_seconds)

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            try:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "mlflow.genai.scorers.online._scorer_process_entry",
                        str(theirs.fileno()),
                    ],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                )
            except OSError as error:
                raise MlflowException(
                    f"The scorer's process could not be started: {error}"
                ) from error
            _wait_no_longer_than(self._patience_seconds, ours)
            self._connection = Connection(ours.detach())
        self._connection.send(asdict(self._online_scorer))

    def _receive(self, seconds: float):
        if not self._connection.poll(seconds):
            raise TimeoutError(_silence(seconds))
        return self._connection.recv()

    def _ended(self, how: str) -> None:
        self.close()
        self._ends += 1
        self._last_words = how
        _logger.warning("The scorer %r gave no answer: %s", self._online_scorer.name, how)
        raise MlflowException(f"The scorer gave no answer: {how}.")


def _wait_no_longer_than(seconds: float, ours: socket.socket) -> None:
    """Bound what `poll` does not: a question that is not taken, an answer that is not finished."""
    limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


def _silence(seconds: float) -> str:
    return f"it did not answer within {seconds:g} seconds"


def _how_it_ends(process: subprocess.Popen) -> str:
    try:
        code = process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        return "it closed its connection"
    return f"its process {describe_exit(code)}" if code else "its process ended by itself"
