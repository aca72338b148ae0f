"""What the job store takes and answers: small immutable values, no SQL."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from mlflow.entities._job import JobScopedPermission
from mlflow.entities._job_status import JobStatus

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
class TokenHolder:
    """Who has the job token of this hash: the proof of a remote workload, which knows no fence.

    It ends with the claim that it was made for (I8).
    """

    job_id: str
    token_hash: str = field(repr=False)


Owner = Claim | TokenHolder


@dataclass(frozen=True)
class NewJob:
    """A job to be created; see `AbstractJobStore.create_job` for its fields."""

    job_name: str
    params: str = field(repr=False)
    timeout: float | None = None
    creator: str | None = None
    executor_backend: str | None = None
    lock_key: str | None = None
    sealed_environment: str | None = field(default=None, repr=False)
    scoped_permissions: Sequence[JobScopedPermission | dict[str, Any]] | None = None
    workspace: str | None = None
    job_id: str | None = None


@dataclass(frozen=True)
class ClaimedJob:
    """A claim with all that is needed to run the job. `timeout` is in seconds.

    `token` is the job token, where the backend asks for one; it is kept nowhere else. A suspect is
    a job that may be what its runners died of (I11).
    """

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
    token: str | None = field(default=None, repr=False)
    is_suspect: bool = False


@dataclass(frozen=True)
class TokenJob:
    """The job whose last claim a token was made for, as it is at this moment.

    Attributes:
        holder: Who showed the token.
        workspace: The only workspace in which the token opens anything.
        creator: The user for whom the job runs.
        status: Its state.
        retry_count: How often it was retried before.
        live: Whether that claim lives. A token of an ended claim opens nothing (I8), and only
            lets its holder repeat the report with which the claim ended.
        permissions: What the token opens; nothing unless it is live.
    """

    holder: TokenHolder
    workspace: str
    creator: str | None
    status: JobStatus | None
    retry_count: int
    live: bool
    permissions: tuple[JobScopedPermission, ...]

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.holder.job_id


@dataclass(frozen=True)
class ClaimBatch:
    """One claim's harvest.

    Attributes:
        claimed: The jobs to run.
        canceled: The ids of those whose exclusivity lock is held (T3).
        filled: The job types of which as many rows were due as had slots: more may be.
        newest: Of each job type, when the newest row met was created, in ms since the epoch; of
            rows that were never retried.
    """

    claimed: list[ClaimedJob]
    canceled: list[str]
    filled: frozenset[str] = frozenset()
    newest: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class DueWork:
    """What a look for due jobs has found.

    Attributes:
        ordinary: Whether some job is due that is no suspect.
        suspects: The job types of which a suspect is due.
    """

    ordinary: bool
    suspects: frozenset[str] = frozenset()


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
class Outlook:
    """What the leader sees while it renews its lease.

    Attributes:
        now_ms: The database's time.
        stale_at_ms: When the first RUNNING job becomes stale unless it is renewed or ends before;
            None while none runs. A job that is claimed later has a whole lease from then on.
        recovery_waits: Whether some job NEEDS_RECOVERY.
    """

    now_ms: int
    stale_at_ms: int | None
    recovery_waits: bool


@dataclass(frozen=True)
class CheckpointMove:
    """Where discovery resumes once the job that carries this succeeds.

    `value` is the JSON of the experiment's tag: `timestamp_ms` with `trace_id` or `session_id`.
    """

    experiment_id: str
    tag: str
    value: dict[str, Any]


@dataclass(frozen=True)
class Crash:
    """One time that the runner or the process of a job was lost.

    Attributes:
        seen_at: When that was noticed, in epoch milliseconds of the database.
        replica: Who ran the job.
        fence: The claim that was lost.
        reason: What its backend said of it, if it said anything.
    """

    seen_at: int
    replica: str | None
    fence: int
    reason: str | None = None


@dataclass(frozen=True)
class ScoredExperiment:
    """An active experiment with scorers that are switched on, as discovery first sees it.

    Attributes:
        experiment_id: The experiment.
        workspace: Its workspace.
        scorer_count: How many scorers are switched on.
        configuration: Differs when scorers were switched on or off, or given another rate.
        checkpoints: Text of each checkpoint tag asked for; absent tags are left out.
        newest_trace_ms: For each tag, the time of the newest trace before the end given for it;
            None if there is no trace.
    """

    experiment_id: str
    workspace: str
    scorer_count: int
    configuration: str
    checkpoints: dict[str, str]
    newest_trace_ms: dict[str, int | None]


@dataclass(frozen=True)
class Success:
    """The JSON text with which the job of a claim succeeds."""

    claim: Claim
    result: str | None = field(repr=False)


@dataclass(frozen=True)
class RecoveryCandidate:
    """A NEEDS_RECOVERY row, as it was when it was read.

    It stays so while the row is NEEDS_RECOVERY under this fence. `crashed_at` is None where the
    last runner handed the job over. `is_suspect` says that it was claimed as one.
    """

    job_id: str
    fence: int
    backend: str | None
    job_name: str
    recovery_count: int
    claimed_by: str | None = None
    crashed_at: int | None = None
    crashes: tuple[Crash, ...] = ()
    is_suspect: bool = False
