"""The table of transitions is complete and closed."""

from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.tables import jobs
from mlflow.store.jobs.transitions import (
    CANCEL,
    CONFIRM_CANCELED,
    TERMINAL,
    TRANSITIONS,
    UNFINISHED,
)

OWNERS = {3, 4, 5, 6, 7, 10}
LEADERS = {9, 11, 12, 13}


def test_every_number_of_the_specification_is_there():
    assert sorted({each.number for each in TRANSITIONS}) == list(range(1, 14))
    assert len({each.verb for each in TRANSITIONS}) == len(TRANSITIONS)


def test_every_status_is_terminal_or_unfinished():
    assert set(JobStatus) == TERMINAL | UNFINISHED
    assert not TERMINAL & UNFINISHED
    assert {status for status in JobStatus if JobStatus.is_finalized(status)} == TERMINAL


def test_no_transition_leaves_a_terminal_state_for_another():
    for each in TRANSITIONS:
        if each is not CONFIRM_CANCELED:
            assert not each.leaves & TERMINAL, each
    assert {CONFIRM_CANCELED.enters} == CONFIRM_CANCELED.leaves


def test_every_state_can_be_reached_and_every_unfinished_one_left():
    assert {each.enters for each in TRANSITIONS} == set(JobStatus)
    assert {state for each in TRANSITIONS for state in each.leaves} >= UNFINISHED


def test_every_terminal_transition_erases_secrets_and_lease():
    for each in TRANSITIONS:
        if each.enters in TERMINAL and each is not CONFIRM_CANCELED:
            assert {"sealed_environment", "token_hash", "scoped_permissions"} <= each.clears, each
            assert ("lease_expires_at" in each.clears) is (each is not CANCEL), each


def test_a_job_token_ends_with_every_way_back_to_pending():
    for each in TRANSITIONS:
        if each.enters is JobStatus.PENDING and each.number != 1:
            assert "token_hash" in each.clears
            assert "sealed_environment" not in each.clears


def test_owners_name_their_fence_and_leaders_their_term():
    for each in TRANSITIONS:
        assert ("fence" in each.guards) >= (each.number in OWNERS), each
        assert ("term" in each.guards) >= (each.number in LEADERS), each


def test_cleared_columns_are_nullable_columns_of_the_table():
    for each in TRANSITIONS:
        assert all(jobs.c[name].nullable for name in each.clears), each
