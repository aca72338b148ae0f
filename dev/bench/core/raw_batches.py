"""The limit with fifty rows in each statement."""

from dev.bench.core.raw_loop import RawLoop


def contender(uri: str, concurrency: int) -> RawLoop:
    return RawLoop(uri, concurrency, 50)
