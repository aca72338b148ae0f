"""A stand-in for a runner: starts `family` in a process group and stays until it is killed.

python runner_of_one.py PATH_OF_PROCESS_GROUP_MODULE ANNOUNCEMENT MODE
"""

import importlib.util
import os
import sys

path, announcement, mode = sys.argv[1:]
spec = importlib.util.spec_from_file_location("process_group", path)
process_group = importlib.util.module_from_spec(spec)
spec.loader.exec_module(process_group)
group = process_group.ProcessGroup.start("family", [announcement, mode], env=os.environ)
group.wait(None)
