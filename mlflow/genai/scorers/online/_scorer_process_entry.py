"""The first code of a scorer's own process: load the scorer, and answer whatever is asked."""

import os
import pickle
import sys
from multiprocessing.connection import Connection
from typing import Any

from mlflow.entities import Feedback, Trace
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.base import Scorer, _job_executor_scorer_context
from mlflow.genai.scorers.online.batch_parts import RateLimits, rate_limits
from mlflow.genai.scorers.online.entities import OnlineScorer, OnlineScoringConfig
from mlflow.genai.scorers.online.sampler import OnlineScorerSampler
from mlflow.genai.scorers.online.scorer_calls import score_session, score_trace
from mlflow.server.jobs.job_surroundings import job_surroundings
from mlflow.server.jobs.logging_utils import configure_logging_for_jobs

# More than any database takes as one value; the job's process has to hold it, too.
_MOST_BYTES = 32 * 1024 * 1024
_MOST_CHARACTERS = 10_000


def main() -> None:
    configure_logging_for_jobs()
    with Connection(int(sys.argv[1])) as connection, job_surroundings():
        _keep_to_this_process(connection)
        scorer = _load(connection.recv())
        limits = rate_limits([scorer])
        connection.send("ready")
        while True:
            try:
                session_id, traces = connection.recv()
            except EOFError:
                return
            _answer(connection, scorer, limits, session_id, traces)


def _keep_to_this_process(connection: Connection) -> None:
    """What the scorer starts may outlive this process, whose end the connection is to tell."""
    os.set_inheritable(connection.fileno(), False)
    os.register_at_fork(after_in_child=connection.close)


def _load(fields: dict[str, Any]) -> Scorer:
    config = OnlineScoringConfig(**fields.pop("online_config"))
    online_scorer = OnlineScorer(**fields, online_config=config)
    # Its process was started for code that may run here.
    with _job_executor_scorer_context():
        return OnlineScorerSampler([online_scorer]).scorer(online_scorer.name)


def _answer(
    connection: Connection,
    scorer: Scorer,
    limits: RateLimits,
    session_id: str | None,
    dumped: list[str],
) -> None:
    try:
        answer = pickle.dumps((_feedbacks(scorer, limits, session_id, dumped), None))
        if len(answer) > _MOST_BYTES:
            raise MlflowException(f"An answer of {len(answer)} bytes is too large.")
    except Exception as error:  # noqa: BLE001 - told to who asked
        answer = pickle.dumps((None, repr(error)[:_MOST_CHARACTERS]))
    connection.send_bytes(answer)


def _feedbacks(
    scorer: Scorer, limits: RateLimits, session_id: str | None, dumped: list[str]
) -> list[Feedback]:
    traces = [Trace.from_json(each) for each in dumped]
    if session_id is None:
        (trace,) = traces
        return score_trace(trace, [scorer], limits)
    return score_session(session_id, traces, scorer, limits)


if __name__ == "__main__":
    main()
