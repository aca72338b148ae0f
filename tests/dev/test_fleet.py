"""Fleets of replicas are killed, stopped, cut off and starved; the audit finds nothing wrong.

Seconds of what `dev.chaos.fleet` does for minutes, with seeds that stay the same. Nothing is
asserted of what was hit, or how fast it recovered: that is chance, and stands in the table that is
printed. By hand (`-m long`) each database is shown all faults, and a poison goes its whole way.
"""

import os
import warnings

import pytest

from dev.chaos import fleet
from dev.testing.databases import NotStarted

SEEDS = {"postgresql": 11, "mariadb": 12, "sqlite": 13}

# What costs time is the start of a runner, so each fault has one database. The poison is what kills
# runners on the first.
SHORT_SECONDS = 6.0
SHORT = {
    "postgresql": ["hang-then-reset", "reset", "restart-database"],
    "mariadb": ["kill-replica", "kill-job", "hang", "crash-database"],
    "sqlite": ["pause-replica", "drain", "fill-disk"],
}
POISONED = "postgresql"
LONG_SECONDS = 20.0

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="looks into /proc"),
]


@pytest.mark.parametrize("kind", SEEDS)
def test_a_fleet_under_a_few_faults_loses_nothing_and_lets_no_two_work_at_once(kind, tmp_path):
    attack(
        kind,
        tmp_path,
        SHORT_SECONDS,
        rate=2.0,
        poisons=int(kind == POISONED),
        max_retries=1,
        only=SHORT[kind],
    )


@pytest.mark.long
@pytest.mark.parametrize("kind", SEEDS)
def test_a_fleet_under_all_faults_loses_nothing_and_lets_no_two_work_at_once(kind, tmp_path):
    attack(kind, tmp_path, LONG_SECONDS)


def attack(kind, folder, seconds, **how):
    try:
        run = fleet.run(kind, folder, seconds, SEEDS[kind], progress=print, **how)
    except NotStarted as problem:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{kind} WAS NOT TESTED: {problem}")
    fleet.show(run)
    for fault, why in run.unavailable.items():
        warnings.warn(f"{fault} was not injected on {kind}: {why}", stacklevel=2)

    assert run.findings.broken == []
    assert run.finished
    assert run.left_behind == []
    assert run.findings.attempts > 0
    assert run.findings.faults
