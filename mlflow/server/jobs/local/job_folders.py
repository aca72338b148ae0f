"""The folders of jobs, below one of their runner, which the next runner removes if need be.

Params lie there until the job has read them, and results until the runner has. Nobody but their
user can enter. A runner holds a lock on its folder for as long as it lives. The kernel drops it
however the runner ends, so a folder whose lock is free belongs to nobody. (What cleans temporary
directories by age honours such a lock as well.)
"""

import contextlib
import os
import shutil
import tempfile
import threading
from pathlib import Path

if os.name != "nt":
    import fcntl

_PREFIX = "mlflow-job-runner-"


class JobFolders:
    """The folders of one runner's jobs. Theirs is made when the first job needs it."""

    def __init__(self) -> None:
        self._root: Path | None = None
        self._held: int | None = None
        self._making = threading.Lock()

    def make(self) -> tempfile.TemporaryDirectory:
        """Make the folder of one job, which whoever asks for it removes."""
        with self._making:
            if self._root is None or not self._root.exists():
                self._release()
                self._root, self._held = _new_folder()
            return tempfile.TemporaryDirectory(
                prefix="", dir=self._root, ignore_cleanup_errors=True
            )

    def remove(self) -> None:
        """Remove what is there."""
        with self._making:
            if self._root is not None:
                shutil.rmtree(self._root, ignore_errors=True)
            self._release()

    def _release(self) -> None:
        if self._held is not None:
            os.close(self._held)
        self._root = self._held = None


def remove_abandoned() -> int:
    """Remove the folders of runners that are gone; how many there were."""
    count = 0
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # One that is not ours, or gone by now, does not matter.
        with contextlib.suppress(OSError):
            held = _hold(folder)
            if held is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(held)
                count += 1
    return count


def _new_folder() -> tuple[Path, int | None]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        held = None
        # Where a file system has no locks, nobody takes a folder for abandoned either.
        with contextlib.suppress(OSError):
            held = _hold(folder)
        # Another runner may have looked before this one held it.
        if folder.exists():
            return folder, held
        if held is not None:
            os.close(held)


def _hold(folder: Path) -> int | None:
    """A descriptor with a lock on a folder of this user; None if somebody else holds it.

    Raises:
        OSError: It cannot be opened or locked.
    """
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        if os.fstat(fd).st_uid == os.getuid():
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
    except BlockingIOError:
        pass
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return None
