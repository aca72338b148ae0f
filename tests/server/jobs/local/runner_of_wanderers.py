"""A stand-in for a runner: has a warden, starts `wanderers`, and stays until it is killed.

python runner_of_wanderers.py ANNOUNCEMENT
"""

import os
import sys

from mlflow.server.jobs.local.family import mark_of_all_families
from mlflow.server.jobs.local.process_group import ProcessGroup
from mlflow.server.jobs.local.warding import Warden

Warden(mark_of_all_families(), os.environ)
ProcessGroup.start("wanderers", [sys.argv[1], "stay"], env=os.environ).wait(None)
