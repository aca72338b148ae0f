"""Group 5: online scoring, how it finds what waits and how fast it scores, beside stock 3.18.0."""

from dev.bench.databases import Databases
from dev.bench.figures import Measured
from dev.bench.rounds import alternate
from dev.bench.scoring import discovery as of_discovery
from dev.bench.scoring import throughput
from dev.bench.servers.replica import REPLICAS
from dev.bench.sizes import ScoringSizes

_SERVERS = {name: REPLICAS[name] for name in ("ours", "stock, Huey")}


def contest(
    databases: Databases, kind: str, sizes: ScoringSizes, rounds: int, only: list[str] | None = None
) -> dict[str, Measured]:
    """Measure discovery by its sizes, and the throughput of servers."""
    found = of_discovery.contest(databases, kind, sizes.discovery, rounds, only)
    return {
        **{f"cycle of discovery, {title}": measured for title, measured in found.items()},
        "throughput": alternate(
            {
                name: lambda replica=replica: throughput.measure(
                    databases, kind, replica, sizes.waiting[replica.is_slow], sizes.batch
                )
                for name, replica in _SERVERS.items()
                if only is None or name in only
            },
            rounds,
        ),
    }
