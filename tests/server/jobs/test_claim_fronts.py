"""I3, I10: a busy runner does not read what it has worked off, and nothing due waits for long."""

import pytest

from mlflow.server.jobs.claim_fronts import COMMITTED_LATE_MS, WHOLE_SECONDS, ClaimFronts
from mlflow.store.jobs.values import ClaimBatch

NEWEST = 1_700_000_000_000
FRONT = NEWEST - COMMITTED_LATE_MS
NAMES = ["job", "other"]


def filled(*names: str, newest: int | None = NEWEST) -> ClaimBatch:
    return ClaimBatch(
        [], [], frozenset(names), {} if newest is None else dict.fromkeys(names, newest)
    )


@pytest.fixture
def fronts(clock):
    return ClaimFronts(clock)


@pytest.fixture
def busy(fronts):
    """Two claims in a row have filled the slots of "job"."""
    for _ in range(2):
        assert fronts.of(NAMES) == {}
        assert fronts.met(filled("job"), NAMES, {}) == frozenset()
    return fronts


def test_one_claim_that_filled_its_slots_is_followed_by_one_of_all_that_is_due(fronts):
    fronts.met(filled("job"), NAMES, {})
    assert fronts.of(NAMES) == {}


def test_after_two_in_a_row_the_next_begins_where_the_last_came_to(busy):
    assert busy.of(NAMES) == {"job": FRONT}
    busy.met(filled("job", newest=NEWEST + 5), NAMES, busy.of(NAMES))
    assert busy.of(NAMES) == {"job": FRONT + 5}


def test_a_type_that_the_next_claim_is_not_for_is_left_out(busy):
    assert busy.of(["other"]) == {}
    busy.met(filled("other"), ["other"], {})
    assert busy.of(NAMES) == {"job": FRONT}


def test_all_that_is_due_is_read_again_in_time_however_busy(busy, clock):
    for _ in range(10):
        clock.advance(WHOLE_SECONDS / 10)
        passed = busy.of(NAMES)
        if not passed:
            break
        busy.met(filled("job"), NAMES, passed)
    assert passed == {}
    busy.met(filled("job"), NAMES, {})
    assert busy.of(NAMES) == {"job": FRONT}


def test_a_claim_that_passed_over_some_and_left_a_slot_free_has_to_be_followed_by_one_of_all(busy):
    assert busy.met(filled(), NAMES, busy.of(NAMES)) == {"job"}
    assert busy.of(NAMES) == {}


def test_a_claim_of_all_that_left_a_slot_free_has_not(busy, clock):
    clock.advance(WHOLE_SECONDS)
    assert busy.met(filled(), NAMES, busy.of(NAMES)) == frozenset()
    assert busy.of(NAMES) == {}


def test_where_only_retries_were_met_the_next_claim_begins_where_this_one_did(busy):
    busy.met(filled("job", newest=None), NAMES, busy.of(NAMES))
    assert busy.of(NAMES) == {"job": FRONT}


def test_where_only_retries_were_ever_met_nothing_is_passed_over(fronts):
    for _ in range(3):
        fronts.met(filled("job", newest=None), NAMES, fronts.of(NAMES))
    assert fronts.of(NAMES) == {}


def test_jobs_that_were_found_before_the_front_move_it_back(busy, clock):
    clock.advance(WHOLE_SECONDS)
    busy.met(filled("job", newest=NEWEST - 50_000), NAMES, busy.of(NAMES))
    assert busy.of(NAMES) == {"job": FRONT - 50_000}
