"""The benchmark programs work, with sizes of a few jobs; what they find is not looked at."""

import contextlib
import dataclasses
import subprocess
import sys
from types import SimpleNamespace

import pytest

from dev.bench.core.contest import Entrant
from dev.bench.figures import percentile, summary, table
from dev.bench.growth import contest as growth
from dev.bench.peers import PEERS
from dev.bench.rounds import alternate
from dev.bench.scoring import discovery, throughput
from dev.bench.servers import contest as servers
from dev.bench.servers import idle
from dev.bench.servers.replica import Replica
from dev.bench.sizes import (
    QUICK,
    CoreSizes,
    DiscoverySizes,
    GrowthSizes,
    ServersSizes,
)
from tests.store.jobs.real_databases import fresh_database
from tests.tracking_databases import copy_of


@pytest.fixture
def sqlite_files(tmp_path, empty_database):
    """Databases as the programs ask for them, of which only files are to be had."""
    made = []

    @contextlib.contextmanager
    def empty(kind):
        assert kind == "sqlite"
        folder = tmp_path / f"database-{len(made)}"
        folder.mkdir()
        made.append(folder)
        yield copy_of(empty_database, folder)

    return SimpleNamespace(empty=empty)


def test_who_measures_the_memory_of_servers_has_loaded_nothing_that_they_do():
    modules = "import sys, dev.bench.__main__, dev.bench.servers.contest; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", modules], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "dev.bench.servers.contest" in loaded
    assert not {"mlflow", "numpy", "pyarrow"} & {each.partition(".")[0] for each in loaded}


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50), (99, 99), (100, 100), (1, 1), (0.5, 1), (99.5, 100)]
)
def test_a_percentile_is_a_value_that_was_measured(percent, expected):
    assert percentile([*range(100, 0, -1)], percent) == expected
    assert percentile([7], percent) == 7


def test_contenders_take_turns_and_the_order_turns_too():
    seen = []

    def contender(name):
        return lambda: seen.append(name) or {"figure": len(seen)}

    measured = alternate({name: contender(name) for name in "ab"}, rounds=3)

    assert seen == [*"abbaab"]
    assert measured == {"a": {"figure": [1, 4, 5]}, "b": {"figure": [2, 3, 6]}}


def test_a_contender_that_fails_has_no_figures_and_ends_nothing(capsys):
    def fail():
        raise RuntimeError("not installed")

    measured = alternate({"broken": fail, "sound": lambda: {"figure": 1.0}}, rounds=2)

    assert measured == {"broken": {}, "sound": {"figure": [1.0, 1.0]}}
    assert "broken failed: RuntimeError: not installed" in capsys.readouterr().err
    assert "-" in table("A table", measured).splitlines()[3]


def test_a_table_shows_medians_and_ranges_and_the_summary_every_value():
    measured = {"ours": {"jobs/s": [3.0, 1.0, 2.0], "idle": [None, None, None]}}

    assert "2 [1-3]" in table("A table", measured)
    assert summary(measured)["ours"] == {
        "jobs/s": {"median": 2.0, "least": 1.0, "greatest": 3.0, "rounds": [3.0, 1.0, 2.0]},
        "idle": {"rounds": [None, None, None]},
    }


@pytest.fixture
def servers_databases(tmp_path):
    """Databases of the servers that the tests have, whose statements nobody may log."""
    (tmp_path / "statements.log").touch()
    return SimpleNamespace(
        empty=lambda kind: fresh_database(kind, tmp_path),
        logging=contextlib.nullcontext,
        statements=tmp_path,
    )


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_queue_core_is_measured(kind, request):
    databases = request.getfixturevalue("sqlite_files" if kind == "sqlite" else "servers_databases")
    sizes = CoreSizes(jobs=12, paced=5, idle_seconds=1)
    entrant = Entrant(PEERS["ours"], sys.executable, databases, kind, sizes)

    figures = entrant.measure()

    # Whether an idle second has a statement is chance.
    assert figures.pop("idle statements/s") >= 0
    assert all(value > 0 for value in figures.values()), figures


@pytest.mark.long
def test_growth_is_measured(sqlite_files):
    sizes = GrowthSizes(
        rows=(10,), workspaces=(3,), runners=(2,), jobs=25, ended=(10,), seconds=0.5
    )

    measured = growth.contest(sqlite_files, "sqlite", sizes, rounds=1)

    assert [*measured] == [
        "terminal rows",
        "pending rows of a capped type",
        "workspaces",
        "runners",
        "a transaction that lasts",
    ]
    assert [*measured["a transaction that lasts"]] == ["10, none", "10, open"]
    beside = measured.pop("runners")["2"]
    assert beside["jobs/s of all"][0] > 0
    assert 0 <= beside["share of the least, 1 is even"][0] <= 1
    for contenders in measured.values():
        for figures in contenders.values():
            assert figures["jobs/s"][0] > 0
            assert figures["idle claim, p50 ms"][0] > 0


@pytest.mark.servers
def test_a_server_is_measured_with_jobs_and_idle_as_it_comes(sqlite_files, monkeypatch):
    memory_mib, has_bench_jobs = idle.memory_mib, []

    def noting(server):
        has_bench_jobs.append("_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST" in server._env)
        return memory_mib(server)

    monkeypatch.setattr(idle, "memory_mib", noting)
    sizes = ServersSizes(
        latencies=(2, 1), throughput=(3, 1), held=1, settle_seconds=0.0, idle_seconds=0.5
    )

    figures = servers.measure(sqlite_files, "sqlite", sizes, Replica())

    assert figures["idle statements/s"] is None
    assert figures["idle processes"] >= 2
    # Before and with a job that holds, and at rest.
    assert has_bench_jobs == [True, True, False]
    assert figures["no-op jobs/s, 8 at once"] > 0
    assert 0 < figures["POST to first line p50, s"] < figures["POST to success p50, s"]


def test_cycles_of_discovery_are_measured(sqlite_files):
    sizes = dataclasses.replace(QUICK.scoring.discovery, traces=(20,), experiments=(2,))

    measured = discovery.contest(sqlite_files, "sqlite", sizes, rounds=1, only=["ours"])

    figures = measured["20 traces"]["ours, 2"]
    assert figures["nothing new: job rows"] == [0]
    assert figures["a new trace in each: job rows"] == [2]
    assert 0 < figures["nothing new: statements"][0] < figures["a new trace in each: statements"][0]


@pytest.mark.long
@pytest.mark.servers
def test_cycles_of_stock_are_measured_too(sqlite_files):
    sizes = DiscoverySizes(traces=(20,), experiments=(2,), looks=1)

    measured = discovery.contest(sqlite_files, "sqlite", sizes, rounds=1, only=["stock"])

    figures = measured["20 traces"]["stock, 2"]
    assert figures["nothing new: job rows"] == figures["a new trace in each: job rows"] == [2]
    assert figures["look of a job: statements"][0] > 0


@pytest.mark.long
@pytest.mark.servers
@pytest.mark.parametrize(("engine", "traces"), [(None, 600), ("huey", 20)])
def test_the_scoring_of_a_server_is_measured(sqlite_files, engine, traces):
    figures = throughput.measure(sqlite_files, "sqlite", Replica(engine), traces, batch=5)

    assert figures["traces/min"] > 0
    assert figures["CPU s/1,000 traces"] > 0
