"""T1 to T13 as one table: what each leaves, enters, guards and clears. Keeps I2.

No transition leaves a terminal state except T8's second half, which changes no status.
`guards` are names of the predicates that the statement of the same verb carries; `clears` are the
columns that it sets to NULL.
"""

from dataclasses import dataclass

from mlflow.entities._job_status import JobStatus

PENDING = JobStatus.PENDING
RUNNING = JobStatus.RUNNING
NEEDS_RECOVERY = JobStatus.NEEDS_RECOVERY
SUCCEEDED = JobStatus.SUCCEEDED
FAILED = JobStatus.FAILED
TIMEOUT = JobStatus.TIMEOUT
CANCELED = JobStatus.CANCELED

UNFINISHED = frozenset({PENDING, RUNNING, NEEDS_RECOVERY})
OWNED = frozenset({RUNNING, NEEDS_RECOVERY})
TERMINAL = frozenset({SUCCEEDED, FAILED, TIMEOUT, CANCELED})
RESTING = TERMINAL | {PENDING}

# Invariant: only a NEEDS_RECOVERY row has this mark, and only if it was not handed over.
_MARK = frozenset({"crashed_at"})
_PROGRESS = frozenset({"status_message", "progress", "progress_updated_at"})
_ENDED = _PROGRESS | {
    "token_hash",
    "scoped_permissions",
    "next_attempt_at",
    "sealed_environment",
    *_MARK,
}
_OVER = _ENDED | {"lease_expires_at"}
_AGAIN = _PROGRESS | {"result", "lease_expires_at", "token_hash", *_MARK}


@dataclass(frozen=True)
class Transition:
    """One row of the specification's table."""

    number: int
    verb: str
    leaves: frozenset[JobStatus]
    enters: JobStatus
    guards: frozenset[str] = frozenset()
    clears: frozenset[str] = frozenset()


CREATE = Transition(1, "create", frozenset(), PENDING, frozenset({"term"}))
CLAIM = Transition(
    2,
    "claim",
    frozenset({PENDING}),
    RUNNING,
    frozenset({"due", "capacity"}),
    # I8: a token is of one claim, whoever wrote the row before.
    frozenset({"token_hash", "issued_token_hash"}),
)
CONFLICT = Transition(
    3,
    "conflict",
    frozenset({RUNNING}),
    CANCELED,
    frozenset({"fence"}),
    _OVER,
)
RENEW = Transition(4, "renew", frozenset({RUNNING}), RUNNING, frozenset({"fence"}))
SUCCEED = Transition(5, "succeed", OWNED, SUCCEEDED, frozenset({"fence"}), _OVER)
FAIL = Transition(6, "fail", OWNED, FAILED, frozenset({"fence"}), _OVER)
TIME_OUT = Transition(6, "time_out", OWNED, TIMEOUT, frozenset({"fence"}), _OVER)
RETRY = Transition(7, "retry", OWNED, PENDING, frozenset({"fence"}), _AGAIN - {"status_message"})
# The lease of a row that was RUNNING stays: its work is alive until the owner says otherwise.
CANCEL = Transition(8, "cancel", UNFINISHED, CANCELED, frozenset(), _ENDED | {"result"})
CONFIRM_CANCELED = Transition(
    8,
    "confirm_canceled",
    frozenset({CANCELED}),
    CANCELED,
    frozenset({"fence"}),
    frozenset({"lease_expires_at"}),
)
SWEEP = Transition(
    9,
    "sweep",
    frozenset({RUNNING}),
    NEEDS_RECOVERY,
    frozenset({"stale", "term"}),
    frozenset({"lease_expires_at"}),
)
ABANDON = Transition(
    10,
    "abandon",
    frozenset({RUNNING}),
    NEEDS_RECOVERY,
    frozenset({"fence"}),
    frozenset({"lease_expires_at", *_MARK}),
)
REATTACH = Transition(
    11, "reattach", frozenset({NEEDS_RECOVERY}), RUNNING, frozenset({"fence", "term"}), _MARK
)
REQUEUE = Transition(
    12,
    "requeue",
    frozenset({NEEDS_RECOVERY}),
    PENDING,
    frozenset({"fence", "term", "recoveries_left", "handed_over"}),
    _AGAIN | {"next_attempt_at"},
)
FAIL_RECOVERY = Transition(
    13,
    "fail_recovery",
    frozenset({NEEDS_RECOVERY}),
    FAILED,
    frozenset({"fence", "term"}),
    _OVER,
)

TRANSITIONS = (
    CREATE,
    CLAIM,
    CONFLICT,
    RENEW,
    SUCCEED,
    FAIL,
    TIME_OUT,
    RETRY,
    CANCEL,
    CONFIRM_CANCELED,
    SWEEP,
    ABANDON,
    REATTACH,
    REQUEUE,
    FAIL_RECOVERY,
)
