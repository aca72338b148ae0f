"""What one runner does with the store for a job: claim in batches, write the results.

python -m dev.bench.growth.work URI SECONDS     works that long, prints how many jobs it ended
"""

import sys
import time

from mlflow.server.jobs.claim_fronts import ClaimFronts
from mlflow.server.jobs.clock import Clock
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import Claim, Success

JOB = "measured"
CAPPED = "capped"
BATCH = 10
_LEASE_SECONDS = 60.0


def create(store: SqlAlchemyJobStore, count: int, workspaces: int = 1) -> None:
    """Submit jobs, spread over workspaces."""
    for number in range(count):
        store.create_job(
            JOB, "{}", executor_backend="local", workspace=f"team-{number % workspaces}"
        )


def claim(
    store: SqlAlchemyJobStore, fronts: ClaimFronts | None = None, slots: int = BATCH
) -> list[Claim]:
    """Claim as a runner does that has no slot left for another type.

    Args:
        store: The job store.
        fronts: What the runner has worked off; None for one that has done nothing yet.
        slots: How many.
    """
    fronts = fronts or ClaimFronts(Clock())
    free, passed = {JOB: slots}, fronts.of([JOB])
    batch = store.claim_batch(
        *("bench", [None, "local"], free, _LEASE_SECONDS, lambda *_: None), created_since=passed
    )
    if fronts.met(batch, free, passed) and not batch.claimed:
        return claim(store, fronts, slots)
    return [job.claim for job in batch.claimed]


def work_off(store: SqlAlchemyJobStore) -> tuple[int, list[float]]:
    """Claim and end all that is due; answer how many, and the seconds of each claim."""
    ended, spent, fronts = 0, [], ClaimFronts(Clock())
    while True:
        began = time.perf_counter()
        claims = claim(store, fronts)
        if not claims:
            return ended, spent
        spent.append(time.perf_counter() - began)
        store.succeed_all([Success(each, "null") for each in claims])
        ended += len(claims)


def main() -> None:
    store = SqlAlchemyJobStore(sys.argv[1])
    claim(store, slots=1)
    print("ready", flush=True)
    sys.stdin.readline()
    ended, deadline, fronts = 0, time.monotonic() + float(sys.argv[2]), ClaimFronts(Clock())
    while time.monotonic() < deadline and (claims := claim(store, fronts)):
        store.succeed_all([Success(each, "null") for each in claims])
        ended += len(claims)
    print(ended, flush=True)


if __name__ == "__main__":
    main()
