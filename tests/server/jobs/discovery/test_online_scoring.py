"""The leader's discovery puts what online scoring has to do into PENDING jobs, once."""

import json
import logging

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers.job import ONLINE_SESSION_SCORER_JOB_NAME, ONLINE_TRACE_SCORER_JOB_NAME
from mlflow.server.jobs.settings import JobSettings
from mlflow.store.jobs.errors import LeadershipLost
from mlflow.store.tracking.dbmodels.models import SqlOnlineScoringConfig, SqlScorerVersion
from mlflow.store.tracking.sqlalchemy_workspace_store import WorkspaceAwareSqlAlchemyStore
from mlflow.utils.workspace_context import ServerWorkspaceContext
from tests.server.jobs.discovery.scenes import (
    BUFFER_MS,
    HOUR_MS,
    MINUTE_MS,
    SESSION,
    TAG,
    LocalOnly,
    batch_ids,
    created,
    finish,
    make_discovery,
    only_params,
    params_of,
    schedule_judge,
)
from tests.store.jobs.invariants.test_i10_cost import Counter
from tests.tracking_databases import add_gateway_endpoints


def test_waiting_traces_become_an_explicit_batch_of_a_pending_job(
    discovery, term, tracking_store, job_store, experiment_id, schedule, add_trace, window_end
):
    config = schedule()
    add_trace(window_end - 2, "t1")
    add_trace(window_end - 1, "t2")

    discovery.run(term)

    (job,) = created(job_store)
    assert (job.status, job.executor_backend) == (JobStatus.PENDING, "local")
    assert job.timeout == JobSettings().default_timeout
    params = json.loads(job.params)
    reached = params["next_checkpoint"]["value"].pop("timestamp_ms")
    assert params.pop("online_scorers") == [
        {
            "name": "polite",
            "serialized_scorer": tracking_store.get_active_online_scorers()[0].serialized_scorer,
            "online_config": {**config.to_dict(), "filter_string": None},
            "scorer_version": 1,
        }
    ]
    assert params == {
        "experiment_id": experiment_id,
        "batch": [
            {"trace_id": "t1", "scorers": ["polite"]},
            {"trace_id": "t2", "scorers": ["polite"]},
        ],
        "next_checkpoint": {
            "experiment_id": experiment_id,
            "tag": TAG,
            "value": {"trace_id": None},
        },
        "full": False,
    }
    assert window_end <= reached <= job_store.now_ms() - BUFFER_MS


def test_nothing_is_even_looked_for_while_a_trace_job_is_unfinished(
    tracking_store, job_store, term, schedule, add_trace, window_end
):
    router = LocalOnly()
    discovery = make_discovery(tracking_store, job_store, router)
    schedule()
    add_trace(window_end - 1, "t1")

    discovery.run(term)
    discovery.run(term)

    assert len(created(job_store)) == 1
    assert router.asked == [ONLINE_TRACE_SCORER_JOB_NAME]


def test_the_next_batch_begins_where_a_finished_one_ended(
    discovery, term, job_store, schedule, add_trace, window_end
):
    schedule()
    add_trace(window_end - 1, "t1")
    discovery.run(term)
    finish(job_store)
    job_store.clock_offset_ms = 10 * MINUTE_MS
    add_trace(window_end + MINUTE_MS, "t2")

    discovery.run(term)

    first, second = params_of(job_store)
    assert (batch_ids(first), batch_ids(second)) == (["t1"], ["t2"])


def test_the_traces_of_a_failed_job_wait_again(
    discovery, term, job_store, schedule, add_trace, window_end
):
    schedule()
    add_trace(window_end - 1, "t1")
    discovery.run(term)
    capacity = {ONLINE_TRACE_SCORER_JOB_NAME: 1}
    (job,) = job_store.claim_batch("r", ["local"], capacity, 60, lambda *_: None).claimed
    job_store.fail(job.claim, "broken")

    discovery.run(term)

    assert [batch_ids(params) for params in params_of(job_store)] == [["t1"], ["t1"]]


def test_an_outage_of_hours_is_caught_up_oldest_first_without_a_gap(
    tracking_store, job_store, term, schedule, add_trace, set_checkpoint, window_end, experiment_id
):
    discovery = make_discovery(tracking_store, job_store, max_entries=2)
    schedule()
    set_checkpoint(window_end - 6 * HOUR_MS)
    traces = [add_trace(window_end - hours * HOUR_MS, f"t{hours}") for hours in (5, 4, 3, 2, 1)]

    scored, full = [], True
    while full:
        discovery.run_experiment(term, None, experiment_id)
        params = finish(job_store)
        scored += batch_ids(params)
        full = params["full"]

    assert scored == traces
    assert len(created(job_store)) == 3


def test_the_first_run_looks_back_one_hour(
    discovery, term, job_store, schedule, add_trace, window_end
):
    schedule()
    add_trace(window_end - HOUR_MS - MINUTE_MS, "too old")
    add_trace(window_end - HOUR_MS + MINUTE_MS, "recent")

    discovery.run(term)

    assert batch_ids(only_params(job_store)) == ["recent"]


def test_traces_wait_until_the_completion_buffer_has_passed(
    discovery, term, job_store, schedule, add_trace, window_end
):
    schedule()
    add_trace(window_end + 2 * MINUTE_MS, "young")

    discovery.run(term)
    assert created(job_store) == []
    job_store.clock_offset_ms = 3 * MINUTE_MS
    discovery.run(term)

    assert batch_ids(only_params(job_store)) == ["young"]


@pytest.mark.parametrize("level", ["trace", "session"])
def test_traces_of_a_client_whose_clock_is_behind_are_all_scored(
    discovery, term, job_store, schedule, add_trace, window_end, level
):
    job_name = f"run_online_{level}_scorer"
    schedule(level=level)
    for number in range(4):
        # Written now, in the order of a clock that is ten minutes behind the completion buffer.
        begun_ms = window_end - 10 * MINUTE_MS + number * 1_000
        session = {"mlflow.trace.session": f"s{number}"}
        add_trace(begun_ms, f"t{number}", trace_metadata=session)
        discovery.run(term)
        finish(job_store, job_name)

    found = [entry for params in params_of(job_store, job_name) for entry in params["batch"]]
    key = f"{level}_id"
    assert [entry[key] for entry in found] == [f"{level[0]}{number}" for number in range(4)]


def test_a_crowded_filter_holds_back_the_checkpoint_of_a_sparse_one(
    tracking_store, job_store, term, schedule, add_trace, window_end
):
    discovery = make_discovery(tracking_store, job_store, max_looks=2)
    schedule("crowded", rate=1e-9, filter_string="tag.kind = 'a'")
    schedule("sparse", filter_string="tag.kind = 'b'")
    for number in range(3):
        add_trace(window_end - 10 + number, f"a{number}", tags={"kind": "a"})
    add_trace(window_end - 5, "b", tags={"kind": "b"})

    discovery.run(term)

    params = only_params(job_store)
    assert params["batch"] == []
    assert params["full"]
    assert params["next_checkpoint"]["value"] == {
        "timestamp_ms": window_end - 9,
        "trace_id": "a1",
    }
    finish(job_store)
    discovery.run(term)
    assert batch_ids(params_of(job_store)[1]) == ["b"]


def test_the_same_traces_are_sampled_as_by_3_18(
    discovery, term, job_store, schedule, add_trace, window_end
):
    for name, rate in [("polite", 0.5), ("short", 0.25), ("often", 0.8)]:
        schedule(name, rate)
    for number in range(12):
        add_trace(window_end - 100 + number, f"tr-{number:032x}")

    discovery.run(term)

    all_three = ["often", "polite", "short"]
    sampled = {
        int(entry["trace_id"].removeprefix("tr-"), 16): entry["scorers"]
        for entry in only_params(job_store)["batch"]
    }
    assert sampled == {
        **{number: ["often"] for number in (0, 3, 4, 8, 9)},
        **dict.fromkeys((1, 2, 5, 7, 10), all_three),
    }


def test_traces_that_are_not_sampled_get_no_job_each_minute(
    discovery, term, job_store, schedule, add_trace, set_checkpoint, window_end
):
    schedule(rate=1e-9)
    set_checkpoint(window_end - MINUTE_MS)
    add_trace(window_end - 1, "unsampled")

    discovery.run(term)

    assert created(job_store) == []


def test_looks_that_reached_their_bound_are_settled_by_a_job_even_if_nothing_was_sampled(
    tracking_store, job_store, term, schedule, add_trace, set_checkpoint, window_end
):
    discovery = make_discovery(tracking_store, job_store, max_looks=2)
    schedule(rate=1e-9)
    set_checkpoint(window_end - MINUTE_MS)
    for number in range(3):
        add_trace(window_end - 10 + number, f"t{number}")

    discovery.run(term)

    params = only_params(job_store)
    assert params["batch"] == []
    assert params["next_checkpoint"]["value"]["trace_id"] == "t1"


def test_the_first_look_leaves_a_checkpoint_so_that_an_outage_right_after_it_loses_nothing(
    tracking_store, job_store, term, schedule, add_trace, experiment_id, window_end
):
    schedule()
    add_trace(window_end - 30 * MINUTE_MS, "t1")
    make_discovery(tracking_store, job_store).run(term)
    capacity = {ONLINE_TRACE_SCORER_JOB_NAME: 1}
    (job,) = job_store.claim_batch("r", ["local"], capacity, 60, lambda *_: None).claimed
    job_store.fail(job.claim, "the outage begins")
    job_store.clock_offset_ms = 5 * HOUR_MS
    add_trace(window_end + HOUR_MS, "t2")

    make_discovery(tracking_store, job_store).run(term)

    begun = json.loads(tracking_store.get_experiment(experiment_id).tags[TAG])
    assert window_end - HOUR_MS <= begun["timestamp_ms"] < window_end - 30 * MINUTE_MS
    assert [batch_ids(params) for params in params_of(job_store)] == [["t1"], ["t1", "t2"]]


def test_a_first_look_that_samples_nothing_leaves_its_checkpoint_and_no_job(
    discovery, term, tracking_store, job_store, experiment_id, schedule, add_trace, window_end
):
    schedule(rate=1e-9)
    add_trace(window_end - 1, "unsampled")

    discovery.run(term)

    assert created(job_store) == []
    assert TAG in tracking_store.get_experiment(experiment_id).tags


@pytest.mark.parametrize(("traces", "jobs"), [(1, 1), (0, 0)])
def test_after_two_hours_unwanted_traces_are_passed_and_an_idle_experiment_costs_no_job(
    discovery, term, job_store, schedule, add_trace, set_checkpoint, window_end, traces, jobs
):
    schedule(filter_string="tag.kind = 'rare'")
    set_checkpoint(window_end - 2 * HOUR_MS)
    for number in range(traces):
        add_trace(window_end - MINUTE_MS, f"unwanted{number}")

    discovery.run(term)

    assert [params["batch"] for params in params_of(job_store)] == [[]] * jobs


def test_a_checkpoint_in_the_future_is_taken_back(
    discovery, term, job_store, schedule, add_trace, set_checkpoint, window_end
):
    schedule()
    set_checkpoint(window_end + 24 * HOUR_MS)
    add_trace(window_end - 1, "t1")

    discovery.run(term)

    assert batch_ids(only_params(job_store)) == ["t1"]
    finish(job_store)
    discovery.run(term)
    assert len(created(job_store)) == 1


def test_a_checkpoint_inside_the_completion_buffer_waits(
    discovery, term, job_store, schedule, add_trace, set_checkpoint, window_end
):
    schedule()
    set_checkpoint(window_end + 2 * MINUTE_MS)
    add_trace(window_end - 1, "passed before the buffer grew")

    discovery.run(term)

    assert created(job_store) == []


def test_sessions_get_a_job_of_their_own_while_none_is_unfinished(
    discovery, term, job_store, experiment_id, schedule, add_trace, window_end
):
    schedule("trace_level")
    schedule("session_level", level="session")
    add_trace(window_end - 1, "t1", trace_metadata=SESSION)

    discovery.run(term)
    discovery.run(term)

    params = only_params(job_store, ONLINE_SESSION_SCORER_JOB_NAME)
    reached = params["next_checkpoint"]["value"].pop("timestamp_ms")
    assert window_end <= reached <= job_store.now_ms() - BUFFER_MS
    assert params["next_checkpoint"] == {
        "experiment_id": experiment_id,
        "tag": "mlflow.latestOnlineScoring.session.checkpoint",
        "value": {"session_id": None},
    }
    assert params["batch"] == [
        {
            "session_id": "s1",
            "first_trace_timestamp_ms": window_end - 1,
            "last_trace_timestamp_ms": window_end - 1,
            "scorers": ["session_level"],
        }
    ]
    assert params["full"] is False
    assert [scorer["name"] for scorer in params["online_scorers"]] == ["session_level"]
    (trace_scorer,) = only_params(job_store)["online_scorers"]
    assert trace_scorer["name"] == "trace_level"


def test_a_deleted_experiment_gets_no_job(
    discovery, term, job_store, tracking_store, experiment_id, schedule, add_trace, window_end
):
    schedule("trace_level")
    schedule("session_level", level="session")
    add_trace(window_end - 1, "t1")
    tracking_store.delete_experiment(experiment_id)

    discovery.run(term)

    assert list(job_store.list_jobs()) == []


def test_a_scorer_that_cannot_be_loaded_stops_no_other_and_is_warned_of_once(
    discovery, term, job_store, tracking_store, schedule, add_trace, window_end, caplog
):
    schedule("broken")
    schedule("sound")
    break_scorer(tracking_store, "broken")
    add_trace(window_end - 1, "t1")

    with caplog.at_level(logging.WARNING, logger="mlflow.server.jobs.discovery"):
        discovery.run(term)
        finish(job_store)
        discovery.run(term)

    assert only_params(job_store)["batch"] == [{"trace_id": "t1", "scorers": ["sound"]}]
    assert [record for record in caplog.messages if "'broken'" in record] == caplog.messages
    assert len(caplog.messages) == 1


def break_scorer(tracking_store, name):
    with tracking_store.ManagedSessionMaker(read_only=False) as session:
        for version in session.query(SqlScorerVersion).all():
            stored = json.loads(version.serialized_scorer)
            if stored["name"] == name:
                stored["instructions_judge_pydantic_data"].pop("instructions")
                version.serialized_scorer = json.dumps(stored)


@pytest.mark.parametrize(
    "trouble",
    [MlflowException("no backend"), KeyError("model"), RecursionError("deep"), OSError("disk")],
)
def test_an_experiment_in_trouble_stops_no_other_and_is_warned_of_once(
    tracking_store, job_store, term, schedule, experiment_id, add_trace, window_end, trouble, caplog
):
    other = tracking_store.create_experiment("other")
    schedule()
    schedule(to=other)
    add_trace(window_end - 1, "t1")
    add_trace(window_end - 1, "t2", experiment_id=other)
    router = LocalOnly(refused=[experiment_id], error=trouble)
    discovery = make_discovery(tracking_store, job_store, router)

    with caplog.at_level(logging.WARNING, logger="mlflow.server.jobs.discovery"):
        discovery.run(term)
        discovery.run(term)

    assert only_params(job_store)["experiment_id"] == other
    (warning,) = caplog.messages
    assert f"experiment {experiment_id}" in warning
    router.refused = []
    discovery.run(term)
    assert {params["experiment_id"] for params in params_of(job_store)} == {other, experiment_id}


def test_one_experiment_can_be_looked_at_alone(
    discovery, term, tracking_store, job_store, schedule, experiment_id, add_trace, window_end
):
    other = tracking_store.create_experiment("other")
    schedule()
    schedule(to=other)
    add_trace(window_end - 1, "t1")
    add_trace(window_end - 1, "t2", experiment_id=other)

    discovery.run_experiment(term, None, experiment_id)

    assert only_params(job_store)["experiment_id"] == experiment_id


def test_i06_an_ex_leader_creates_nothing(
    discovery, term, job_store, schedule, add_trace, window_end
):
    schedule("trace_level")
    schedule("session_level", level="session")
    add_trace(window_end - 1, "t1")
    job_store.release_scheduler_lease(term)
    job_store.acquire_scheduler_lease("scheduler", "another", ttl_seconds=600)

    with pytest.raises(LeadershipLost):
        discovery.run(term)

    assert list(job_store.list_jobs()) == []


def test_every_workspace_is_looked_in_and_owns_its_jobs(
    database_uri,
    tmp_path,
    job_store,
    term,
    start_trace,
    window_end,
    monkeypatch,
):
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    store = WorkspaceAwareSqlAlchemyStore(database_uri, str(tmp_path / "artifacts"))
    experiments = {}
    for workspace in ("red", "blue"):
        with ServerWorkspaceContext(workspace):
            add_gateway_endpoints(store, "endpoint")
            experiments[workspace] = store.create_experiment("scored")
            schedule_judge(store, experiments[workspace], "polite", 1.0, None, "trace")
            start_trace(store, experiments[workspace], window_end - 1, f"t-{workspace}")
    discovery = make_discovery(store, job_store)

    discovery.run(term)
    discovery.run(term)

    found = {job.workspace: batch_ids(json.loads(job.params)) for job in created(job_store)}
    assert found == {"red": ["t-red"], "blue": ["t-blue"]}
    assert len(created(job_store)) == 2


def test_a_filter_that_the_store_refuses_stops_no_other_of_its_experiment(
    discovery, term, job_store, tracking_store, schedule, add_trace, window_end, caplog
):
    schedule("refused", filter_string="tag.kind = 'a'")
    schedule("sound")
    with tracking_store.ManagedSessionMaker(read_only=False) as session:
        session.query(SqlOnlineScoringConfig).filter(
            SqlOnlineScoringConfig.filter_string.isnot(None)
        ).update({"filter_string": "no such thing ="})
    add_trace(window_end - 1, "t1")

    with caplog.at_level(logging.WARNING, logger="mlflow.server.jobs.discovery"):
        discovery.run(term)
        finish(job_store)
        discovery.run(term)

    assert only_params(job_store)["batch"] == [{"trace_id": "t1", "scorers": ["sound"]}]
    (warning,) = caplog.messages
    assert "no such thing =" in warning


def test_a_cycle_ends_in_time_and_the_next_goes_on_where_it_ended(
    tracking_store, job_store, term, schedule, add_trace, window_end
):
    experiments = [tracking_store.create_experiment(f"e{number}") for number in range(3)]
    for place, experiment_id in enumerate(experiments):
        schedule(to=experiment_id)
        add_trace(window_end - 1, f"t{place}", experiment_id=experiment_id)
    seconds = iter(range(100))
    # The clock is read once at the beginning and once before each visit.
    discovery = make_discovery(
        tracking_store, job_store, cycle_seconds=2, monotonic=lambda: next(seconds)
    )

    served = []
    for _ in range(3):
        discovery.run(term)
        served.append(sorted(params["experiment_id"] for params in params_of(job_store)))

    assert [len(each) for each in served] == [1, 2, 3]
    assert served[-1] == sorted(experiments)


def test_i10_a_cycle_in_which_nothing_is_new_costs_the_same_for_many_experiments(
    discovery, term, tracking_store, job_store, schedule, add_trace, window_end
):
    costs = []
    for number in range(1, 13):
        experiment_id = tracking_store.create_experiment(f"e{number}")
        schedule(to=experiment_id)
        add_trace(window_end - number, f"t{number}", experiment_id=experiment_id)
        if number in (1, 12):
            discovery.run(term)
            while job_store.search_jobs(statuses=[JobStatus.PENDING])[0]:
                finish(job_store)
            discovery.run(term)
            with Counter(job_store.engine) as jobs, Counter(tracking_store.engine) as traces:
                discovery.run(term)
            costs.append(len([s for s in [*jobs.statements, *traces.statements] if is_work(s)]))

    assert costs[0] == costs[1] <= 8


def test_i10_what_is_new_in_many_experiments_is_read_at_once(
    discovery, term, tracking_store, job_store, schedule, add_trace, window_end
):
    experiments, costs = [], []
    for more in (1, 11):
        for _ in range(more):
            experiments.append(tracking_store.create_experiment(f"e{len(experiments)}"))
            schedule(to=experiments[-1])
        # The first cycle puts checkpoints down.
        discovery.run(term)
        for each in experiments:
            add_trace(window_end - 1, f"t{more}-{each}", experiment_id=each)
        with Counter(tracking_store.engine) as counter:
            discovery.run(term)
        costs.append(len([s for s in counter.statements if is_work(s)]))
        assert len(job_store.search_jobs(statuses=[JobStatus.PENDING])[0]) == len(experiments)
        while job_store.search_jobs(statuses=[JobStatus.PENDING])[0]:
            finish(job_store)
        job_store.clock_offset_ms += MINUTE_MS
        window_end += MINUTE_MS

    assert costs[0] == costs[1]


def is_work(statement):
    return not statement.startswith(("PRAGMA", "BEGIN"))


def test_whoever_switches_scoring_on_again_begins_an_hour_back_and_not_where_it_ended(
    discovery, term, job_store, schedule, add_trace, set_checkpoint, window_end
):
    schedule()
    set_checkpoint(window_end - 48 * HOUR_MS)
    add_trace(window_end - 24 * HOUR_MS, "while it was off")
    add_trace(window_end - MINUTE_MS, "recent")
    schedule(rate=0.0)
    discovery.run(term)

    schedule(rate=1.0)
    discovery.run(term)

    assert batch_ids(only_params(job_store)) == ["recent"]


def test_a_level_without_scorers_keeps_no_old_checkpoint(
    discovery, term, tracking_store, experiment_id, schedule, add_trace, set_checkpoint, window_end
):
    schedule(level="session")
    set_checkpoint(window_end - 2 * HOUR_MS)
    add_trace(window_end - 1, "t1")

    discovery.run(term)

    assert TAG not in tracking_store.get_experiment(experiment_id).tags


def test_a_backlog_is_answered_and_logged(
    tracking_store,
    job_store,
    term,
    schedule,
    add_trace,
    set_checkpoint,
    experiment_id,
    window_end,
    caplog,
):
    discovery = make_discovery(tracking_store, job_store)
    schedule()
    set_checkpoint(window_end - 5 * HOUR_MS)
    add_trace(window_end - 4 * HOUR_MS, "t1")

    behind = discovery.run(term)
    still_behind = discovery.run(term)
    finish(job_store)
    with caplog.at_level("INFO"):
        caught_up = discovery.run(term)

    assert (behind.experiments, behind.experiment_id) == (1, experiment_id)
    assert behind.oldest_ms == still_behind.oldest_ms == window_end - 4 * HOUR_MS
    assert caught_up.experiments == 0
    told = [line for line in caplog.messages if "behind" in line or "caught up" in line]
    assert [f"furthest in experiment {experiment_id}" in line for line in told] == [True, False]


def test_a_session_that_goes_on_after_its_batch_waits_again_as_a_whole(
    discovery, term, job_store, schedule, add_trace, window_end
):
    schedule(level="session")
    add_trace(window_end - MINUTE_MS, "t1", trace_metadata=SESSION)
    discovery.run(term)
    finish(job_store, ONLINE_SESSION_SCORER_JOB_NAME)
    job_store.clock_offset_ms = 10 * MINUTE_MS
    add_trace(window_end + MINUTE_MS, "t2", trace_metadata=SESSION)

    discovery.run(term)

    first, second = params_of(job_store, ONLINE_SESSION_SCORER_JOB_NAME)
    assert [each["batch"][0]["last_trace_timestamp_ms"] for each in (first, second)] == [
        window_end - MINUTE_MS,
        window_end + MINUTE_MS,
    ]
    assert second["batch"][0]["first_trace_timestamp_ms"] == window_end - MINUTE_MS


def test_a_full_batch_of_sessions_ends_at_its_last_one_and_the_next_goes_on_there(
    tracking_store, job_store, term, schedule, add_trace, experiment_id, window_end
):
    discovery = make_discovery(tracking_store, job_store, max_entries=2)
    schedule(level="session")
    for number in range(5):
        metadata = {"mlflow.trace.session": f"s{number}"}
        add_trace(window_end - 10, f"t{number}", trace_metadata=metadata)

    scored, full = [], True
    while full:
        discovery.run_experiment(term, None, experiment_id)
        params = finish(job_store, ONLINE_SESSION_SCORER_JOB_NAME)
        scored.append([entry["session_id"] for entry in params["batch"]])
        full = params["full"]

    assert scored == [["s0", "s1"], ["s2", "s3"], ["s4"]]
