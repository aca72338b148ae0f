"""The crashes that a row remembers, and how an operator is told of them. Keeps I11 bounded."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from mlflow.store.jobs.texts import repaired
from mlflow.store.jobs.values import Crash, RecoveryCandidate

# The latest; older ones are only counted.
MOST_KEPT = 10
_MOST_REASON_CHARACTERS = 300


def read(stored: Any) -> tuple[Crash, ...]:
    """The crashes of a row; what other software may have left there is passed over."""
    if not isinstance(stored, list):
        return ()
    return tuple(crash for each in stored if (crash := _crash(each)) is not None)


def written(crashes: Sequence[Crash]) -> list[dict[str, Any]]:
    """The crashes as a row keeps them."""
    return [asdict(crash) for crash in crashes]


def one_more(candidate: RecoveryCandidate, seen_at: int, reason: str | None) -> tuple[Crash, ...]:
    """What the row remembers once this crash is counted."""
    if reason is not None:
        reason = repaired(reason)[:_MOST_REASON_CHARACTERS]
    crash = Crash(seen_at, candidate.claimed_by, candidate.fence, reason)
    return (*candidate.crashes, crash)[-MOST_KEPT:]


def told(count: int, crashes: Sequence[Crash]) -> str:
    """Why a job is set aside, in words."""
    times = "once" if count == 1 else f"{count} times"
    which = "" if count <= len(crashes) else f", the last {len(crashes)} of them"
    return (
        f"Its runner or process died {times} while it ran{which}: "
        f"{'; '.join(_told(crash) for crash in crashes)}. "
        "The job is set aside, since it may be what they die of. It can be submitted again."
    )


def _told(crash: Crash) -> str:
    seen = datetime.fromtimestamp(crash.seen_at / 1000, timezone.utc)
    because = f" ({crash.reason})" if crash.reason else ""
    return f"on {crash.replica or 'an unknown replica'}, seen {seen:%Y-%m-%d %H:%M:%S} UTC{because}"


def _crash(each: Any) -> Crash | None:
    try:
        crash = Crash(**each)
        # An instant that no calendar has must not keep the job from being recovered.
        _told(crash)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    return crash
