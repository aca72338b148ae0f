"""How long a lease may be trusted by the clock of the host that holds it. Pure.

The instant is counted from before the request was sent, since the database may have set the lease
at any time after that, and falls short of the lease by a margin in which work can still be stopped.
"""

_MARGIN_SHARE = 1 / 6


def trust_deadline(asked_at: float, ttl_seconds: float) -> float:
    """The monotonic instant after which the lease may be another's.

    Args:
        asked_at: Monotonic instant before the request for the lease was sent.
        ttl_seconds: The lease's duration by the database's clock.
    """
    return asked_at + ttl_seconds * (1 - _MARGIN_SHARE)


def watchdog_grace(ttl_seconds: float) -> float:
    """How long after a trust deadline its holder must have acted: half of the margin, in seconds.

    The other half is left to whoever has to act in its stead.
    """
    return ttl_seconds * _MARGIN_SHARE / 2
