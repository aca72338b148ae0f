"""What users of MLflow 3.18's online scoring rely on, one test for each point, by its number.

What was changed on purpose is part of the point: nothing that waits is lost, and no row is created
in vain.
"""

import json

import pytest

import mlflow
from mlflow.entities import AssessmentSource, Feedback
from mlflow.exceptions import MlflowException
from mlflow.genai import scorer
from mlflow.genai.judges import make_judge
from mlflow.genai.scorers import job as scorer_jobs
from mlflow.genai.scorers.job import ONLINE_SESSION_SCORER_JOB_NAME, ONLINE_TRACE_SCORER_JOB_NAME
from mlflow.genai.scorers.online.container_scoring import OnlineContainerScorer
from mlflow.genai.scorers.online.session_batch import SESSION_ID
from mlflow.server.jobs.functions import get_job_function
from tests.server.jobs.discovery.scenes import (
    HOUR_MS,
    MINUTE_MS,
    SESSION,
    TAG,
    batch_ids,
    created,
    finish,
    make_discovery,
    only_params,
    params_of,
)

SESSION_TAG = "mlflow.latestOnlineScoring.session.checkpoint"


@scorer
def broken(outputs) -> bool:
    raise ValueError("cannot judge")


@scorer
def turns(session) -> int:
    return len(session)


@pytest.fixture
def say(experiment_id):
    """A trace that can be scored, with its spans."""

    def say(timestamp_ms, session_id=None):
        span = mlflow.start_span_no_context(
            "answer",
            experiment_id=experiment_id,
            metadata={"mlflow.trace.session": session_id} if session_id else None,
            start_time_ns=timestamp_ms * 10**6,
        )
        span.set_outputs("said")
        span.end(end_time_ns=timestamp_ms * 10**6 + 1)
        return span.trace_id

    return say


def tag_of(store, experiment_id, tag=TAG):
    return json.loads(store.get_experiment(experiment_id).tags[tag])


def test_g01_a_configuration_takes_a_rate_between_0_and_1_a_valid_filter_and_a_gateway_model(
    tracking_store, experiment_id, schedule
):
    schedule()
    direct = make_judge(
        name="direct", instructions="Is {{ outputs }} polite?", model="openai:/gpt-4o"
    )
    tracking_store.register_scorer(experiment_id, "direct", json.dumps(direct.model_dump()))

    for refused in [
        ("polite", 1.5),
        ("polite", -0.1),
        ("polite", 1.0, "nonsense ="),
        ("direct", 1.0),
    ]:
        with pytest.raises(MlflowException):
            tracking_store.upsert_online_scoring_config(experiment_id, *refused)

    assert (
        tracking_store.upsert_online_scoring_config(experiment_id, "direct", 0.0).sample_rate == 0
    )


def test_g02_the_latest_version_of_a_scorer_counts_while_its_rate_is_above_0(
    discovery, term, tracking_store, experiment_id, job_store, schedule, add_trace, window_end
):
    schedule("polite")
    schedule("polite")
    schedule("off", rate=0.0)
    add_trace(window_end - 1, "t1")

    discovery.run(term)

    (online_scorer,) = only_params(job_store)["online_scorers"]
    assert (online_scorer["name"], online_scorer["scorer_version"]) == ("polite", 2)
    assert "gateway:/endpoint" in online_scorer["serialized_scorer"]


def test_g03_scorers_are_grouped_by_the_experiment_of_their_configuration(
    discovery, term, tracking_store, job_store, schedule, experiment_id, add_trace, window_end
):
    other = tracking_store.create_experiment("other")
    schedule("here")
    schedule("there", to=other)
    add_trace(window_end - 1, "t1")
    add_trace(window_end - 1, "t2", experiment_id=other)

    discovery.run(term)

    names = {
        params["experiment_id"]: [each["name"] for each in params["online_scorers"]]
        for params in params_of(job_store)
    }
    assert names == {experiment_id: ["here"], other: ["there"]}


def test_g04_a_job_names_experiment_and_scorers_as_3_18_does_and_comes_alone(
    discovery, term, job_store, experiment_id, schedule, add_trace, window_end
):
    schedule(rate=0.9999999, filter_string="tag.kind = 'a'")
    add_trace(window_end - 1, "t1", tags={"kind": "a"})

    for _ in range(5):
        discovery.run(term)

    params = only_params(job_store)
    (online_scorer,) = params["online_scorers"]
    assert params["experiment_id"] == experiment_id
    assert online_scorer.keys() == {
        "name",
        "serialized_scorer",
        "online_config",
        "scorer_version",
    }
    assert online_scorer["online_config"].keys() == {
        "online_scoring_config_id",
        "scorer_id",
        "sample_rate",
        "experiment_id",
        "filter_string",
    }


def test_g05_an_experiment_is_scored_by_one_job_of_each_level_at_once(
    discovery, term, job_store, schedule, add_trace, window_end
):
    schedule("of traces")
    schedule("of sessions", level="session")
    add_trace(window_end - 1, "t1", trace_metadata=SESSION)

    discovery.run(term)

    jobs = [
        *created(job_store),
        *created(job_store, ONLINE_SESSION_SCORER_JOB_NAME),
    ]
    capacity = {ONLINE_TRACE_SCORER_JOB_NAME: 5, ONLINE_SESSION_SCORER_JOB_NAME: 5}
    harvest = job_store.claim_batch("r", ["local"], capacity, 60, lambda *_: None)
    assert len(jobs) == len(harvest.claimed) == 2
    assert len({job.lock_key for job in harvest.claimed}) == 2
    for job in harvest.claimed:
        exclusive = get_job_function(job.job_name)._job_fn_metadata.exclusive
        assert exclusive == ["experiment_id"]


def test_g06_checkpoints_are_tags_of_the_experiment(
    discovery, term, tracking_store, job_store, experiment_id, schedule, add_trace, window_end
):
    schedule("of traces")
    schedule("of sessions", level="session")
    add_trace(window_end - 1, "t1", trace_metadata=SESSION)

    discovery.run(term)
    finish(job_store)
    finish(job_store, ONLINE_SESSION_SCORER_JOB_NAME)

    assert tag_of(tracking_store, experiment_id).keys() == {"timestamp_ms", "trace_id"}
    assert tag_of(tracking_store, experiment_id, SESSION_TAG).keys() == {
        "timestamp_ms",
        "session_id",
    }


def test_g07_a_first_window_is_an_hour_long_and_ends_a_buffer_ago(
    discovery, term, job_store, schedule, add_trace, window_end
):
    schedule()
    add_trace(window_end - HOUR_MS - MINUTE_MS, "too old")
    add_trace(window_end - HOUR_MS + MINUTE_MS, "oldest")
    add_trace(window_end - 1, "newest")
    add_trace(window_end + MINUTE_MS, "too young")

    discovery.run(term)

    assert batch_ids(only_params(job_store)) == ["oldest", "newest"]


def test_g08_traces_are_taken_by_time_and_id_without_those_of_evaluation_runs(
    discovery, term, job_store, schedule, add_trace, set_checkpoint, window_end
):
    schedule("a", filter_string="tag.kind = 'a'")
    schedule("b", filter_string="tag.kind = 'b'")
    set_checkpoint(window_end - 9, "t5")
    add_trace(window_end - 9, "t4", tags={"kind": "a"})
    add_trace(window_end - 9, "t6", tags={"kind": "a"})
    add_trace(window_end - 8, "t3", tags={"kind": "b"})
    add_trace(window_end - 8, "t2", tags={"kind": "a"})
    add_trace(window_end - 7, "t1", tags={"kind": "a"}, trace_metadata={"mlflow.sourceRun": "run"})

    discovery.run(term)

    assert batch_ids(only_params(job_store)) == ["t6", "t2", "t3"]


def test_g09_a_session_is_sampled_by_its_id_as_a_trace_is(
    discovery, term, job_store, schedule, add_trace, window_end
):
    for name, rate in [("polite", 0.5), ("short", 0.25), ("often", 0.8)]:
        schedule(name, rate, level="session")
    for number in range(12):
        session_id = f"tr-{number:032x}"
        metadata = {"mlflow.trace.session": session_id}
        add_trace(window_end - 100 + number, f"t{number}", trace_metadata=metadata)

    discovery.run(term)

    # The same as for traces of these ids.
    sampled = {
        int(entry["session_id"].removeprefix("tr-"), 16): entry["scorers"]
        for entry in only_params(job_store, ONLINE_SESSION_SCORER_JOB_NAME)["batch"]
    }
    assert sampled == {
        **{number: ["often"] for number in (0, 3, 4, 8, 9)},
        **{number: ["often", "polite", "short"] for number in (1, 2, 5, 7, 10)},
    }


def test_g10_an_error_of_a_scorer_is_an_assessment_and_stops_no_checkpoint(
    tracked, term, job_store, experiment_id, say, window_end
):
    tracked.register_scorer(experiment_id, "broken", json.dumps(broken.model_dump()))
    tracked.upsert_online_scoring_config(experiment_id, "broken", 1.0)
    trace_id = say(window_end - MINUTE_MS)

    make_discovery(tracked, job_store).run(term)
    result = scorer_jobs.run_online_trace_scorer_job(**only_params(job_store))

    assert result == {"traces_scored": 1, "assessments": 0, "failures": 1}
    (trace,) = tracked.batch_get_traces([trace_id])
    (assessment,) = trace.info.assessments
    assert assessment.source.source_type == "CODE"
    assert "cannot judge" in assessment.error.error_message


def test_g11_the_checkpoint_moves_past_the_newest_trace_or_to_the_end_of_a_full_batch(
    tracking_store, job_store, term, experiment_id, schedule, add_trace, window_end
):
    discovery = make_discovery(tracking_store, job_store, max_entries=2)
    schedule()
    for number in range(3):
        add_trace(window_end - 10 + number, f"t{number}")

    discovery.run(term)
    finish(job_store)
    assert tag_of(tracking_store, experiment_id) == {
        "timestamp_ms": window_end - 9,
        "trace_id": "t1",
    }
    discovery.run(term)
    finish(job_store)

    assert tag_of(tracking_store, experiment_id) == {
        "timestamp_ms": window_end - 7,
        "trace_id": None,
    }


def test_g12_a_checkpoint_of_sessions_never_moves_backwards(
    tracking_store, job_store, term, experiment_id, schedule, add_trace, window_end
):
    schedule(level="session")
    add_trace(window_end - MINUTE_MS, "t1", trace_metadata=SESSION)
    make_discovery(tracking_store, job_store).run(term)
    finish(job_store, ONLINE_SESSION_SCORER_JOB_NAME)
    before = tag_of(tracking_store, experiment_id, SESSION_TAG)

    make_discovery(tracking_store, job_store, session_buffer_seconds=3600).run(term)

    assert tag_of(tracking_store, experiment_id, SESSION_TAG) == before
    assert len(created(job_store, ONLINE_SESSION_SCORER_JOB_NAME)) == 1


def test_g13_a_session_is_complete_a_buffer_after_its_last_trace(
    discovery, term, job_store, schedule, add_trace, window_end
):
    schedule(level="session", filter_string="tag.kind = 'a'")
    goes_on = {"mlflow.trace.session": "goes on"}
    add_trace(window_end - 2, "t1", trace_metadata=SESSION, tags={"kind": "a"})
    add_trace(window_end - 1, "t2", trace_metadata=SESSION, tags={"kind": "b"})
    add_trace(window_end - 2, "t3", trace_metadata=goes_on, tags={"kind": "a"})
    add_trace(window_end + MINUTE_MS, "t4", trace_metadata=goes_on)

    discovery.run(term)
    first = finish(job_store, ONLINE_SESSION_SCORER_JOB_NAME)
    job_store.clock_offset_ms = 5 * MINUTE_MS
    discovery.run(term)
    second = finish(job_store, ONLINE_SESSION_SCORER_JOB_NAME)

    names = [[each["session_id"] for each in params["batch"]] for params in (first, second)]
    assert names == [["s1"], ["goes on"]]


def test_g14_a_session_is_assessed_at_its_first_trace_and_anew_when_it_went_on(
    tracked, term, job_store, experiment_id, say, window_end
):
    tracked.register_scorer(experiment_id, "turns", json.dumps(turns.model_dump()))
    tracked.upsert_online_scoring_config(experiment_id, "turns", 1.0)
    first = say(window_end - MINUTE_MS, "s1")
    judge = AssessmentSource(source_type="LLM_JUDGE")
    other = Feedback(name="turns", value=9, source=judge, metadata={SESSION_ID: "another"})
    mlflow.log_assessment(trace_id=first, assessment=other)
    discovery = make_discovery(tracked, job_store)

    for minutes in (0, 10):
        job_store.clock_offset_ms = minutes * MINUTE_MS
        discovery.run(term)
        params = params_of(job_store, ONLINE_SESSION_SCORER_JOB_NAME)[-1]
        scorer_jobs.run_online_session_scorer_job(**params)
        finish(job_store, ONLINE_SESSION_SCORER_JOB_NAME)
        say(window_end + MINUTE_MS, "s1")

    (trace,) = tracked.batch_get_traces([first])
    assert sorted(made.value for made in trace.info.assessments) == [2, 9]


def test_g15_one_container_label_for_each_experiment_and_level(experiment_id):
    labels = {
        OnlineContainerScorer(experiment_id, name)._container_label
        for name in (ONLINE_TRACE_SCORER_JOB_NAME, ONLINE_SESSION_SCORER_JOB_NAME)
    }

    # Leftovers under a label are removed at a job's start, so no two jobs may share one (G5).
    assert labels == {
        f"run_online_trace_scorer-{experiment_id}",
        f"run_online_session_scorer-{experiment_id}",
    }
