"""Group 2: the queue core alone, with jobs that do nothing.

Everything has a database of its own in every round. Enqueueing and working are two processes, as in
production, and the peers run in an environment of their own.
"""

import json
import os
import statistics
import subprocess
import uuid
from pathlib import Path

from dev.bench.databases import Databases
from dev.bench.figures import Measured, percentile
from dev.bench.peers import PEERS, Peer, PeerEnvironment
from dev.bench.rounds import alternate, progress
from dev.bench.servers import idle
from dev.bench.sizes import CoreSizes
from dev.serving import clean_environment

_CHILD = Path(__file__).with_name("child.py")


def contest(
    databases: Databases,
    environment: PeerEnvironment,
    kind: str,
    sizes: CoreSizes,
    rounds: int,
    only: list[str] | None = None,
) -> Measured:
    """Measure all that run on this kind of database, in turn."""
    entrants = {}
    for name, peer in PEERS.items():
        if kind in peer.databases and (only is None or name in only):
            python = environment.python_of(peer)
            if python is not None:
                entrants[name] = Entrant(peer, python, databases, kind, sizes).measure
    return alternate(entrants, rounds)


class Entrant:
    """One contender on one kind of database."""

    def __init__(
        self, peer: Peer, python: str, databases: Databases, kind: str, sizes: CoreSizes
    ) -> None:
        self._peer = peer
        self._python = python
        self._databases = databases
        self._kind = kind
        self._sizes = sizes

    def measure(self) -> dict[str, float | None]:
        """One round on an empty database."""
        with self._databases.empty(self._kind) as uri:
            # Both processes belong to one replica, if the contender knows what that is.
            self._env = clean_environment(
                {"BENCH_RATE": str(self._sizes.rate), "BENCH_BOOT_ID": uuid.uuid4().hex}
            )
            producer = self._start("produce", uri, self._sizes.jobs)
            produced = _answer(producer)
            worked, latencies = self._work(uri, int(produced["jobs"]), producer)
            idling = self._idle(uri)
        return {
            "enqueue one by one, jobs/s": produced["each"],
            "enqueue in bulk, jobs/s": produced["bulk"],
            "process, jobs/s": worked["process"],
            "process, CPU ms/job": worked["cpu_ms"],
            "start latency p50, ms": 1000 * statistics.median(latencies),
            "start latency p99, ms": 1000 * percentile(latencies, 99),
            "idle statements/s": idling["statements"],
            "idle CPU ms/s": idling["cpu_ms"],
        }

    def _work(self, uri: str, jobs: int, producer: subprocess.Popen) -> tuple[dict, list[float]]:
        worker = self._start("work", uri, jobs)
        worked = _answer(worker)
        _tell(worker, str(self._sizes.paced))
        _tell(producer, str(self._sizes.paced))
        producer.wait(600)
        latencies = _answer(worker)["latencies"]
        _tell(worker, "end")
        worker.wait(60)
        return worked, latencies

    def _idle(self, uri: str) -> dict:
        seconds = self._sizes.idle_seconds
        worker = self._start("idle", uri, seconds)
        _answer(worker)
        counted = None
        if self._kind != "sqlite":
            with self._databases.logging():
                counted = idle.statements_during(self._databases.statements, seconds)
        answer = _answer(worker)
        worker.wait(60)
        if counted is None:
            return answer
        for text, times in counted.most_common(5):
            progress(f"    idle: {times} x {text[:90]}")
        return answer | {"statements": counted.total() / seconds}

    def _start(self, role: str, uri: str, count: int) -> subprocess.Popen:
        module = f"dev.bench.core.{self._peer.module}"
        concurrency = str(self._peer.concurrency)
        return subprocess.Popen(
            [self._python, str(_CHILD), role, module, uri, concurrency, str(count)],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if "BENCH_VERBOSE" in os.environ else subprocess.DEVNULL,
            text=True,
        )


def _answer(child: subprocess.Popen) -> dict:
    if line := child.stdout.readline():
        return json.loads(line)
    raise RuntimeError(f"{child.args[2]} of {child.args[3]} ended with {child.wait()}, no answer")


def _tell(child: subprocess.Popen, line: str) -> None:
    child.stdin.write(f"{line}\n")
    child.stdin.flush()
