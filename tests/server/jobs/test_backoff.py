"""min(base * 2**n, max), with jitter below."""

import pytest

from mlflow.server.jobs.backoff import delay_seconds


@pytest.mark.parametrize(("attempt", "full"), [(0, 15), (1, 30), (2, 60), (3, 60), (10_000, 60)])
def test_the_wait_doubles_up_to_its_bound(attempt, full):
    assert delay_seconds(attempt, 15, 60, random_share=lambda: 0.0) == full


def test_jitter_shortens_a_wait_by_at_most_a_quarter():
    waits = [delay_seconds(9, 15, 60) for _ in range(200)]
    assert min(waits) >= 45
    assert max(waits) <= 60
    assert len(set(waits)) > 1


def test_a_base_of_zero_retries_at_once():
    assert delay_seconds(5, 0, 60) == 0
