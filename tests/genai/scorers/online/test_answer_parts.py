"""Of an answer of several feedbacks, another attempt adds what the one before did not store."""

from collections import Counter
from dataclasses import asdict

import pytest

import mlflow
from mlflow.entities import Feedback
from mlflow.exceptions import MlflowException
from mlflow.genai import scorer
from mlflow.genai.scorers import job as scorer_jobs
from mlflow.genai.scorers.online import assessment_log, batch_parts
from mlflow.genai.scorers.online.answer_parts import PART
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE
from mlflow.server.jobs import TransientError


class Killed(BaseException):
    """Stands for the end of the process."""


@scorer
def triple(outputs):
    from mlflow.entities import Feedback

    return [Feedback(name=name, value=len(outputs)) for name in ("first", "second", "third")]


@scorer
def twins(outputs):
    from mlflow.entities import Feedback

    return [Feedback(name="twin", value=number) for number in (1, 2)]


@scorer
def length(outputs) -> int:
    return len(outputs)


@pytest.fixture
def score(experiment_id, online):
    def score(trace_id, *scorers, version=1):
        scorer_jobs.run_online_trace_scorer_job(
            experiment_id,
            [asdict(online(each, version=version)) for each in scorers],
            batch=[{"trace_id": trace_id, "scorers": [each.name for each in scorers]}],
        )

    return score


@pytest.fixture
def one_by_one(monkeypatch):
    """As where the database refused one of them, or is not reached by SQL."""
    monkeypatch.setattr(assessment_log, "_fit_one_transaction", lambda feedbacks: False)


@pytest.fixture
def stored_before(monkeypatch, one_by_one):
    """Lets so many assessments be stored, and raises at the next one."""
    log = batch_parts._log_assessments

    def stored_before(count, error):
        left = iter(range(count))

        def log_some(**assessment):
            if next(left, None) is None:
                raise error
            log(**assessment)

        monkeypatch.setattr(batch_parts, "_log_assessments", log_some)
        return lambda: monkeypatch.setattr(batch_parts, "_log_assessments", log)

    return stored_before


@pytest.fixture
def killed_after(add_trace, score, stored_before):
    """Score a trace, killed after so many of the answer's feedbacks; answers its id."""

    def killed_after(stored, scorer):
        trace_id = add_trace("one")
        repair = stored_before(stored, Killed())
        with pytest.raises(Killed):
            score(trace_id, scorer)
        repair()
        return trace_id

    return killed_after


@pytest.fixture
def names_at(assessments_of):
    return lambda trace_id: Counter(assessment.name for assessment in assessments_of(trace_id))


@pytest.mark.parametrize("stored", [0, 1, 2, 3])
def test_a_batch_killed_between_the_feedbacks_of_an_answer_is_completed(
    add_trace, score, stored_before, names_at, stored
):
    trace_id = add_trace("one")
    repair = stored_before(stored, Killed())
    if stored < 3:
        with pytest.raises(Killed):
            score(trace_id, triple)
        assert names_at(trace_id).total() == stored
    repair()

    for _ in range(2):
        score(trace_id, triple)

    assert names_at(trace_id) == {"first": 1, "second": 1, "third": 1}


def test_feedbacks_of_one_name_are_told_apart_by_how_many_there_are(score, killed_after, names_at):
    trace_id = killed_after(1, twins)

    for _ in range(2):
        score(trace_id, twins)

    assert names_at(trace_id) == {"twin": 2}


@pytest.mark.parametrize("stored", [0, 1, 2])
def test_what_the_database_did_not_take_is_asked_for_again_and_nothing_after_it_is_stored(
    add_trace, score, stored_before, names_at, stored
):
    trace_id = add_trace("one")
    repair = stored_before(stored, MlflowException("down", error_code=TEMPORARILY_UNAVAILABLE))
    with pytest.raises(TransientError):
        score(trace_id, triple)
    assert list(names_at(trace_id)) == ["first", "second", "third"][:stored]
    repair()

    score(trace_id, triple)

    assert names_at(trace_id) == {"first": 1, "second": 1, "third": 1}


def test_an_outage_in_one_answer_holds_back_no_other(
    add_trace, score, monkeypatch, names_at, one_by_one
):
    log = batch_parts._log_assessments

    def log_some(*, run_id, trace, assessments):
        if assessments[0].name == "second":
            raise MlflowException("down", error_code=TEMPORARILY_UNAVAILABLE)
        log(run_id=run_id, trace=trace, assessments=assessments)

    monkeypatch.setattr(batch_parts, "_log_assessments", log_some)
    trace_id = add_trace("one")

    with pytest.raises(TransientError):
        score(trace_id, triple, length)

    assert names_at(trace_id) == {"first": 1, "length": 1}


def test_an_error_in_place_of_the_rest_ends_the_answer(score, killed_after, names_at):
    @scorer(name="triple")
    def now_broken(outputs):
        raise ValueError("not any more")

    trace_id = killed_after(1, triple)

    for _ in range(2):
        score(trace_id, now_broken)

    assert names_at(trace_id) == {"first": 1, "triple": 1}


def test_an_answer_of_one_says_nothing_of_parts(add_trace, score, assessments_of):
    trace_id = add_trace("one")
    score(trace_id, length)
    (assessment,) = assessments_of(trace_id)
    assert PART not in assessment.metadata


def test_an_answer_of_several_without_parts_is_whole(add_trace, score, assessments_of):
    trace_id = add_trace("one")
    score(trace_id, length)
    (made,) = assessments_of(trace_id)
    # As MLflow 3.18 stores it.
    stock = {key: value for key, value in made.metadata.items() if key != PART}
    stock["mlflow.assessment.scorerName"] = "triple"
    mlflow.log_assessment(
        trace_id, Feedback(name="first", value=3, source=made.source, metadata=stock)
    )

    score(trace_id, triple)

    assert {each.name for each in assessments_of(trace_id)} == {"length", "first"}


def test_a_scorer_that_is_not_registered_may_name_its_feedbacks_freely(add_trace, score, names_at):
    trace_id = add_trace("one")
    score(trace_id, triple, version=None)
    assert names_at(trace_id) == {"first": 1, "second": 1, "third": 1}
