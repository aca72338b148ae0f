"""A stand-in for a runner that forks one job and stays until it is killed.

python runner_of_forks.py ANNOUNCEMENT: the job's environment is read from standard input.
"""

import json
import os
import sys

from mlflow.server.jobs.local.forking import ForkServer

env = json.load(sys.stdin)
server = ForkServer.start(os.environ)
server.wait_until_warm(None)
group = server.fork(env)
with open(f"{sys.argv[1]}.part", "w") as file:
    json.dump({"server": server.pid, "job": group.pid}, file)
os.replace(f"{sys.argv[1]}.part", sys.argv[1])
group.wait(None)
