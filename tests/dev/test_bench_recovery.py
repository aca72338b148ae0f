"""The benchmark of recovery works; how long that takes is not looked at."""

import contextlib
import os
from types import SimpleNamespace

import pytest

from dev.bench.recovery import contest

# The least one would end between two renewals on a busy host.
LEASE_SECONDS = 3.0


@pytest.mark.chaos
@pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="looks into /proc")
def test_a_leader_is_killed_and_each_stage_of_the_recovery_is_told(tmp_path):
    on_file = SimpleNamespace(
        empty=lambda kind: contextlib.nullcontext(f"sqlite:///{tmp_path}/{kind}.db")
    )

    found = contest.recovered(on_file, "sqlite", LEASE_SECONDS, leads=True)

    stages = [found.marked_ms, found.free_ms, found.claimed_ms, found.at_work_ms]
    assert stages == sorted(stages)
    assert stages[0] > 0
