"""An issue detection tells its stage, and how much of what it was given it has judged."""

import pytest

from mlflow.entities._job import JobProgress
from mlflow.genai.discovery.detection_progress import enter_stage, reporting_detection
from mlflow.genai.evaluation.progress import watched_bar
from mlflow.server.jobs import progress


class Tracker:
    def __init__(self):
        self.details = []
        self.told = []

    def update(self, status_details):
        self.details.append(status_details)

    def update_job_progress(self, message=None, progress=None):
        self.told.append((message, progress))


@pytest.fixture
def tracker(monkeypatch):
    tracker = Tracker()
    monkeypatch.setattr(progress, "_job_tracker", tracker)
    return tracker


def test_a_stage_is_told_to_the_pages_and_as_the_phase(tracker):
    with reporting_detection():
        enter_stage({"stage": "Clustering issues..."})

    assert tracker.details == [{"stage": "Clustering issues..."}]
    assert tracker.told == [("Clustering issues", JobProgress("Clustering issues"))]


def test_what_was_judged_is_counted_and_kept_in_later_stages(tracker):
    with reporting_detection():
        enter_stage({"stage": "Identifying issues..."})
        watched_bar(None, 2, 2).update(2)
        enter_stage({"stage": "Clustering issues..."})

    judging = "Identifying issues"
    assert tracker.told == [
        (judging, JobProgress(judging)),
        (f"{judging}: 0 of 2 traces", JobProgress(judging, 0, 2, "traces")),
        (f"{judging}: 2 of 2 traces", JobProgress(judging, 2, 2, "traces")),
        ("Clustering issues", JobProgress("Clustering issues", 2, 2, "traces")),
    ]


def test_a_detection_outside_of_our_jobs_tells_its_stage_alone(tracker):
    enter_stage({"stage": "Clustering issues..."})

    assert tracker.details == [{"stage": "Clustering issues..."}]
    assert tracker.told == []
