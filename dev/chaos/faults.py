"""The faults, and a schedule of them that is drawn from a seed.

What is done and when is the seed's; which process it meets is chance, since that depends on who is
up at the moment.
"""

import random
from dataclasses import dataclass

# On one replica.
KILLS = ("kill-runner", "kill-replica", "kill-server")
PROCESS_FAULTS = (
    *KILLS,
    "kill-job",
    "kill-fork-server",
    "pause-runner",
    "pause-replica",
    "pause-job",
    "drain",
)
# On the way from one replica to its database.
NETWORK_FAULTS = ("reset", "hang", "hang-then-reset")
# On the database of all.
DATABASE_FAULTS = ("restart-database", "crash-database")
DISK_FAULTS = ("fill-disk",)

_JITTER_SHARE = 0.4


@dataclass(frozen=True)
class Fault:
    """One entry of a schedule.

    Attributes:
        at: Seconds after the first replica was ready.
        kind: Which.
        replica: Whose turn it is, if that one is up.
        choice: A number from 0 to 1 that chooses among its processes.
    """

    at: float
    kind: str
    replica: int
    choice: float


def possible(kind: str, unavailable: dict[str, str]) -> list[str]:
    """The faults that a database of this kind can be shown."""
    faults = [*PROCESS_FAULTS]
    if kind == "sqlite":
        faults += DISK_FAULTS
    else:
        faults += [*NETWORK_FAULTS, *DATABASE_FAULTS]
    return [fault for fault in faults if fault not in unavailable]


def schedule(kinds: list[str], replicas: int, seconds: float, seed: int) -> list[Fault]:
    """Every kind at least once, in turns, spread over so many seconds.

    Args:
        kinds: What may be done.
        replicas: How many replicas there are.
        seconds: The time that they are spread over. If it is short they come close together.
        seed: What is drawn is drawn from it.
    """
    chance = random.Random(seed)
    rounds = max(1, round(seconds / (len(kinds) * 3.0)))
    order = [kind for _ in range(rounds) for kind in chance.sample(kinds, len(kinds))]
    gap = seconds / len(order)
    return [
        Fault(
            gap * (number + chance.uniform(0, _JITTER_SHARE)),
            kind,
            chance.randrange(replicas),
            chance.random(),
        )
        for number, kind in enumerate(order)
    ]
