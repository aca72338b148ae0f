"""The contenders of the queue core: what they print."""

import json
import subprocess
import sys

from dev.build.project import ROOT
from dev.serving import clean_environment


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
