"""What the job store takes and answers: small immutable values, no SQL."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

# Lock key of a job from its name, params and workspace; None means that it is not exclusive.
LockKeyFor = Callable[[str, dict[str, Any], str], str | None]


class JobUpdateStatus(str, Enum):
    """What a conditional transition answers.

    APPLIED: the row changed, or already had exactly this terminal outcome.
    WRONG_STATE: the row is ours, but in a state that this transition does not leave.
    CLAIM_LOST: the row is gone or under another fence; nothing changed.
    """

    APPLIED = "APPLIED"
    WRONG_STATE = "WRONG_STATE"
    CLAIM_LOST = "CLAIM_LOST"


@dataclass(frozen=True)
class Claim:
    """The proof of ownership of one RUNNING row; every write of the owner names it."""

    job_id: str
    fence: int


@dataclass(frozen=True)
class ClaimedJob:
    """A claim with all that is needed to run the job. `timeout` is in seconds."""

    claim: Claim
    job_name: str
    params: dict[str, Any] = field(repr=False)
    timeout: float | None
    workspace: str
    backend: str | None
    creator: str | None
    retry_count: int
    recovery_count: int
    sealed_environment: str | None = field(repr=False)
    lock_key: str | None


@dataclass(frozen=True)
class ClaimBatch:
    """One claim's harvest. `canceled` are the ids whose exclusivity lock is held (T3)."""

    claimed: list[ClaimedJob]
    canceled: list[str]


@dataclass(frozen=True)
class JobLock:
    """One holding of an exclusivity lock, by the job under this fence, since this epoch ms."""

    lock_key: str
    job_id: str
    acquired_at: int
    fence: int | None = None


@dataclass(frozen=True)
class Term:
    """One holding of the scheduler lease; all that a leader writes names it."""

    lease_key: str
    holder: str
    fence: int


@dataclass(frozen=True)
class CheckpointMove:
    """Where discovery resumes once the job that carries this succeeds.

    `value` is the JSON of the experiment's tag: `timestamp_ms` with `trace_id` or `session_id`.
    """

    experiment_id: str
    tag: str
    value: dict[str, Any]


@dataclass(frozen=True)
class Success:
    """The JSON text with which the job of a claim succeeds."""

    claim: Claim
    result: str | None = field(repr=False)


@dataclass(frozen=True)
class RecoveryCandidate:
    """A NEEDS_RECOVERY row, as it was when it was read."""

    job_id: str
    fence: int
    backend: str | None
    job_name: str
    recovery_count: int
