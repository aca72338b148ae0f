"""Carry out the faults of a schedule on a fleet, and undo each when its time is over.

Nothing is done to a replica that is down, paused or cut off already, and none is taken away while
no other is up: a fleet of which nobody is left has nobody who could recover.
"""

import heapq
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from dev.chaos.effects import EffectLog
from dev.chaos.faults import DATABASE_FAULTS, DISK_FAULTS, Fault
from dev.chaos.outages import DATABASE, DOWN, UP
from dev.chaos.replica import Replica
from dev.chaos.surroundings import Surroundings, full_disk
from tests.pauses import pause_between_writes

# A pause or a cut is longer than a lease, so that its jobs pass on meanwhile.
_PAST_THE_LEASE = 1.7
_AWAY_SECONDS = 1.0
_FULL_SECONDS = 1.5
_RESTART_SECONDS = 0.3


class Attack:
    """What happens to a fleet, one fault at a time, and what is to happen later."""

    def __init__(
        self, replicas: list[Replica], around: Surroundings, log: EffectLog, lease_seconds: float
    ) -> None:
        self._replicas = replicas
        self._around = around
        self._log = log
        self._past_lease = lease_seconds * _PAST_THE_LEASE
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._disturbed: set[int] = set()
        self._ended: dict[int, int] = {}
        self._busy: threading.Thread | None = None
        self._up: set[str] = set()

    @property
    def is_over(self) -> bool:
        """Whether everything is undone and everybody is up."""
        self.look()
        quiet = not self._later and not (self._busy and self._busy.is_alive())
        return quiet and all(replica.is_ready for replica in self._replicas)

    def look(self) -> None:
        """Undo what is due, and start again what has ended."""
        while self._later and self._later[0][0] <= time.monotonic():
            heapq.heappop(self._later)[2]()
        for number, replica in enumerate(self._replicas):
            pid = replica.runner_pid
            if replica.is_alive or pid is None or self._ended.get(number) == pid:
                continue
            self._ended[number] = pid
            code = replica.exit_code
            self._log.write("ended runner", replica=replica.name, pid=pid, code=code, ms=_now_ms())
            self._after(_RESTART_SECONDS, replica.start)
        self._tell_who_is_up()

    def _tell_who_is_up(self) -> None:
        up = {
            replica.name
            for number, replica in enumerate(self._replicas)
            if number not in self._disturbed and replica.is_ready
        }
        for name in sorted(up ^ self._up):
            self._tell(UP if name in up else DOWN, name)
        self._up = up

    def inject(self, fault: Fault) -> bool:
        """Do it; whether that was possible now."""
        if fault.kind in DATABASE_FAULTS + DISK_FAULTS:
            if self._busy and self._busy.is_alive():
                return False
            self._note(fault, None, [])
            self._busy = threading.Thread(
                target=self._take_the_database, args=(getattr(self, _method(fault)),), daemon=True
            )
            self._busy.start()
            return True
        up = [
            number
            for number, replica in enumerate(self._replicas)
            if replica.is_ready and number not in self._disturbed
        ]
        if len(up) < 2:
            return False
        number = fault.replica if fault.replica in up else up[int(fault.choice * len(up))]
        return getattr(self, _method(fault))(fault, number)

    def _kill_runner(self, fault: Fault, number: int) -> bool:
        return self._signal(fault, number, "runner", signal.SIGKILL)

    def _kill_server(self, fault: Fault, number: int) -> bool:
        return self._signal(fault, number, "server", signal.SIGKILL)

    def _kill_job(self, fault: Fault, number: int) -> bool:
        return self._signal(fault, number, "job", signal.SIGKILL)

    def _kill_fork_server(self, fault: Fault, number: int) -> bool:
        return self._signal(fault, number, "fork server", signal.SIGKILL)

    def _drain(self, fault: Fault, number: int) -> bool:
        return self._signal(fault, number, "runner", signal.SIGTERM)

    def _kill_replica(self, fault: Fault, number: int) -> bool:
        replica = self._replicas[number]
        runner = replica.runner_pid
        self._note(fault, replica, [runner])
        replica.kill()
        return True

    def _pause_job(self, fault: Fault, number: int) -> bool:
        if not self._signal(fault, number, "job", signal.SIGSTOP):
            return False
        self._resume_later([self._last_pid], None)
        return True

    def _pause_replica(self, fault: Fault, number: int) -> bool:
        if not self._stop_runner(number):
            return False
        replica = self._replicas[number]
        # Those that could undo what the jobs do wake last.
        pids = [
            each.pid for each in sorted(replica.processes(), key=lambda each: each.role != "job")
        ]
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        self._note(fault, replica, [replica.runner_pid])
        self._resume_later(pids, number)
        return True

    def _pause_runner(self, fault: Fault, number: int) -> bool:
        if not self._stop_runner(number):
            return False
        replica = self._replicas[number]
        # Noted when it has stopped: until then it may renew.
        self._note(fault, replica, [replica.runner_pid])
        self._resume_later([replica.runner_pid], number)
        return True

    def _stop_runner(self, number: int) -> bool:
        pid = self._replicas[number].runner_pid
        try:
            if self._around.kind == "sqlite":
                pause_between_writes(pid, self._around.uri)
            else:
                os.kill(pid, signal.SIGSTOP)
        except (AssertionError, ProcessLookupError):
            # It has ended meanwhile, of a job or by its watchdog; or nobody lets go of the file.
            _send(pid, signal.SIGCONT)
            return False
        return True

    def _reset(self, fault: Fault, number: int) -> bool:
        self._note(fault, self._replicas[number], [])
        self._around.proxies[number].reset()
        return True

    def _hang(self, fault: Fault, number: int) -> bool:
        return self._cut_off(fault, number, lambda proxy: None)

    def _hang_then_reset(self, fault: Fault, number: int) -> bool:
        return self._cut_off(fault, number, lambda proxy: proxy.reset())

    def _take_the_database(self, take: Callable[[], None]) -> None:
        self._tell(DOWN, DATABASE)
        take()
        self._tell(UP, DATABASE)

    def _restart_database(self) -> None:
        self._around.server.stop()
        self._come_back()

    def _crash_database(self) -> None:
        self._around.server.crash()
        self._come_back()

    def _fill_disk(self) -> None:
        full_disk(self._around.disk, _FULL_SECONDS)

    def _cut_off(self, fault: Fault, number: int, before: Callable) -> bool:
        proxy, replica = self._around.proxies[number], self._replicas[number]
        proxy.hang()
        self._note(fault, replica, [replica.runner_pid])
        self._disturbed.add(number)

        def heal() -> None:
            before(proxy)
            proxy.flow()
            self._disturbed.discard(number)

        self._after(self._past_lease, heal)
        return True

    def _signal(self, fault: Fault, number: int, role: str, which: signal.Signals) -> bool:
        replica = self._replicas[number]
        pids = [each.pid for each in replica.processes() if each.role == role]
        if not pids:
            return False
        pid = self._last_pid = pids[int(fault.choice * len(pids))]
        self._note(fault, replica, [pid])
        _send(pid, which)
        return True

    def _resume_later(self, pids: list[int], number: int | None) -> None:
        if number is not None:
            self._disturbed.add(number)

        def resume() -> None:
            for pid in pids:
                _send(pid, signal.SIGCONT)
            self._disturbed.discard(number)

        self._after(self._past_lease, resume)

    def _come_back(self) -> None:
        time.sleep(_AWAY_SECONDS)
        self._around.server.start()

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._later, (time.monotonic() + seconds, next(self._numbers), action))

    def _note(self, fault: Fault, replica: Replica | None, pids: list[int]) -> None:
        name = replica.name if replica else None
        self._log.write("fault", kind=fault.kind, replica=name, pids=pids, ms=_now_ms())

    def _tell(self, what: str, who: str) -> None:
        self._log.write(what, who=who, ms=_now_ms())


def _send(pid: int, which: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, which)


def _method(fault: Fault) -> str:
    return "_" + fault.kind.replace("-", "_")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
