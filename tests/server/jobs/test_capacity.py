"""Free slots per job type."""

import pytest

from mlflow.server.jobs.capacity import free_slots


@pytest.mark.parametrize(
    ("limits", "running", "free"),
    [
        ({"a": 2, "b": 1}, {}, {"a": 2, "b": 1}),
        ({"a": 2, "b": 1}, {"a": 1}, {"a": 1, "b": 1}),
        ({"a": 2, "b": 1}, {"b": 1}, {"a": 2}),
        ({"a": 2}, {"a": 3}, {}),
        ({"a": 2}, {"unknown": 1}, {"a": 2}),
        ({}, {}, {}),
    ],
)
def test_only_types_with_a_free_slot_are_claimed(limits, running, free):
    assert free_slots(limits, running) == free
