"""The warm parent of job processes: imports once, then forks a child for each job.

**What it holds.** MLflow, the modules of all job functions, the driver of the store's database,
which has connected to nothing, and two descriptors besides the standard ones: the control socket to
its runner and the lifeline of `child_watch`. Its modules lie where the collector does not touch
them and nothing new fits between them (`holes`), so that children share their memory, and in spare
time it moves them to where a fork is cheap (`huge_pages`).

**What it must not hold**, since every child would inherit it: threads (a lock held by one stays
locked in a child for ever), open files, sockets and database connections (two processes would
write to one), and secrets. It is started without the environment variables that may be secrets.
A job's own environment passes it by unread, in a memory file that only the child opens. It checks
its threads and descriptors before its first fork, and says that it is unfit instead of serving.

**What its modules read.** A module that looks at an environment variable while it is imported saw
the server's, not the job's. So every variable that is read during the imports is noted, and the
runner forks only those jobs whose environment has the same values; all others start in a fresh
interpreter. What a module wrote to the environment is written again in the child. A module of the
operator's that reads what was withheld from here, or that starts a thread or opens something when
it is imported, is found out in a throw-away process first and left to the children. What is not
found out: a generator of random numbers that such a module makes as it is imported
(`numpy.random.default_rng()`, `random.Random()`) is at the same place in every child. Those that
`random` and `numpy.random` have of their own begin anew.

**Who is whose parent.** The runner starts the server, the first one by being of one import with it
(`warm_start`); the server is the parent of every job it
forked, each one the leader of a session and a group of its own before the runner learns its
number. The runner watches, times and kills them by that number, and only then asks the server to
reap: until it is asked, nobody else can have the number.

**Who dies when.**
- The runner: the kernel kills the server (`child_watch`), or the closed socket ends it; each job is
  killed by a lifeline of its own, which only the runner holds.
- The server: its jobs go on, still watched and killed by their runner. Their results are in files;
  only the exit code of a job that crashes afterwards is lost. The runner starts another server.
  What is not promised: once such a job has ended, its number is free before the runner kills the
  rest of its group, though only a moment before.
- A job: nobody else is touched. The server does not look at how it ended until it is asked.
- A server that is replaced, since it has grown or the code has changed, forks nothing more and ends
  when its last job has been reaped.

What the runner says, in one datagram each, and what is answered:

    {"withheld": [NAME, ...]}, once   {"reads": ..., "files": ..., "kib": ...} or {"unfit": REASON}
    {} with three descriptors         {"pid": ..., "kib": ...} or {"error": WORDS}
    {"reap": PID}                     {"code": ...}

Linux only. Like `child_watch` it is run by its path and imports the standard library alone at
first: MLflow has to be imported under observation.
"""

import contextlib
import gc
import importlib
import json
import os
import select
import socket
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

_MAX_MESSAGE_BYTES = 1024 * 1024
_JOB_DESCRIPTORS = 3
# How long nobody must have asked for anything.
_SPARE_MS = 20
_HARMLESS_FILES = ("/dev/null", "/dev/random", "/dev/urandom")
# Looks among all variables for those of its own, which are compared by name (`job_environment`).
_LOOKS_FOR_ITS_OWN = "tqdm.std"
# Colours pages that show where a template failed, which nothing of MLflow makes. Mako does without
# it, and without the lexers of all languages that it brings along.
_COLOURS = "mako.ext.pygmentplugin"
# Packages, which nobody changes beneath a running server. What is installed anew comes as a whole,
# the module of the job function included.
_INSTALLED = {"site-packages", "dist-packages"}
_STANDARD_LIBRARY = sysconfig.get_path("stdlib") + os.sep
# Each is looked at before each job, and all of them are told in one datagram.
_MOST_FILES = 500
_KIB_PER_PAGE = os.sysconf("SC_PAGE_SIZE") // 1024


def main(control_fd: str) -> None:
    own = descriptors().keys()
    control = socket.socket(fileno=int(control_fd))
    withheld = json.loads(control.recv(_MAX_MESSAGE_BYTES))["withheld"]
    try:
        warm = warm_up(withheld, own)
    except Unfit as reason:
        _send(control, {"unfit": str(reason)})
        return
    _send(control, warm.told)
    serve(control, warm, own)


class Unfit(Exception):
    """This process cannot be forked for jobs, and why."""


@dataclass(frozen=True)
class Warm:
    """A process that has imported everything.

    Attributes:
        told: What its runner has to know of it.
        written: What modules wrote to the environment while they were imported.
        child: The module `fork_child`.
        spare_time: What is done a little at a time while there is nothing else to do.
    """

    told: dict
    written: dict[str, str | None]
    child: ModuleType
    spare_time: Iterator[None]


def warm_up(withheld: Collection[str], own: Collection[int], besides: Collection[str] = ()) -> Warm:
    """Import all that jobs need, once in the life of a process.

    Args:
        withheld: The variables of the runner that this process does not have.
        own: The descriptors that it may have.
        besides: Modules to import although no job needs them.

    Raises:
        Unfit: It must not be forked.
    """
    with contextlib.suppress(ImportError):
        importlib.import_module(_LOOKS_FOR_ITS_OWN)
    with watched_environment() as seen, _uncollected():
        _import_mako_without_colours()
        modules = _import_all(withheld, own)
        child = importlib.import_module("mlflow.server.jobs.local.fork_child")
        child.prepare()
        free_memory = importlib.import_module("mlflow.server.jobs.local.free_memory")
        holes = importlib.import_module("mlflow.server.jobs.local.holes")
        huge_pages = importlib.import_module("mlflow.server.jobs.local.huge_pages")
        for name in besides:
            importlib.import_module(name)
    _flush()
    if reason := unfitness(seen, own):
        raise Unfit(reason)
    gc.collect()
    holes.fill()
    gc.freeze()
    free_memory.give_back()
    told = {"reads": seen.reads, "files": _files(modules), "kib": _resident_kib()}
    return Warm(told, seen.written(), child, huge_pages.collapse_step_by_step())


def serve(control: socket.socket, warm: Warm, own: Collection[int]) -> None:
    """Fork and reap as the runner asks, until it asks no more.

    Args:
        control: To the runner.
        warm: This process.
        own: Its descriptors, none of which a job may have.
    """

    def run_child(letter: int, lifeline: int, stderr: int, started: int) -> None:
        warm.child.run(letter, lifeline, stderr, started, own, warm.written)

    _serve(control, run_child, warm.spare_time)


@dataclass
class SeenEnvironment:
    """What a stretch of code did with the environment variables.

    Attributes:
        before: All of them, as they were at first.
        reads: The ones that were read by name, with their values at first; None for those not
            there.
        is_listed: Whether all of them were read, whatever their names.
    """

    before: dict[str, str]
    reads: dict[str, str | None] = field(default_factory=dict)
    is_listed: bool = False

    def written(self) -> dict[str, str | None]:
        """What was set by now, and as None what was removed."""
        names = self.before.keys() | os.environ.keys()
        return {
            name: os.environ.get(name)
            for name in names
            if os.environ.get(name) != self.before.get(name)
        }


@contextlib.contextmanager
def watched_environment() -> Iterator[SeenEnvironment]:
    """Note which environment variables Python code reads, in this process."""
    seen = SeenEnvironment(dict(os.environ))

    class Watched(type(os.environ)):
        def __getitem__(self, name):
            if isinstance(name, str):
                seen.reads[name] = seen.before.get(name)
            return super().__getitem__(name)

        def __iter__(self):
            seen.is_listed = True
            return super().__iter__()

    # The object stays the same: modules keep references to it.
    usual = os.environ.__class__
    os.environ.__class__ = Watched
    try:
        yield seen
    finally:
        os.environ.__class__ = usual


def unfitness(seen: SeenEnvironment, own: Collection[int]) -> str | None:
    """Why this process cannot be forked for jobs; None if it can.

    Args:
        seen: What its modules did with the environment.
        own: The descriptors that it may have.
    """
    if seen.is_listed:
        return "it reads all environment variables"
    # Mathematical libraries end their idle threads before a fork, and start them when needed.
    if (pid := os.fork()) == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    threads = [Path(f"/proc/self/task/{task}/comm") for task in os.listdir("/proc/self/task")]
    if len(threads) > 1:
        return f"it has threads: {', '.join(name.read_text().strip() for name in threads)}"
    others = descriptors().items()
    opened = [name for fd, name in others if fd not in own and name not in _HARMLESS_FILES]
    return f"it has open files: {', '.join(opened)}" if opened else None


def descriptors() -> dict[int, str]:
    """What is open in this process, by number."""
    found = {}
    for fd in map(int, os.listdir("/proc/self/fd")):
        # The one that lists them is gone.
        with contextlib.suppress(FileNotFoundError):
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    return found


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    # Almost all that imports make stays, and to look through it again and again takes a sixth of
    # their time.
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _flush() -> None:
    # What is left there would be written again by each child.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            # Closed, or not there.
            stream.flush()


def _import_mako_without_colours() -> None:
    # Already there, it costs nothing more.
    if _COLOURS in sys.modules:
        return
    # An entry that is None makes an import fail.
    sys.modules[_COLOURS] = None
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module("mako.exceptions")
    finally:
        del sys.modules[_COLOURS]


def _import_all(withheld: Collection[str], own: Collection[int]) -> list[ModuleType]:
    functions = importlib.import_module("mlflow.server.jobs.functions")
    importlib.import_module("mlflow.server.jobs._job_subproc_entry")
    listed = functions._SUPPORTED_JOB_FUNCTION_LIST
    names = [fullname.rpartition(".")[0] for fullname in listed]
    # MLflow's own modules would import whatever is listed.
    all_listed, listed[:] = listed[:], []
    imported = [
        importlib.import_module(name)
        for name in dict.fromkeys(names)
        if name.startswith("mlflow.") or _can_be_shared(name, withheld, own)
    ]
    listed[:] = all_listed
    return imported


def _can_be_shared(module: str, withheld: Collection[str], own: Collection[int]) -> bool:
    """Import a module in a process that is thrown away, and look what that did to it."""
    sys.stderr.flush()
    if (pid := os.fork()) == 0:
        reason = "its import ends the process"
        try:
            with watched_environment() as seen:
                importlib.import_module(module)
            missed = sorted(set(withheld).intersection(seen.reads))
            reason = f"it reads {', '.join(missed)}" if missed else unfitness(seen, own)
        except Exception as error:  # noqa: BLE001 - a module may raise anything as it loads
            reason = repr(error)
        finally:
            if reason:
                print(f"{module} is imported by each of its jobs: {reason}", file=sys.stderr)
                sys.stderr.flush()
            os._exit(bool(reason))
    return os.waitpid(pid, 0)[1] == 0


def _files(jobs: Iterable[ModuleType]) -> dict[str, int]:
    """When the code of jobs was changed: their modules, and what else is the operator's."""
    others = [module for module in sys.modules.values() if isinstance(module, ModuleType)]
    found: dict[str, int] = {}
    for module in (*jobs, *filter(_is_the_operators, others)):
        path = _path(module)
        if path and len(found) < _MOST_FILES:
            # One in an archive has no time of its own.
            with contextlib.suppress(OSError):
                found[path] = os.stat(path).st_mtime_ns
    return found


def _is_the_operators(module: ModuleType) -> bool:
    path = _path(module)
    if not path or module.__name__.partition(".")[0] in ("mlflow", "__main__"):
        return False
    return not path.startswith(_STANDARD_LIBRARY) and not _INSTALLED.intersection(
        path.split(os.sep)
    )


def _path(module: ModuleType) -> str | None:
    # To ask a module that is loaded when it is used would load it.
    return vars(module).get("__file__")


def _resident_kib() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * _KIB_PER_PAGE


def _serve(
    control: socket.socket,
    run_child: Callable[[int, int, int, int], None],
    spare_time: Iterator[None],
) -> None:
    look = select.poll()
    look.register(control, select.POLLIN)
    while True:
        while not look.poll(_SPARE_MS) and next(spare_time, True) is None:
            pass
        message, fds, _, _ = socket.recv_fds(control, _MAX_MESSAGE_BYTES, _JOB_DESCRIPTORS)
        if not message:
            return
        request = json.loads(message)
        if "reap" in request:
            status = os.waitpid(request["reap"], 0)[1]
            answer = {"code": os.waitstatus_to_exitcode(status)}
        else:
            answer = _fork(fds, run_child)
        _send(control, answer)


def _fork(fds: Iterable[int], run_child: Callable[[int, int, int, int], None]) -> dict:
    starting, started = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            os.close(starting)
            run_child(*fds, started)
    except OSError as error:
        return {"error": str(error)}
    finally:
        for fd in (*fds, started):
            os.close(fd)
        # Ends when the child leads its own group, or is gone.
        os.read(starting, 1)
        os.close(starting)
    return {"pid": pid, "kib": _resident_kib()}


def _send(control: socket.socket, message: dict) -> None:
    control.send(json.dumps(message).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
