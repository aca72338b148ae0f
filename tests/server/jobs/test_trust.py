"""A lease is trusted for less than it lasts, counted from before it was asked for."""

import pytest

from mlflow.server.jobs.trust import trust_deadline


@pytest.mark.parametrize("ttl_seconds", [0.6, 15, 60])
def test_a_lease_is_trusted_past_the_next_renewal_but_not_to_its_end(ttl_seconds):
    deadline = trust_deadline(100.0, ttl_seconds)
    assert 100 + 2 * ttl_seconds / 3 < deadline < 100 + ttl_seconds
