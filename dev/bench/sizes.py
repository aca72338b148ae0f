"""How much each group measures.

Apart from what measures it, so that nothing of MLflow is imported by asking: what this process had
loaded would count as shared with the servers whose memory is measured (PSS).
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ServersSizes:
    """How much is measured.

    Attributes:
        workers: Web workers of each server.
        latencies: Jobs, one at a time, on a server whose jobs are quick; and on a slow one.
        throughput: Jobs at once on a server whose jobs are quick; and on a slow one.
        held: Jobs that run while the memory of a running job is measured.
        settle_seconds: Rest before memory, and before idle, is measured.
        idle_seconds: How long that is.
    """

    workers: int = 1
    latencies: tuple[int, int] = (200, 7)
    throughput: tuple[int, int] = (400, 12)
    held: int = 4
    settle_seconds: float = 20.0
    idle_seconds: float = 60.0


@dataclass(frozen=True)
class CoreSizes:
    """How much is measured.

    Attributes:
        jobs: Enqueued one by one, and again in bulk; all of them are then worked off.
        rate: Jobs per second while latency is measured.
        paced: How many jobs that is done with.
        idle_seconds: How long statements of idle workers are counted.
    """

    jobs: int = 5000
    rate: float = 50.0
    paced: int = 1000
    idle_seconds: int = 60


@dataclass(frozen=True)
class GrowthSizes:
    """How much is measured.

    Attributes:
        rows: Numbers of rows, terminal or of a capped type.
        workspaces: Numbers of workspaces.
        runners: Numbers of runners on one database.
        jobs: Jobs that are worked off at each size.
        ended: Numbers of jobs that ended since a transaction began that lasts.
        seconds: How long runners work beside each other.
    """

    rows: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    workspaces: tuple[int, ...] = (1, 10, 100, 1_000)
    runners: tuple[int, ...] = (1, 2, 4, 8, 16)
    jobs: int = 1_000
    ended: tuple[int, ...] = (1_000, 10_000, 100_000)
    seconds: float = 10.0


@dataclass(frozen=True)
class DiscoverySizes:
    """How much is measured.

    Attributes:
        traces: Numbers of traces in the database.
        experiments: Numbers of experiments whose judge is switched on; the traces are spread over
            as many as the greatest.
        looks: Jobs of stock whose looks are measured.
    """

    traces: tuple[int, ...] = (10_000, 1_000_000)
    experiments: tuple[int, ...] = (1, 100, 5_000)
    looks: int = 50


@dataclass(frozen=True)
class ScoringSizes:
    """How much is measured.

    Attributes:
        discovery: Of cycles that look for work.
        waiting: Traces that wait on a server that scores quickly; and on a slow one.
        batch: So many are scored before a rate is measured.
    """

    discovery: DiscoverySizes = field(default_factory=DiscoverySizes)
    waiting: tuple[int, int] = (20_000, 1_500)
    batch: int = 500


@dataclass(frozen=True)
class RecoverySizes:
    """What is measured.

    Attributes:
        default_lease: Whether the default lease is, beside the smallest; that takes a minute each.
    """

    default_lease: bool = True


@dataclass(frozen=True)
class Sizes:
    """How much each group measures."""

    servers: ServersSizes = field(default_factory=ServersSizes)
    core: CoreSizes = field(default_factory=CoreSizes)
    growth: GrowthSizes = field(default_factory=GrowthSizes)
    scoring: ScoringSizes = field(default_factory=ScoringSizes)
    recovery: RecoverySizes = field(default_factory=RecoverySizes)


QUICK = Sizes(
    ServersSizes(
        latencies=(10, 2), throughput=(20, 2), held=2, settle_seconds=5.0, idle_seconds=5.0
    ),
    CoreSizes(jobs=100, paced=50, idle_seconds=5),
    GrowthSizes(
        rows=(1_000, 10_000),
        workspaces=(1, 100),
        runners=(1, 2),
        jobs=100,
        ended=(1_000,),
        seconds=1.0,
    ),
    ScoringSizes(
        DiscoverySizes(traces=(1_000,), experiments=(1, 20), looks=3),
        waiting=(1_200, 20),
        batch=10,
    ),
    RecoverySizes(default_lease=False),
)
