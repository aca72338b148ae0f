"""The online session job still finds its sessions and moves its checkpoint itself."""

import json
import time
from dataclasses import asdict

from mlflow.genai import scorer
from mlflow.genai.scorers import job as scorer_jobs

TAG = "mlflow.latestOnlineScoring.session.checkpoint"


@scorer
def turns(session) -> int:
    return len(session)


def test_a_completed_session_is_scored_at_its_first_trace_and_the_checkpoint_moves(
    experiment_id, store, add_trace, online, assessments_of
):
    started = int(time.time() * 1000) - 600_000
    first = add_trace("one", timestamp_ms=started, session_id="s")
    second = add_trace("two", timestamp_ms=started + 1, session_id="s")

    result = scorer_jobs.run_online_session_scorer_job(experiment_id, [asdict(online(turns))])

    assert result is None
    (assessment,) = assessments_of(first)
    assert (assessment.name, assessment.value) == ("turns", 2)
    assert assessments_of(second) == []
    checkpoint = json.loads(store.get_experiment(experiment_id).tags[TAG])
    assert checkpoint == {"timestamp_ms": started + 1, "session_id": "s"}
