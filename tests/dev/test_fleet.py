"""Fleets of replicas are killed, stopped, cut off and starved; the audit finds nothing wrong.

Seconds of what `dev.chaos.fleet` does for minutes, with seeds that stay the same. Nothing is
asserted of what was hit, or how fast it recovered: that is chance, and stands in the table that a
failure shows.
"""

import os
import warnings

import pytest

from dev.chaos import fleet
from dev.testing.databases import NotStarted

SECONDS = 20.0
SEEDS = {"postgresql": 11, "mariadb": 12, "sqlite": 13}
POISONS = {"postgresql": 1, "mariadb": 0, "sqlite": 0}


@pytest.mark.long
@pytest.mark.chaos
@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="looks into /proc")
@pytest.mark.parametrize("kind", SEEDS)
def test_a_fleet_under_attack_loses_nothing_and_lets_no_two_work_at_once(kind, tmp_path):
    try:
        run = fleet.run(kind, tmp_path, SECONDS, SEEDS[kind], poisons=POISONS[kind], progress=print)
    except NotStarted as problem:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"{kind} WAS NOT TESTED: {problem}")
    fleet.show(run)
    for fault, why in run.unavailable.items():
        warnings.warn(f"{fault} was not injected on {kind}: {why}", stacklevel=1)

    assert run.findings.broken == []
    assert run.finished
    assert run.left_behind == []
    assert run.findings.attempts > 0
    assert run.findings.faults
