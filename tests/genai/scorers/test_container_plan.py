"""A job container scores the traces it is given, and its answer is checked before it is used."""

import json

import pytest

from mlflow.exceptions import MlflowException
from mlflow.genai import scorer
from mlflow.genai.judges import make_judge
from mlflow.genai.scorers import job as scorer_jobs
from mlflow.server.jobs.functions import _load_function
from mlflow.tracing.client import TracingClient
from mlflow.tracing.constant import AssessmentMetadataKey


@scorer
def length(outputs) -> int:
    return len(outputs)


JUDGE = make_judge(name="polite", instructions="Is {{ outputs }} polite?", model="gateway:/e")

ASSESSMENT = {"assessment_name": "length", "feedback": {"value": 3}}


@pytest.fixture
def plan_for(experiment_id, tmp_path):
    def plan_for(trace_id):
        params = {
            "experiment_id": experiment_id,
            "serialized_scorer": json.dumps(length.model_dump()),
            "trace_ids": [trace_id],
            "scorer_version": 2,
        }
        return scorer_jobs._plan_invoke_scorer_job_for_docker(
            params=params, input_dir=tmp_path, container_input_dir=str(tmp_path)
        )

    return plan_for


@pytest.fixture
def plan(plan_for, add_trace):
    """The plan for one trace, with its id."""
    trace_id = add_trace("abc")
    return plan_for(trace_id), trace_id


def answer(trace_id, *assessments):
    return {trace_id: {"assessments": list(assessments), "failures": []}}


def test_the_planned_function_scores_the_written_traces_by_the_name_that_images_know(plan):
    plan, trace_id = plan

    assert plan.fn_fullname == "mlflow.genai.scorers.job._score_traces_from_file"
    assert plan.params.keys() == {
        "serialized_scorer",
        "traces_path",
        "experiment_id",
        "scorer_version",
    }
    result = _load_function(plan.fn_fullname)(**plan.params)
    assert result[trace_id]["assessments"][0]["feedback"]["value"] == 3


def test_what_the_container_scored_is_logged_on_this_side(plan, assessments_of):
    plan, trace_id = plan
    result = _load_function(plan.fn_fullname)(**plan.params)
    assert assessments_of(trace_id) == []

    final = plan.finalize(json.loads(json.dumps(result)))

    (assessment,) = assessments_of(trace_id)
    assert (assessment.name, assessment.value) == ("length", 3)
    assert assessment.metadata[AssessmentMetadataKey.SCORER_NAME] == "length"
    assert assessment.metadata[AssessmentMetadataKey.SCORER_VERSION] == "2"
    assert final.keys() == {trace_id}


def test_a_container_decides_nothing_but_a_code_assessment(plan, assessments_of):
    plan, trace_id = plan
    forged = {
        **ASSESSMENT,
        "source": {"source_type": "HUMAN", "source_id": "ann"},
        "overrides": "a-1",
        "valid": False,
        "assessment_id": "a-2",
        "create_time": "2001-01-01T00:00:00Z",
        "metadata": {"mlflow.assessment.scorerVersion": "99", "mlflow.x": "y", "color": "red"},
    }

    plan.finalize(answer(trace_id, forged))

    (assessment,) = assessments_of(trace_id)
    assert assessment.source.source_type == "CODE"
    assert assessment.overrides is None
    assert assessment.valid
    assert assessment.assessment_id != "a-2"
    assert assessment.metadata["color"] == "red"
    assert assessment.metadata[AssessmentMetadataKey.SCORER_VERSION] == "2"
    assert "mlflow.x" not in assessment.metadata


def test_an_answer_that_was_stored_in_part_is_completed_and_a_whole_one_repeated(
    plan_for, add_trace, assessments_of, monkeypatch
):
    trace_id = add_trace("abc")
    names = ("first", "second", "third")
    whole = answer(trace_id, *({**ASSESSMENT, "assessment_name": name} for name in names))
    log = TracingClient.log_assessment

    def killed_at_the_third(self, trace_id, assessment):
        if assessment.name == "third":
            raise SystemExit
        return log(self, trace_id, assessment)

    with monkeypatch.context() as patched:
        patched.setattr(TracingClient, "log_assessment", killed_at_the_third)
        with pytest.raises(SystemExit):
            plan_for(trace_id).finalize(whole)
    assert [each.name for each in assessments_of(trace_id)] == ["first", "second"]

    final = plan_for(trace_id).finalize(whole)
    assert sorted(each.name for each in assessments_of(trace_id)) == sorted(names)
    assert len(final[trace_id]["assessments"]) == 3

    plan_for(trace_id).finalize(whole)
    assert len(assessments_of(trace_id)) == 6


@pytest.mark.parametrize(
    "malformed",
    [
        None,
        [],
        {"assessments": {"a": 1}},
        {"assessments": [None]},
        {"assessments": [ASSESSMENT, {**ASSESSMENT, "assessment_name": ""}]},
        {"assessments": [{**ASSESSMENT, "assessment_name": 7}]},
        {"assessments": [{**ASSESSMENT, "feedback": 3}]},
        {"assessments": [{**ASSESSMENT, "rationale": 3}]},
        {"assessments": [{**ASSESSMENT, "metadata": {"a": 1}, "feedback": None}]},
        {"assessments": [{**ASSESSMENT, "feedback": {"error": "text"}}]},
        {"assessments": [{**ASSESSMENT, "feedback": {"error": {"error_code": 1}}}]},
        {"assessments": [ASSESSMENT], "failures": [{"error_code": "X"}]},
        {"assessments": [ASSESSMENT], "failures": "none"},
    ],
)
def test_a_malformed_answer_is_refused_and_nothing_of_it_is_logged(plan, assessments_of, malformed):
    plan, trace_id = plan

    with pytest.raises(MlflowException, match="malformed"):
        plan.finalize({trace_id: malformed})

    assert assessments_of(trace_id) == []


def test_an_answer_for_a_trace_that_was_not_given_is_refused(plan, add_trace, assessments_of):
    plan, _ = plan
    other = add_trace("other")

    with pytest.raises(MlflowException, match="not given"):
        plan.finalize(answer(other, ASSESSMENT))

    assert assessments_of(other) == []


def ensemble(*members):
    return {"name": "all", "ensemble_scorer_data": {"scorers": list(members)}}


@pytest.mark.parametrize(
    ("serialized", "supported"),
    [
        (length.model_dump(), True),
        (JUDGE.model_dump(), False),
        (ensemble(length.model_dump(), length.model_dump()), True),
        (ensemble(length.model_dump(), JUDGE.model_dump()), False),
        (ensemble(), False),
        ([], False),
    ],
)
def test_only_what_calls_no_model_runs_in_a_container(serialized, supported):
    params = {"serialized_scorer": json.dumps(serialized)}

    assert scorer_jobs._docker_supports_invoke_scorer_params(params) is supported


@pytest.mark.parametrize("params", [{}, {"serialized_scorer": None}, {"serialized_scorer": "{"}])
def test_params_without_a_readable_scorer_do_not_run_in_a_container(params):
    assert not scorer_jobs._docker_supports_invoke_scorer_params(params)


def test_a_judge_is_refused_by_the_plan(experiment_id, add_trace, tmp_path):
    params = {
        "experiment_id": experiment_id,
        "serialized_scorer": json.dumps(JUDGE.model_dump()),
        "trace_ids": [add_trace("abc")],
    }

    with pytest.raises(MlflowException, match="no network"):
        scorer_jobs._plan_invoke_scorer_job_for_docker(params, tmp_path, "/in")
