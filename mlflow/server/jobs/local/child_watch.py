"""Run a module as a program that does not outlive the runner that started it.

Started by its path, so that the watch is on before anything of MLflow is imported; it needs the
standard library only. The runner alone holds the write end of a pipe. When the runner is gone,
however it died, the read end here is at its end, and this process kills its whole group.

    python child_watch.py thread|kernel READ_END MODULE [ARGUMENT ...]

MODULE is a dotted name, or the path of a file. `thread` is the safe choice; `kernel` is for a
program that must have no threads.
"""

import fcntl
import functools
import os
import runpy
import select
import signal
import sys
import threading


def main(how: str, read_end: str, module: str, *arguments: str) -> None:
    (watch if how == "thread" else watch_by_kernel)(int(read_end))
    import_as_a_module_would()
    sys.argv = [module, *arguments]
    if module.endswith(".py"):
        runpy.run_path(module, run_name="__main__")
    else:
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def import_as_a_module_would() -> None:
    """Have what `python -m` has to import from: the directory of a file that is run is no place."""
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.getcwd()


def watch(read_end: int, kernel_does: bool = False) -> None:
    """Kill this process group as soon as the other end of the pipe is closed.

    Args:
        read_end: This end.
        kernel_does: Whether the kernel is known to do so alone; see `kernel_kills`.
    """
    watch_by_kernel(read_end)
    if kernel_does:
        return
    threading.Thread(
        target=_end_with_writer, args=(read_end,), name="mlflow-job-lifeline", daemon=True
    ).start()


def watch_by_kernel(read_end: int) -> None:
    """The same without a thread, where the kernel can do it alone.

    A thread would have to wait while other code holds the interpreter; a signal does not.
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(read_end, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(read_end, fcntl.F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(read_end, fcntl.F_GETFL)
        fcntl.fcntl(read_end, fcntl.F_SETFL, flags | os.O_ASYNC)
    # The other end may have been closed before the kernel was asked.
    look = select.poll()
    look.register(read_end)
    if look.poll(0):
        _end_with_writer(read_end)


@functools.cache
def kernel_kills() -> bool:
    """Whether this kernel does as `watch_by_kernel` asks, which not every one does.

    It is tried on a child, the first time. This process must have no threads then.
    """
    watched, lifeline = os.pipe()
    armed, arm = os.pipe()
    survived, survive = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            os.setpgid(0, 0)
            os.close(lifeline)
            os.close(survive)
            watch_by_kernel(watched)
            os.write(arm, b"a")
            os.read(survived, 1)
        finally:
            os._exit(0)
    for fd in (watched, arm, survived):
        os.close(fd)
    os.read(armed, 1)
    os.close(armed)
    # The signal is on its way when this returns, so the child cannot see what is closed next.
    os.close(lifeline)
    os.close(survive)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _end_with_writer(read_end: int) -> None:
    try:
        while os.read(read_end, 1):
            pass
    finally:
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
