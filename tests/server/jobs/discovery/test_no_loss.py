"""I5: what is assessed is what an oracle of a few lines says, no more and no less.

Hypothesis makes up traces, sessions, filters, rates, scorers, outages, how far the clock of whoever
writes the traces is behind, and what becomes of each attempt: success, failure, a process that dies
in the middle and is requeued. On every database: discovery, the store and the job functions are the
real ones; only time is moved by hand.

`SCORING_EXAMPLES` asks for so many runs, each time other ones, instead of the few fixed ones.
"""

import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext

import mlflow
from mlflow.entities import Span, TraceInfo, TraceLocation, TraceState
from mlflow.genai import scorer
from mlflow.genai.scorers import job as scorer_jobs
from mlflow.genai.scorers.job import ONLINE_SESSION_SCORER_JOB_NAME, ONLINE_TRACE_SCORER_JOB_NAME
from mlflow.genai.scorers.online import OnlineScorerSampler, isolation
from mlflow.genai.scorers.online.batch_parts import rate_limits
from mlflow.genai.scorers.online.scorer_calls import score_session, score_trace
from mlflow.server.jobs.discovery.online_scoring import OnlineScoringDiscovery
from mlflow.server.jobs.settings import JobSettings
from mlflow.store.jobs.sqlalchemy_store import SqlAlchemyJobStore
from mlflow.store.jobs.values import CheckpointMove
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from tests.store.jobs.real_databases import KINDS, fresh_database
from tests.tracking_databases import as_job_process

EXAMPLES = int(os.environ.get("SCORING_EXAMPLES", "0"))
FIXED_EXAMPLES = 20
# Windows end half-way between two traces: far from what the test itself takes.
TICK_MS = 600_000
BUFFER_MS = TICK_MS // 2
HOUR_MS = 3_600_000
TRACE_JOB, SESSION_JOB = ONLINE_TRACE_SCORER_JOB_NAME, ONLINE_SESSION_SCORER_JOB_NAME
FUNCTIONS = {
    TRACE_JOB: scorer_jobs.run_online_trace_scorer_job,
    SESSION_JOB: scorer_jobs.run_online_session_scorer_job,
}


@scorer
def size(outputs) -> int:
    return len(outputs)


@scorer
def turns(session) -> int:
    return len(session)


@dataclass(frozen=True)
class Judge:
    """A scorer that is switched on."""

    name: str
    of_sessions: bool
    rate: float
    kind: str | None

    def wants(self, kind):
        return self.kind in (None, kind)


@dataclass(frozen=True)
class Said:
    """A trace; `tick` is when, counted from the first cycle."""

    tick: int
    kind: str
    session: str | None
    by_evaluation: bool


@dataclass(frozen=True)
class Step:
    """Time passes, and then perhaps a cycle and attempts at the jobs; outages have neither."""

    ticks: int
    discovers: bool
    ends: list[str]


judges = st.lists(
    st.builds(
        Judge,
        name=st.sampled_from(["ann", "bob", "cid", "dee"]),
        of_sessions=st.booleans(),
        rate=st.sampled_from([1.0, 1.0, 0.6, 0.3]),
        kind=st.sampled_from([None, "x", "y"]),
    ),
    min_size=2,
    max_size=4,
    # Of two scorers with one rate, which one is asked first is the database's choice.
    unique_by=(
        lambda judge: judge.name,
        lambda judge: judge.name if judge.rate == 1.0 else judge.rate,
    ),
)
# Ten and more ticks are more than an hour.
LAST_TICK = 40
traces = st.lists(
    st.builds(
        Said,
        tick=st.integers(-9, LAST_TICK),
        kind=st.sampled_from(["x", "y"]),
        session=st.sampled_from([None, "a", "b"]),
        by_evaluation=st.sampled_from([False, False, False, True]),
    ),
    min_size=4,
    max_size=10,
)
steps = st.lists(
    st.builds(
        Step,
        ticks=st.integers(1, 12),
        discovers=st.booleans(),
        ends=st.lists(st.sampled_from(["succeed", "fail", "crash"]), max_size=4),
    ),
    max_size=6,
)


# In ticks: how much later than its own time a trace is written.
delays = st.sampled_from([0, 0, 8])


class Killed(BaseException):
    """The job's process is killed just here."""


@dataclass
class World:
    """One experiment, its stores and the time."""

    tracking: SqlAlchemyStore
    jobs: SqlAlchemyJobStore
    number: int
    monkeypatch: pytest.MonkeyPatch
    tick: int = 0
    ids: dict[str, Said] = field(default_factory=dict)

    def begin(self, judges):
        self.experiment_id = self.tracking.create_experiment(f"example {self.number}")
        for judge in judges:
            function = turns if judge.of_sessions else size
            function = function.model_copy(update={"name": judge.name})
            dumped = json.dumps({**function.model_dump(), "name": judge.name})
            condition = judge.kind and f"tag.kind = '{judge.kind}'"
            self.tracking.register_scorer(self.experiment_id, judge.name, dumped)
            self.tracking.upsert_online_scoring_config(
                self.experiment_id, judge.name, judge.rate, condition
            )
        self.jobs.clock_offset_ms = 0
        self.began_ms = self.jobs.now_ms()
        self.term = self.jobs.acquire_scheduler_lease(f"{self.number}", "me", ttl_seconds=10**7)
        self.discovery = OnlineScoringDiscovery(
            self.tracking,
            self.jobs,
            JobSettings(),
            self,
            trace_buffer_seconds=BUFFER_MS / 1000,
            session_buffer_seconds=BUFFER_MS / 1000,
            max_entries=2,
            max_looks=2,
        )

    def route(self, job_name, params):
        return "local"

    def at_ms(self, tick):
        return self.began_ms + tick * TICK_MS

    def say(self, trace, place):
        number = self.number * 1000 + place + 1
        trace_id = f"tr-{number:032x}"
        metadata = {"mlflow.trace.session": trace.session} if trace.session else {}
        if trace.by_evaluation:
            metadata["mlflow.sourceRun"] = "run"
        at_ms = self.at_ms(trace.tick)
        self.tracking.start_trace(
            TraceInfo(
                trace_id=trace_id,
                trace_location=TraceLocation.from_experiment_id(self.experiment_id),
                request_time=at_ms,
                execution_duration=1,
                state=TraceState.OK,
                trace_metadata=metadata,
                tags={"kind": trace.kind},
            )
        )
        attributes = {
            "mlflow.traceRequestId": trace_id,
            "mlflow.spanInputs": {},
            "mlflow.spanOutputs": "said",
            "mlflow.spanType": "LLM",
        }
        span = ReadableSpan(
            name="said",
            context=SpanContext(trace_id=number, span_id=number, is_remote=False),
            start_time=at_ms * 10**6,
            end_time=at_ms * 10**6 + 1,
            attributes={key: json.dumps(value) for key, value in attributes.items()},
        )
        self.tracking.log_spans(self.experiment_id, [Span(span)])
        self.ids[trace_id] = trace

    def advance_to(self, tick):
        self.tick = tick
        self.jobs.clock_offset_ms = tick * TICK_MS

    def discover(self):
        self.discovery.run(self.term)

    def attempt(self, end):
        """Let one job run and end like this; false if none waits."""
        capacity = {TRACE_JOB: 1, SESSION_JOB: 1}
        claimed = self.jobs.claim_batch("me", ["local"], capacity, 60, lambda *_: None).claimed
        for job in claimed:
            if end == "crash":
                with self.monkeypatch.context() as dying:
                    dying.setattr(
                        mlflow, "log_assessment", kill_at_the_second(mlflow.log_assessment)
                    )
                    try:
                        FUNCTIONS[job.job_name](**job.params)
                    except Killed:
                        pass
                assert self.jobs.abandon([job.claim]) == 1
                (candidate,) = self.jobs.recovery_candidates()
                self.jobs.requeue(candidate, self.term, 100)
                continue
            result = FUNCTIONS[job.job_name](**job.params)
            if end == "fail":
                self.jobs.fail(job.claim, "failed after all")
                continue
            move = CheckpointMove(**job.params["next_checkpoint"])
            self.jobs.succeed(job.claim, json.dumps(result), move)
            if job.params["full"]:
                self.discovery.run_experiment(self.term, None, self.experiment_id)
        return bool(claimed)

    def finish(self):
        """Cycles and successes until nothing is left to be done."""
        while self.attempt("succeed"):
            pass
        self.discover()
        while self.attempt("succeed"):
            pass

    def assessed(self):
        """(trace id, scorer, value) -> how often."""
        found = Counter()
        for trace in self.tracking.batch_get_traces(list(self.ids)):
            for made in trace.info.assessments:
                found[trace.info.trace_id, made.name, made.value] += 1
        return found

    def end(self):
        self.tracking.delete_experiment(self.experiment_id)


def kill_at_the_second(log):
    calls = count(1)

    def log_or_die(**assessment):
        if next(calls) > 1:
            raise Killed
        return log(**assessment)

    return log_or_die


def oracle(ids, judges):
    """What 3.18 samples of all traces and sessions since an hour before the first cycle."""
    first_ms = -HOUR_MS - BUFFER_MS
    served = {
        key: trace
        for key, trace in ids.items()
        if not trace.by_evaluation and trace.tick * TICK_MS >= first_ms
    }
    expected = Counter()
    for trace_id, trace in served.items():
        for judge in sampled(
            [j for j in judges if not j.of_sessions and j.wants(trace.kind)], trace_id
        ):
            expected[trace_id, judge.name, len("said")] += 1
    for session in {trace.session for trace in ids.values()} - {None}:
        everything = sorted((t.tick, key) for key, t in ids.items() if t.session == session)
        spoken = [key for _, key in everything if not ids[key].by_evaluation]
        if not spoken or everything[-1][0] * TICK_MS < first_ms:
            continue
        kind = ids[everything[0][1]].kind
        for judge in sampled([j for j in judges if j.of_sessions and j.wants(kind)], session):
            expected[spoken[0], judge.name, len(spoken)] += 1
    return expected


def sampled(judges, entity_id):
    """Within a filter, a scorer of a lower rate gets a part of what one of a higher rate got."""
    for kind in (None, "x", "y"):
        before = 1.0
        for judge in sorted((j for j in judges if j.kind == kind), key=lambda j: -j.rate):
            digest = hashlib.sha256(f"{entity_id}:{judge.name}".encode()).hexdigest()
            if int(digest, 16) / 2**256 > judge.rate / before:
                break
            yield judge
            before = judge.rate


class HereInstead:
    """Calls an isolated scorer in this process: `test_isolation` has those of their own."""

    def __init__(self, online_scorer, patience_seconds):
        self.scorer = OnlineScorerSampler([online_scorer]).scorer(online_scorer.name)

    def ask(self, traces, session_id):
        limits = rate_limits([self.scorer])
        if session_id is None:
            return score_trace(*traces, [self.scorer], limits)
        return score_session(session_id, traces, self.scorer, limits)

    def close(self):
        """Nothing to be ended."""


@pytest.fixture(scope="module", params=KINDS)
def stores(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("no-loss")
    with fresh_database(request.param, folder) as uri, pytest.MonkeyPatch.context() as monkeypatch:
        tracking, jobs = SqlAlchemyStore(uri, str(folder / "artifacts")), SqlAlchemyJobStore(uri)
        monkeypatch.setattr(isolation, "ScorerProcess", HereInstead)
        with as_job_process(tracking, uri):
            yield tracking, jobs
        tracking.engine.dispose()
        jobs.engine.dispose()


numbers = count(1)


@settings(
    derandomize=not EXAMPLES,
    max_examples=EXAMPLES or FIXED_EXAMPLES,
    deadline=None,
    database=None,
    # Making a failure small takes minutes, which is for whoever asked for it.
    phases=list(Phase) if EXAMPLES else [Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(judges, traces, steps, delays)
def test_i05_what_is_assessed_is_what_was_sampled_no_more_and_no_less(
    stores, judges, traces, steps, delay
):
    with pytest.MonkeyPatch.context() as monkeypatch:
        world = World(*stores, next(numbers), monkeypatch)
        world.begin(judges)
        waiting = list(enumerate(traces))

        def hear():
            for place, trace in [each for each in waiting if each[1].tick + delay <= world.tick]:
                world.say(trace, place)
                waiting.remove((place, trace))

        hear()
        world.discover()
        for step in steps:
            world.advance_to(world.tick + step.ticks)
            hear()
            if step.discovers:
                world.discover()
                for end in step.ends:
                    world.attempt(end)
        world.advance_to(max(world.tick, LAST_TICK + delay) + 1)
        hear()
        world.finish()

        assert world.assessed() == oracle(world.ids, judges)
        world.end()
