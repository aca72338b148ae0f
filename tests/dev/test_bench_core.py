"""The contenders of the queue core: how many jobs each may have at once, and what they print."""

import contextlib
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest

from dev.bench.core.contest import Entrant
from dev.bench.peers import Peer
from dev.bench.sizes import CoreSizes
from dev.build.project import ROOT
from dev.serving import clean_environment
from tests.tracking_databases import copy_of

# What is running when the first job begins is what the first claim took.
_CLAIMED_AT_FIRST = """
import sys, threading
from sqlalchemy import func, select
from dev.bench.core.ours import contender
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.statements import in_states
from mlflow.store.jobs.tables import jobs

running = select(func.count()).select_from(jobs).where(in_states([JobStatus.RUNNING]))
found, begun = [], threading.Event()

def note(sent_at):
    with ours._store.engine.connect() as connection:
        found.append(connection.scalar(running))
    begun.set()

ours = contender(sys.argv[1], int(sys.argv[2]))
ours.enqueue_bulk(25)
ours.start(note)
assert begun.wait(60)
print(found[0])
ours.stop()
"""


@pytest.mark.parametrize("slots", [10, 20])
def test_our_runner_has_as_many_slots_as_the_contender(slots, tmp_path, empty_database):
    command = [sys.executable, "-c", _CLAIMED_AT_FIRST, copy_of(empty_database, tmp_path)]

    done = subprocess.run(
        [*command, str(slots)],
        cwd=ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    assert done.stdout.split() == [str(slots)]


def test_a_contender_is_told_the_slots_of_its_peer(tmp_path):
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\necho $5 > {tmp_path}/slots\n")
    python.chmod(0o755)
    databases = SimpleNamespace(empty=lambda kind: contextlib.nullcontext("sqlite://"))
    entrant = Entrant(Peer("ours", concurrency=20), str(python), databases, "sqlite", CoreSizes())

    with pytest.raises(RuntimeError, match="produce of dev.bench.core.ours ended with 0"):
        entrant.measure()

    assert (tmp_path / "slots").read_text() == "20\n"


def test_what_a_queue_prints_is_no_answer_of_its_process():
    child = [sys.executable, "dev/bench/core/child.py", "produce", "tests.dev.talkative_queue"]

    done = subprocess.run(
        [*child, "sqlite://", "10", "3"],
        cwd=ROOT,
        env=clean_environment({"BENCH_RATE": "1000"}),
        input="2\n",
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout)["jobs"] == 7
    assert done.stderr.count("{") == 10
