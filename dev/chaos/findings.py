"""What an audit of a fleet found."""

from collections import Counter
from dataclasses import dataclass, field

KINDS = ("lost", "doubled", "overlapping", "stale", "late", "unexplained")


@dataclass
class Findings:
    """What a run came to.

    Attributes:
        problems: For each of `KINDS`, the broken promises as sentences.
        jobs: How many jobs of each name ended in each state.
        faults: How often each fault was injected.
        attempts: How many attempts began.
        set_aside: Jobs that were given up since they were recovered too often.
        recoveries_ms: For each way in which a runner was taken, how long it took after that until
            its jobs could be claimed, or had ended; in order.
    """

    problems: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    jobs: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    set_aside: int = 0
    recoveries_ms: dict[str, list[int]] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        """All broken promises."""
        return [f"{kind}: {each}" for kind in KINDS for each in self.problems[kind]]
