"""With the basic-auth app, a user's remote job is granted what the user holds and no more."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.server.auth import guarded_submissions

ROOT = Path(__file__).parents[3]


def test_a_user_submits_what_the_user_holds_and_an_administrator_anything(tmp_path):
    done = subprocess.run(
        [sys.executable, guarded_submissions.__file__, str(tmp_path)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "without the endpoint": 403,
        "administrator": 200,
        "with the endpoint": 200,
        "without the prompt": 403,
    }
