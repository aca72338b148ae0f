"""Become a program that ends with the process which started it, where the kernel can see to that.

    python bound_program.py PARENT PROGRAM [ARGUMENT ...]

`mlflow server` starts its web server so. On Linux the kernel sends SIGTERM when the parent dies,
however it dies: it is asked here, since a program that is about to start cannot be asked for from
outside without a fork that Python calls unsafe, and it remembers across the exec. What the program
starts has to see to itself (`main_process`), and finds the parent's number in its environment.

Run by its path; it needs the standard library only.
"""

import ctypes
import os
import signal
import sys

MAIN_PID_ENV_VAR = "_MLFLOW_SERVER_MAIN_PID"

_PR_SET_PDEATHSIG = 1


def main(parent: str, *command: str) -> None:
    os.environ[MAIN_PID_ENV_VAR] = parent
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
        if os.getppid() != int(parent):
            # It died before the kernel was asked.
            sys.exit(1)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
