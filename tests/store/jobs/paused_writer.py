"""A runner that is stopped while it records a success, with the scheduler lease locked too.

    python -m tests.store.jobs.paused_writer DATABASE_URI JOB_ID FENCE IDLE_SECONDS

Prints `holding` before it stops itself, and what became of its writes after it was continued.
"""

import os
import signal
import sys

import sqlalchemy

from mlflow.store.jobs import dialects, lock_rows, tables
from mlflow.store.jobs.errors import JobStoreUnavailable
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Claim


def main(uri: str, job_id: str, fence: str, idle_seconds: str) -> None:
    dialects._IDLE_TRANSACTION_SECONDS = int(idle_seconds)
    store = SqlAlchemyJobStore(uri)
    claim = Claim(job_id, int(fence))
    release, stopped = lock_rows.release, []

    def stop_once(connection, claim) -> None:
        lock_rows.release = release
        lease = sqlalchemy.select(tables.scheduler_leases)
        connection.execute(dialects.locking(lease, tables.scheduler_leases)).all()
        stopped.append(print("holding", flush=True))
        os.kill(os.getpid(), signal.SIGSTOP)
        release(connection, claim)

    lock_rows.release = stop_once
    answers = []
    # On a busy machine the limit may be reached at other times too.
    while not stopped or answers[-1] == "unavailable":
        try:
            answers.append(store.succeed(claim, '"of the zombie"').name)
        except JobStoreUnavailable:
            answers.append("unavailable")
            lock_rows.release = release if stopped else stop_once
    print(*answers[-2:], flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
