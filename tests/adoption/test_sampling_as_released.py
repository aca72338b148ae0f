"""The same scorers are for the same traces as in the release that users come from."""

import json
from types import SimpleNamespace

import pytest

from mlflow.genai.judges import make_judge
from mlflow.genai.scorers.online import OnlineScorer
from mlflow.genai.scorers.online.entities import OnlineScoringConfig
from mlflow.server.jobs.discovery.batches import Position
from mlflow.server.jobs.discovery.levels import TRACES
from mlflow.server.jobs.discovery.next_job import common_params, next_job
from tests.adoption import sampled_by_release
from tests.adoption.servers import released, run_python

pytestmark = pytest.mark.servers

_TRACES = [f"tr-{number:032x}" for number in range(300)]
# Name, rate, filter.
_SCORERS = [
    ("polite", 0.5, None),
    ("short", 0.25, None),
    ("often", 0.8, None),
    ("twin", 0.5, None),
    ("always", 1.0, "tag.kind = 'a'"),
    ("rare", 0.01, "tag.kind = 'a'"),
]


class _AllPassEveryFilter:
    """A tracking store in which all traces wait."""

    def search_traces(self, **_):
        infos = [
            SimpleNamespace(timestamp_ms=number, trace_id=trace_id)
            for number, trace_id in enumerate(_TRACES)
        ]
        return infos, None


def _online_scorer(name: str, rate: float, filter_string: str | None) -> OnlineScorer:
    judge = make_judge(name, "Is {{ outputs }} polite?", model="gateway:/endpoint")
    config = OnlineScoringConfig("c", "s", rate, "7", filter_string)
    return OnlineScorer(name, json.dumps(judge.model_dump()), config, 1)


def test_discovery_samples_what_3_18_samples(tmp_path):
    online_scorers = [_online_scorer(*each) for each in _SCORERS]
    asked = {**common_params("7", online_scorers), "trace_ids": _TRACES}
    (tmp_path / "asked.json").write_text(json.dumps(asked))

    printed = run_python(
        tmp_path, sampled_by_release.__file__, "asked.json", env=released("3.18.0")
    )
    by_release = json.loads(printed.splitlines()[-1])
    job = next_job(
        _AllPassEveryFilter(),
        TRACES,
        "7",
        online_scorers,
        Position(-1),
        window_end_ms=len(_TRACES),
        newest_ms=None,
        on_bad_filter=pytest.fail,
    )

    batch = {entry["trace_id"]: entry["scorers"] for entry in job.params["batch"]}
    assert batch == {trace_id: names for trace_id, names in by_release.items() if names}
    # Some of each, or nothing was compared.
    assert {name for names in batch.values() for name in names} == {each[0] for each in _SCORERS}
