"""Read what a job writes to its standard error: forward each line, keep the end of it."""

import codecs
import logging
import os
import selectors
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO

_logger = logging.getLogger(__name__)

_TAIL_CHARS = 4000
# A line that is longer is forwarded in pieces.
_LINE_CHARS = 8192
_READ_BYTES = 65536
# A process that left its group may go on writing; this much is read after the job has ended.
_READS_AFTER_CLOSE = 32
_CLOSE_SECONDS = 5.0


class StderrTail:
    """Reads a stream to its end, on a thread of its own, in bounded memory."""

    def __init__(
        self, stream: BinaryIO, prefix: str, forward: Callable[[str], None] | None = None
    ) -> None:
        """
        Args:
            stream: Where to read.
            prefix: What to put before each forwarded line.
            forward: Takes one line at a time, with its newline; by default it goes to this
                process's standard error.
        """
        self._stream = stream
        self._prefix = prefix
        self._forward = forward or _write_to_stderr
        self._decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        self._line = ""
        self._tail = ""
        self._closed_read, self._closed_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="mlflow-job-stderr", daemon=True)
        self._thread.start()

    def close(self) -> str:
        """Take in what has been written so far, and stop.

        Returns:
            The last 4000 characters of all that was written.
        """
        if self._closed_write is not None:
            os.close(self._closed_write)
            self._closed_write = None
            self._thread.join(_CLOSE_SECONDS)
        return self._tail

    def _run(self) -> None:
        try:
            # Unlike epoll, it takes no descriptor of its own.
            with self._stream, selectors.PollSelector() as selector:
                self._read(selector)
            self._take(self._decode(b"", True))
            if self._line:
                self._emit(self._line)
        except Exception:
            _logger.exception("Lost the standard error of a job (%s)", self._prefix.strip())
        finally:
            os.close(self._closed_read)

    def _read(self, selector: selectors.BaseSelector) -> None:
        stderr = self._stream.fileno()
        os.set_blocking(stderr, False)
        selector.register(stderr, selectors.EVENT_READ)
        selector.register(self._closed_read, selectors.EVENT_READ)
        reads_left = _READS_AFTER_CLOSE
        while reads_left:
            ready = {key.fd for key, _ in selector.select()}
            if self._closed_read in ready:
                reads_left -= 1
            if stderr not in ready:
                return
            chunk = os.read(stderr, _READ_BYTES)
            if not chunk:
                return
            self._take(self._decode(chunk))

    def _take(self, text: str) -> None:
        self._tail = (self._tail + text)[-_TAIL_CHARS:]
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._emit(line)
        while len(self._line) > _LINE_CHARS:
            self._emit(self._line[:_LINE_CHARS])
            self._line = self._line[_LINE_CHARS:]

    def _emit(self, line: str) -> None:
        for start in range(0, len(line) or 1, _LINE_CHARS):
            self._forward(f"{self._prefix}{line[start : start + _LINE_CHARS]}\n")


def _write_to_stderr(line: str) -> None:
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        # No stderr, or it is closed: the tail is still kept.
        pass
