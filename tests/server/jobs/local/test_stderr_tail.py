"""The standard error of a job is forwarded by lines and kept in bounded memory."""

import contextlib
import io
import os
import sys
import threading

import pytest

from mlflow.server.jobs.local.stderr_tail import StderrTail

_PATIENCE_SECONDS = 30.0


@pytest.fixture
def pipe():
    """The two ends of a job's stderr: where it is read, where it is written."""
    read_end, write_end = os.pipe()
    writer = os.fdopen(write_end, "wb", buffering=0)
    yield os.fdopen(read_end, "rb", buffering=0), writer
    writer.close()


def _read(pipe, text: bytes):
    """What is forwarded of a text, and its tail."""
    reader, writer = pipe
    lines = []
    tail = StderrTail(reader, "[job 1] ", lines.append)
    writer.write(text)
    writer.close()
    return lines, tail.close()


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"one\ntwo\n", ["[job 1] one\n", "[job 1] two\n"]),
        (b"no newline", ["[job 1] no newline\n"]),
        ("Grüße\n".encode(), ["[job 1] Grüße\n"]),
        (b"\xff\n", ["[job 1] �\n"]),
        (b"a\n\nb\n", ["[job 1] a\n", "[job 1] \n", "[job 1] b\n"]),
        pytest.param(
            b"x" * 8193 + b"\n",
            ["[job 1] " + "x" * 8192 + "\n", "[job 1] x\n"],
            id="a long line in pieces",
        ),
    ],
)
def test_each_line_is_forwarded_with_the_jobs_id(pipe, text, lines):
    forwarded, tail = _read(pipe, text)
    assert forwarded == lines
    assert tail == text.decode("utf-8", "replace")[-4000:]


def test_the_tail_holds_the_last_4000_characters(pipe):
    _, tail = _read(pipe, b"first\n" + b"y" * 5000 + b"last")
    assert len(tail) == 4000
    assert tail.endswith("yyylast")


def test_a_line_is_forwarded_before_the_job_has_ended(pipe):
    reader, writer = pipe
    seen = threading.Event()
    tail = StderrTail(reader, "", lambda line: seen.set())
    writer.write(b"early\n")
    assert seen.wait(_PATIENCE_SECONDS)
    tail.close()


def test_closing_does_not_wait_for_a_descendant_that_keeps_the_pipe(pipe):
    reader, writer = pipe
    tail = StderrTail(reader, "", lambda line: None)
    writer.write(b"all of it")

    assert tail.close() == "all of it"
    assert not tail._thread.is_alive()
    assert tail.close() == "all of it"


def test_a_descendant_that_never_stops_writing_is_left_alone(pipe):
    reader, writer = pipe

    def write():
        with contextlib.suppress(BrokenPipeError):
            while True:
                writer.write(b"more\n" * 1000)

    descendant = threading.Thread(target=write)
    tail = StderrTail(reader, "", lambda line: None)
    descendant.start()

    tail.close()

    assert not tail._thread.is_alive()
    descendant.join(_PATIENCE_SECONDS)
    assert not descendant.is_alive()


def test_lines_go_to_the_standard_error_of_this_process(pipe, monkeypatch):
    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    reader, writer = pipe
    tail = StderrTail(reader, "[job 1] ")
    writer.write(b"a line\n")
    tail.close()
    assert stderr.getvalue() == "[job 1] a line\n"


def test_a_closed_standard_error_does_not_cost_the_tail(pipe, monkeypatch):
    stderr = io.StringIO()
    stderr.close()
    monkeypatch.setattr(sys, "stderr", stderr)
    reader, writer = pipe
    tail = StderrTail(reader, "[job 1] ")
    writer.write(b"a line\n")
    assert tail.close() == "a line\n"
