"""The verbs of a job store, and what each promises about the row it changes.

Terms. A *claim* (job id and fence) owns a RUNNING row until the fence is raised or the row leaves
RUNNING and NEEDS_RECOVERY. A *term* is one holding of the scheduler lease. Every instant that is
stored or compared is the database's, in epoch milliseconds (I7); durations are in seconds.

A verb that loses a race says so in its answer and has then changed nothing; it raises only for
input that could never be right, or when the database fails.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from mlflow.entities._job import Job, JobProgress, JobScopedPermission
from mlflow.entities._job_status import JobStatus
from mlflow.store.jobs.errors import JobTerminalStateUpdateException
from mlflow.store.jobs.values import (
    CheckpointMove,
    Claim,
    ClaimBatch,
    DueWork,
    JobLock,
    JobUpdateStatus,
    LockKeyFor,
    NewJob,
    Outlook,
    Owner,
    RecoveryCandidate,
    ScoredExperiment,
    Success,
    Term,
    TokenHolder,
    TokenJob,
)
from mlflow.utils.annotations import developer_stable

__all__ = ["AbstractJobStore", "JobTerminalStateUpdateException", "JobUpdateStatus"]


@developer_stable
class AbstractJobStore(ABC):
    """Where jobs, exclusivity locks and the scheduler lease are kept."""

    @property
    def supports_workspaces(self) -> bool:
        """Whether the store shows only the active workspace's jobs."""
        return False

    @abstractmethod
    def now_ms(self) -> int:
        """The database's time."""

    # Submission and reading

    @abstractmethod
    def create_job(
        self,
        job_name: str,
        params: str,
        timeout: float | None = None,
        creator: str | None = None,
        executor_backend: str | None = None,
        *,
        lock_key: str | None = None,
        sealed_environment: str | None = None,
        scoped_permissions: Sequence[JobScopedPermission | dict[str, Any]] | None = None,
        term: Term | None = None,
        workspace: str | None = None,
        job_id: str | None = None,
        on_committed: Callable[[], None] | None = None,
    ) -> Job | None:
        """T1. Insert a PENDING row.

        Args:
            job_name: Name of the job function.
            params: Its parameters, a JSON text.
            timeout: Seconds the job may run; None means no limit.
            creator: Authenticated user, if any.
            executor_backend: Name of the backend instance that will run it.
            lock_key: Exclusivity lock that the claim must take.
            sealed_environment: Encrypted extra environment, erased at the terminal state.
            scoped_permissions: What a job token of this job may open.
            term: Given by discovery: the row is inserted only while the term lasts (I6), and, with
                a lock key, only when no unfinished row of the workspace has the same key.
            workspace: Owner of the job; the active or default workspace when None.
            job_id: Id to use instead of a new one.
            on_committed: Called once the row is there for everybody, which is before the job is
                answered. Not called when nothing was inserted. Must not raise.

        Returns:
            The job, or None when the lock key already has an unfinished job (with a term only).

        Raises:
            LeadershipLost: The term has ended.
            FieldTooLarge: Params that are more than the database takes in one statement.
            InvalidJobField: A text that cannot be stored, or a timeout that is no positive,
                finite number of seconds.
        """

    @abstractmethod
    def create_jobs(self, new: Sequence[NewJob]) -> list[str]:
        """T1 of many jobs in one transaction, of all or of none; answer their ids, in order.

        Raises:
            FieldTooLarge, InvalidJobField: As `create_job`, of the first such job.
        """

    @abstractmethod
    def get_job(self, job_id: str) -> Job:
        """The job of this id.

        Raises:
            JobNotFound: There is none.
        """

    @abstractmethod
    def list_jobs(
        self,
        job_name: str | None = None,
        statuses: list[JobStatus] | None = None,
        begin_timestamp: int | None = None,
        end_timestamp: int | None = None,
        params: dict[str, Any] | None = None,
    ) -> Iterator[Job]:
        """All matching jobs, oldest first, then by id; both timestamps are inclusive.

        `params` matches jobs whose own parameters contain all of these keys with these values.
        """

    @abstractmethod
    def search_jobs(
        self,
        *,
        job_name: str | None = None,
        statuses: Collection[JobStatus] | None = None,
        workspace: str | None = None,
        creator: str | None = None,
        begin: int | None = None,
        end: int | None = None,
        params: dict[str, Any] | None = None,
        max_results: int = 100,
        page_token: str | None = None,
    ) -> tuple[list[Job], str | None]:
        """One page in `list_jobs`'s order, and the token of the next page or None at the end.

        With `params`, a page may be short, even empty, and still have a next one: what is read for
        one page is bounded.

        Raises:
            InvalidJobField: A page token that this store did not give, `max_results` below 1, or
                a text or time that no database can be asked for.
        """

    @abstractmethod
    def delete_jobs(self, older_than: int = 0, job_ids: list[str] | None = None) -> list[str]:
        """Delete terminal jobs and answer their ids.

        Args:
            older_than: Only those created more than so many milliseconds ago; 0 is no limit.
            job_ids: Only these; an empty list deletes nothing.
        """

    # The owner's verbs

    @abstractmethod
    def claim_batch(
        self,
        replica_id: str,
        backends: Collection[str | None],
        capacity: Mapping[str, int],
        lease_seconds: float,
        lock_key_for: LockKeyFor,
        *,
        default_timeout_seconds: float = 3600.0,
        token_backends: Collection[str | None] = (),
        after: Sequence[Success] = (),
        created_since: Mapping[str, int] = MappingProxyType({}),
    ) -> ClaimBatch:
        """T2 and T3. Claim due jobs, oldest due first, within each job type's own capacity.

        Suspects are left out.

        Args:
            replica_id: Who claims.
            backends: Served here; None stands for rows without a backend.
            capacity: Free slots by job name.
            lease_seconds: How long the claims last without renewal.
            lock_key_for: Lock key of rows that were stored without one, from name, params and
                workspace; None means not exclusive.
            default_timeout_seconds: Timeout of lock holders that have none, for lock staleness.
            token_backends: Backends whose jobs get a job token with the claim (I8).
            after: What is to succeed first, in the same transaction, as by `succeed_all`.
            created_since: By job name, in ms since the epoch: jobs that were created before, and
                never retried, are passed over.

        Raises:
            NotAllSucceeded: Not all of `after` would be APPLIED; nothing has changed.
            ResultTooLarge, InvalidJobField: As `succeed`, of one of `after`; nothing has changed.
        """

    @abstractmethod
    def claim_suspect(
        self,
        replica_id: str,
        backends: Collection[str | None],
        job_names: Collection[str],
        lease_seconds: float,
        lock_key_for: LockKeyFor,
        *,
        default_timeout_seconds: float = 3600.0,
        token_backends: Collection[str | None] = (),
    ) -> ClaimBatch:
        """T2 and T3. Claim the oldest suspect of these job types, if any; see `claim_batch`.

        `claim_batch` claims none: who claims has to know that no other suspect runs there (I11).
        """

    @abstractmethod
    def due_work(
        self,
        backends: Collection[str | None],
        job_names: Collection[str],
        suspect_names: Collection[str] = (),
    ) -> DueWork:
        """What is due, for much less than a claim costs.

        Args:
            backends: Served here; None stands for rows without a backend.
            job_names: The job types of which `claim_batch` might take some.
            suspect_names: Those of which `claim_suspect` might take one.
        """

    @abstractmethod
    def renew(self, claims: Sequence[Claim], lease_seconds: float) -> set[Claim]:
        """T4. Extend the leases of these claims; answer the claims that are lost."""

    @abstractmethod
    def not_running(self, claims: Sequence[Claim]) -> dict[Claim, JobStatus | None]:
        """The claims whose row is not RUNNING under their fence, with its status (None: gone)."""

    @abstractmethod
    def succeed(
        self, owner: Owner, result: str | None, checkpoint: CheckpointMove | None = None
    ) -> JobUpdateStatus:
        """T5. Store the result and move the checkpoint in one transaction (I5).

        The owner is the claim, or the holder of its job token.

        Raises:
            ResultTooLarge: More than the database takes in one statement.
            InvalidJobField: A result with NaN, an infinity, NUL or a lone surrogate.
        """

    def succeed_all(self, successes: Sequence[Success]) -> bool:
        """T5 of several claims in one transaction, or of none of them.

        Returns:
            True: every one of them is APPLIED. False: not all of them would have been, and nothing
            has changed; `succeed` then tells what there is to say of each.

        Raises:
            ResultTooLarge, InvalidJobField: As `succeed`; nothing has changed.
        """
        return False

    @abstractmethod
    def fail(self, owner: Owner, error: str) -> JobUpdateStatus:
        """T6. Store the error; characters that no database takes are replaced."""

    @abstractmethod
    def time_out(self, owner: Owner, error: str | None = None) -> JobUpdateStatus:
        """T6. As `fail`, with the status TIMEOUT."""

    @abstractmethod
    def retry(self, owner: Owner, error: str, delay_seconds: float) -> JobUpdateStatus:
        """T7. Back to PENDING, due after the delay; the error becomes the status message."""

    @abstractmethod
    def abandon(self, claims: Sequence[Claim], *, lost: bool = False) -> int:
        """T10. Hand running jobs to recovery; answer how many were still ours.

        `lost` says that nobody knows how their work ended, which counts like a crash (I11).
        """

    @abstractmethod
    def confirm_canceled(self, claim: Claim) -> JobUpdateStatus:
        """T8, second half. The canceled job's work has stopped: end its lease, free its lock."""

    @abstractmethod
    def acquire_lock(
        self, lock_key: str, claim: Claim, default_timeout_seconds: float = 3600.0
    ) -> JobLock | None:
        """Take one more exclusivity lock for a running job; None when another holds it.

        The lock that a job was created with is taken by its claim. None is also the answer when
        the claim is lost. Every end of the claim gives the lock back.
        """

    @abstractmethod
    def release_lock(self, lock: JobLock) -> bool:
        """Give this lock back before its claim ends; False when it was not held any more."""

    # The verbs of remote work, beside `succeed`, `fail`, `time_out` and `retry`

    @abstractmethod
    def job_of_token(self, holder: TokenHolder) -> TokenJob | None:
        """The job whose last claim this token was made for; None for any other token."""

    @abstractmethod
    def report_progress(
        self,
        holder: TokenHolder,
        message: str | None = None,
        progress: JobProgress | None = None,
        status_details: dict[str, Any] | None = None,
    ) -> JobUpdateStatus:
        """Set what is given and merge the details; CLAIM_LOST unless the token is live (I8).

        Raises:
            InvalidJobField: Values that are not storable.
        """

    # The user's verbs

    @abstractmethod
    def cancel_job(self, job_id: str) -> Job:
        """T8. Cancel an unfinished job.

        Raises:
            JobNotFound: There is none.
            JobTerminalStateUpdateException: It is finalized.
        """

    # Progress

    @abstractmethod
    def update_status_details(
        self, job_id: str, status_details: dict[str, Any], fence: int | None = None
    ) -> JobUpdateStatus:
        """Merge these keys into the job's status details.

        With a fence, only its owner's row is changed; CLAIM_LOST otherwise (I1).

        Raises:
            JobNotFound: There is none.
            JobTerminalStateUpdateException: It is finalized.
            InvalidJobField: Values that are not storable JSON.
        """

    @abstractmethod
    def update_job_progress(
        self,
        job_id: str,
        message: str | None = None,
        progress: JobProgress | None = None,
        fence: int | None = None,
    ) -> JobUpdateStatus:
        """Set the status message, the progress, or both; None leaves a value as it is.

        Fence and errors as in `update_status_details`.
        """

    @abstractmethod
    def statuses(self, job_ids: Collection[str]) -> dict[str, JobStatus | None]:
        """The statuses of those that exist; None for one that is unreadable."""

    # The leader's verbs

    @abstractmethod
    def sweep(self, term: Term, limit: int = 1000) -> int:
        """T9. Mark stale RUNNING jobs NEEDS_RECOVERY; answer how many.

        Rows that another transaction has locked are passed over, not waited for. They stay stale.
        """

    @abstractmethod
    def unlocked(self, job_ids: Collection[str]) -> set[str]:
        """Which of these rows no other transaction holds at this moment."""

    @abstractmethod
    def recovery_candidates(self, limit: int = 100) -> list[RecoveryCandidate]:
        """Jobs whose backend has to be asked what became of them."""

    @abstractmethod
    def reattach(
        self, candidate: RecoveryCandidate, replica_id: str, lease_seconds: float, term: Term
    ) -> Claim | None:
        """T11. Own the still running work under a new fence; None when it was not ours to take."""

    @abstractmethod
    def requeue(
        self,
        candidate: RecoveryCandidate,
        term: Term,
        max_recoveries: int,
        crash: str | None = None,
    ) -> JobUpdateStatus:
        """T12. Back to PENDING.

        A job that was lost, rather than handed over, is FAILED instead when that has happened
        `max_recoveries` times before; its row keeps when and where (I11). One that has used more
        than half of these is a suspect from then on. `crash` is what its backend says of the loss,
        where nobody else has seen one.
        """

    @abstractmethod
    def fail_recovery(
        self, candidate: RecoveryCandidate, error: str, term: Term, after_seconds: float = 0.0
    ) -> JobUpdateStatus:
        """T13. Nothing can be recovered; the job fails with this error.

        With `after_seconds`, only a job of which nothing has been heard for so long.
        """

    @abstractmethod
    def is_served(self, backend: str) -> bool:
        """Whether some runner has a job of this backend under a live lease."""

    @abstractmethod
    def waiting_backends(self) -> list[str]:
        """The backends that PENDING jobs name."""

    @abstractmethod
    def count_waiting(self, backend: str, limit: int = 1000) -> tuple[int, bool]:
        """How many PENDING jobs name this backend, up to a limit, and whether that is all."""

    @abstractmethod
    def has_expired(self, completed_ttl_seconds: float | None = None) -> bool:
        """Whether `delete_expired` would find a row."""

    @abstractmethod
    def delete_expired(
        self, term: Term, completed_ttl_seconds: float | None = None, limit: int = 1000
    ) -> int:
        """Delete terminal rows past their time to live; answer how many.

        CANCELED rows of discovery go after a day, whatever `completed_ttl_seconds` says.
        """

    # Discovery's verbs

    @abstractmethod
    def scored_experiments(
        self, ends_ms: Mapping[str, int], experiment_id: str | None = None
    ) -> list[ScoredExperiment]:
        """The active experiments, of all workspaces, with scorers that are switched on.

        Args:
            ends_ms: Tag of a checkpoint to the end of the window that it is about, exclusive.
            experiment_id: Only this one; None stands for all.
        """

    @abstractmethod
    def unfinished_lock_keys(
        self,
        job_names: Collection[str],
        lock_key_for: LockKeyFor,
        lock_keys: Collection[str] | None = None,
    ) -> set[str]:
        """The lock keys of unfinished jobs, those of `lock_keys` at least; None stands for all.

        `lock_key_for` is asked for rows that were stored without one.
        """

    @abstractmethod
    def begin_checkpoint(
        self, checkpoint: CheckpointMove, term: Term, instead_of: str | None = None
    ) -> bool:
        """Put a checkpoint where none was read, or instead of the text that was.

        False when something else stands there by now; nothing changed.

        Raises:
            LeadershipLost: The term has ended (I6).
        """

    @abstractmethod
    def forget_checkpoint(self, experiment_id: str, tag: str, instead_of: str, term: Term) -> bool:
        """Take away a checkpoint of this text; False if it is another by now, or the term ended."""

    @abstractmethod
    def forget_unscored_checkpoints(self, tags: Collection[str], term: Term) -> int:
        """Take away these checkpoints where no scorer is switched on; answer how many went."""

    # Leadership and periodic tasks

    @abstractmethod
    def acquire_scheduler_lease(self, key: str, holder: str, ttl_seconds: float) -> Term | None:
        """A new term, when the lease is free or has run out."""

    @abstractmethod
    def renew_scheduler_lease(self, term: Term, ttl_seconds: float) -> bool:
        """Whether the term goes on; never once its time has run out."""

    @abstractmethod
    def lead(self, term: Term, ttl_seconds: float) -> Outlook | None:
        """Renew the term and look at what a leader acts on; None once the term has ended."""

    @abstractmethod
    def scheduler_lease_lasts(self, key: str) -> float:
        """Seconds until the lease runs out unless it is renewed; 0 when it is free."""

    @abstractmethod
    def release_scheduler_lease(self, term: Term) -> bool:
        """Give the lease back; False when it was not held any more."""

    @abstractmethod
    def begin_periodic_run(self, name: str, due_at_ms: int, term: Term) -> bool:
        """True for exactly one caller per name and due time, and only for the leader."""

    @abstractmethod
    def has_online_scoring(self, checkpoint_tags: Collection[str]) -> bool:
        """Whether some scorer is to run online, or has left a checkpoint that is to be forgotten.

        Args:
            checkpoint_tags: Keys of the tags that hold checkpoints.
        """

    @abstractmethod
    def has_tagged_experiment(self, key: str) -> bool:
        """Whether any experiment of any workspace has a tag of this key."""

    @abstractmethod
    def last_periodic_run(self, name: str) -> int | None:
        """Due time of the last run that was begun, in epoch milliseconds."""
