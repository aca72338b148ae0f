"""A stand-in for a runner that says what it is, runs one job and stays until it is told to end.

Where to say it is in the variable ANNOUNCEMENT, and the job's protocol in PROTOCOL.
"""

import json
import logging
import os
import sys

from mlflow.server.jobs.local.forking import Forking


def run(arguments):
    logging.basicConfig(level=logging.INFO)
    forks = Forking()
    forks.start()
    forks.wait_until_warm(None)
    env = {**os.environ, **json.loads(os.environ["PROTOCOL"])}
    # The job has no store to write to.
    env.pop("MLFLOW_TRACKING_URI", None)
    words = None
    if group := forks.fork(env):
        group.wait(None)
        group.end()
        words = group.stderr.read().decode()
    said = {
        "pid": os.getpid(),
        "server": forks._server and forks._server.pid,
        "words_of_job": words,
        "imported": [*sys.modules],
        "environment": dict(os.environ),
        "name": __name__,
        "arguments": [*arguments],
    }
    path = os.environ["ANNOUNCEMENT"]
    with open(f"{path}.part", "w") as file:
        json.dump(said, file)
    os.replace(f"{path}.part", path)
    sys.stdin.read(1)
    forks.stop()
    os._exit(0)


if __name__ == "__main__":
    run(sys.argv[1:])
