"""What an audit of a fleet found."""

from collections import Counter
from dataclasses import dataclass, field

from dev.chaos.recoveries import Recovery

KINDS = ("lost", "doubled", "overlapping", "stale", "late", "repeated", "blamed", "unexplained")


@dataclass
class Findings:
    """What a run came to.

    Attributes:
        problems: For each of `KINDS`, the broken promises as sentences.
        jobs: How many jobs of each name ended in each state.
        faults: How often each fault was injected.
        attempts: How many attempts began.
        set_aside: Jobs that were given up since they were recovered too often.
        recoveries: What became of each job that was under way on a runner which was taken.
    """

    problems: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    jobs: Counter[tuple[str, int]] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    attempts: int = 0
    set_aside: int = 0
    recoveries: list[Recovery] = field(default_factory=list)

    @property
    def broken(self) -> list[str]:
        """All broken promises."""
        return [f"{kind}: {each}" for kind in KINDS for each in self.problems[kind]]
