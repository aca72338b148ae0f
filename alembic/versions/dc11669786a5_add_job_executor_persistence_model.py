"""Give jobs a backend, a lease, progress and a token; add exclusivity locks and scheduler leases.

Jobs that had not ended by then belong to an engine that cannot take them up again: they become
CANCELED.
"""

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mssql

revision = "dc11669786a5"
down_revision = "75868b020152"
branch_labels = None
depends_on = None

_UNFINISHED = (0, 1)
_CANCELED = 5
_LEASE_INDEX = "index_jobs_status_lease_expires_at"
_LOCK_INDEX = "index_job_locks_job_id"


def _added_to_jobs():
    json = mssql.JSON() if op.get_bind().dialect.name == "mssql" else sa.JSON()
    types = {
        "executor_backend": sa.String(255),
        "lease_expires_at": sa.BigInteger(),
        "status_message": sa.Text(),
        "progress": json,
        "progress_updated_at": sa.BigInteger(),
        "token_hash": sa.String(64),
        "scoped_permissions": json,
        "next_attempt_at": sa.BigInteger(),
    }
    return [sa.Column(name, type_, nullable=True) for name, type_ in types.items()]


def upgrade():
    _create_tables()
    with op.batch_alter_table("jobs") as jobs:
        for column in _added_to_jobs():
            jobs.add_column(column)
        jobs.create_index(_LEASE_INDEX, ["status", "lease_expires_at"])
    _cancel_unfinished()


def downgrade():
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_index(_LEASE_INDEX)
        for column in reversed(_added_to_jobs()):
            jobs.drop_column(column.name)
    # Their indexes go with them.
    op.drop_table("job_locks")
    op.drop_table("scheduler_leases")


def _create_tables():
    op.create_table(
        "job_locks",
        sa.Column("lock_key", sa.String(255), nullable=False),
        sa.Column("job_id", sa.String(36), nullable=False),
        sa.Column("acquired_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lock_key", name="job_locks_pk"),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name="fk_job_locks_job_id", ondelete="CASCADE"
        ),
    )
    op.create_index(_LOCK_INDEX, "job_locks", ["job_id"])
    op.create_table(
        "scheduler_leases",
        sa.Column("lease_key", sa.String(255), nullable=False),
        sa.Column("acquired_at", sa.BigInteger(), nullable=False),
        sa.Column("ttl_seconds", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("lease_key", name="scheduler_leases_pk"),
    )


def _cancel_unfinished():
    jobs = sa.table("jobs", sa.column("status"), sa.column("last_update_time"))
    canceled = {"status": _CANCELED, "last_update_time": time.time_ns() // 1_000_000}
    op.execute(sa.update(jobs).where(jobs.c.status.in_(_UNFINISHED)).values(canceled))
