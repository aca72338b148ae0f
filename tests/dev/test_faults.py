"""A schedule of faults follows from its seed, and leaves none out."""

import pytest

from dev.chaos import faults
from dev.chaos.attack import Attack


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
@pytest.mark.parametrize("seconds", [1.0, 20.0, 600.0])
def test_every_fault_that_is_possible_has_its_turn(kind, seconds):
    possible = faults.possible(kind, {})

    plan = faults.schedule(possible, 3, seconds, seed=1)

    assert {fault.kind for fault in plan} == {*possible}


def test_faults_come_in_order_and_within_their_time():
    plan = faults.schedule(faults.possible("mariadb", {}), 3, 60.0, seed=1)

    assert [*plan] == sorted(plan, key=lambda fault: fault.at)
    assert plan[0].at >= 0
    assert plan[-1].at <= 60.0


def test_the_same_seed_gives_the_same_faults_and_another_gives_others():
    plans = [faults.schedule(["reset", "hang", "drain"], 3, 90.0, seed) for seed in (1, 1, 2)]

    assert plans[0] == plans[1] != plans[2]


def test_a_file_has_no_network_and_a_server_has_no_disk_of_ours():
    on_file, on_server = faults.possible("sqlite", {}), faults.possible("postgresql", {})

    assert not {*on_file} & {*faults.NETWORK_FAULTS, *faults.DATABASE_FAULTS}
    assert not {*on_server} & {*faults.DISK_FAULTS}


def test_what_a_host_does_not_allow_is_not_planned():
    assert "fill-disk" not in faults.possible("sqlite", {"fill-disk": "no room"})


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_every_fault_can_be_carried_out(kind):
    for fault in faults.possible(kind, {}):
        assert callable(getattr(Attack, "_" + fault.replace("-", "_")))
