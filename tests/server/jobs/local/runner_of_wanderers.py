"""A stand-in for a runner: has a watchdog, starts `wanderers`, and stays until it is killed.

python runner_of_wanderers.py ANNOUNCEMENT
"""

import os
import sys

from mlflow.server.jobs.clock import Clock
from mlflow.server.jobs.local.family import mark_of_all_families
from mlflow.server.jobs.local.process_group import ProcessGroup
from mlflow.server.jobs.watchdog import Watchdog

Watchdog(mark_of_all_families()).expect_sign_by(Clock().monotonic() + 600)
ProcessGroup.start("wanderers", [sys.argv[1], "stay"], env=os.environ).wait(None)
