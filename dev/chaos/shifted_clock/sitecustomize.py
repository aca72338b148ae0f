"""Let Python sleep under libfaketime, which refuses the system call that `time.sleep` makes."""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
