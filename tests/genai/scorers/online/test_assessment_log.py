"""What scorers said of several traces is logged together, and nothing of it is lost by that."""

import pytest
import sqlalchemy

from mlflow.entities import AssessmentSource, Feedback
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.online import assessment_log
from mlflow.genai.scorers.online.assessment_log import log_together
from mlflow.genai.scorers.online.batch_parts import BatchSummary
from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

CODE = AssessmentSource(source_type="CODE", source_id="length")


@pytest.fixture
def traces(store, add_trace):
    return store.batch_get_traces([add_trace(text) for text in ("one", "three", "seven")])


def said(value):
    return Feedback(name="length", value=value, source=CODE)


def values_of(store, traces):
    found = store.batch_get_traces([trace.info.trace_id for trace in traces])
    return [[each.value for each in trace.info.assessments] for trace in found]


def test_traces_share_a_transaction(store, traces):
    commits = []
    sqlalchemy.event.listen(store.engine, "commit", commits.append)

    log_together([(trace, [said(1), said(2)]) for trace in traces], summary := BatchSummary())

    assert len(commits) == 1
    assert values_of(store, traces) == [[1, 2]] * 3
    assert (summary.assessments, summary.failures, summary.unstored) == (6, 0, 0)


def test_an_assessment_names_the_root_span(store, traces):
    log_together([(trace, [said(1)]) for trace in traces], BatchSummary())

    for trace in store.batch_get_traces([trace.info.trace_id for trace in traces]):
        (assessment,) = trace.info.assessments
        assert assessment.span_id == trace.data.spans[0].span_id


def test_what_cannot_be_stored_holds_back_no_other(store, traces):
    values = [1, {"not", "JSON"}, 3]
    summary = BatchSummary()

    log_together([(t, [said(value)]) for t, value in zip(traces, values, strict=True)], summary)

    assert values_of(store, traces) == [[1], [None], [3]]
    assert (summary.assessments, summary.failures, summary.unstored) == (2, 1, 0)


def test_an_assessment_that_overrides_another_does_so(store, traces):
    old = store.create_assessment(
        Feedback(name="length", value=0, source=CODE, trace_id=traces[0].info.trace_id)
    )
    new = said(1)
    new.overrides = old.assessment_id

    log_together([(traces[0], [new]), (traces[1], [said(2)])], BatchSummary())

    assert not store.get_assessment(traces[0].info.trace_id, old.assessment_id).valid


def test_what_a_database_does_not_take_for_now_counts_as_unstored(store, traces, monkeypatch):
    def refuse(*_):
        raise MlflowException("The database is away", TEMPORARILY_UNAVAILABLE)

    monkeypatch.setattr(assessment_log, "create_assessments", refuse)
    summary = BatchSummary()

    log_together([(trace, [said(1)]) for trace in traces], summary)

    assert summary.unstored == 3
    assert values_of(store, traces) == [[], [], []]
