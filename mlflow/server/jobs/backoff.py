"""How long a retry waits: min(base * 2**n, max), with jitter. Pure."""

import random
from collections.abc import Callable

# Spreads jobs that failed together, without ever waiting longer than the bound.
_JITTER_SHARE = 0.25

# Above this exponent every base that a setting allows is past every bound.
_HIGHEST_EXPONENT = 60


def delay_seconds(
    attempt: int,
    base_seconds: float,
    max_seconds: float,
    random_share: Callable[[], float] = random.random,
) -> float:
    """The wait before the attempt that follows `attempt` earlier retries.

    Args:
        attempt: How many retries there were before this one; 0 for the first.
        base_seconds: The wait of the first retry.
        max_seconds: The longest wait.
        random_share: Answers numbers from 0 up to 1.
    """
    full = min(base_seconds * 2 ** min(attempt, _HIGHEST_EXPONENT), max_seconds)
    return full * (1 - _JITTER_SHARE * random_share())
