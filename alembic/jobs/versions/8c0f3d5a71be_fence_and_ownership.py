"""Add ownership, recovery and discovery columns to the jobs tables, and the indexes they need.

Everything is nullable or has a server default, so that stock MLflow keeps inserting rows. Each step
looks first, so that an upgrade that was broken off can be run again where DDL is not transactional.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "8c0f3d5a71be"
down_revision = None
branch_labels = None
depends_on = None

# What `statements.pending` says.
_PENDING = {"postgresql": "abs(status) = 0", "mssql": "status = 0"}
_UNFINISHED_EXCLUSIVE = "status IN (0, 1, 6) AND lock_key IS NOT NULL"
_TERMINAL = "status IN (2, 3, 4, 5)"
_SUBMITTED_BY_A_USER = "creator IS NOT NULL"
_DISCOVERED_CANCELED = "status = 5 AND discovered_by IS NOT NULL"
# What `transitions.RESTING` says.
_RESTING = "status IN (0, 2, 3, 4, 5)"

# Databases that were upgraded before the first release have these, and work with them.
_FORMER_INDEXES = ["index_jobs_creation_time"]

# Each job leaves a dead entry at the old end of the index of claims, where every claim begins to
# read. PostgreSQL waits until a fifth of all rows is dead, however many have ended for good, and
# then passes over the indexes of a large table of which few pages are touched. Nor does it learn
# that a tenth of such a table waits: it takes the index of states to be short where it is not.
_STORAGE = {
    "autovacuum_analyze_threshold": "1000",
    "autovacuum_analyze_scale_factor": "0.01",
    "autovacuum_vacuum_threshold": "1000",
    "autovacuum_vacuum_scale_factor": "0.01",
    "vacuum_index_cleanup": "on",
}


def _columns():
    return {
        "jobs": [
            sa.Column("fence", sa.BigInteger(), nullable=False, server_default="0"),
            sa.Column("claimed_by", sa.String(255), nullable=True),
            sa.Column("started_at", sa.BigInteger(), nullable=True),
            sa.Column("finished_at", sa.BigInteger(), nullable=True),
            sa.Column("recovery_count", sa.Integer(), nullable=False, server_default="0"),
            sa.Column("lock_key", sa.String(255), nullable=True),
            sa.Column("sealed_environment", _long_text(), nullable=True),
            sa.Column("discovered_by", sa.String(255), nullable=True),
            sa.Column("crashed_at", sa.BigInteger(), nullable=True),
            sa.Column("crashes", sa.JSON(), nullable=True),
            sa.Column("had_extra_envs", sa.Boolean(), nullable=True),
            sa.Column("issued_token_hash", sa.String(64), nullable=True),
        ],
        "job_locks": [sa.Column("fence", sa.BigInteger(), nullable=True)],
        "scheduler_leases": [
            sa.Column("holder", sa.String(255), nullable=True),
            sa.Column("fence", sa.BigInteger(), nullable=False, server_default="0"),
        ],
    }


def _indexes():
    """Name, columns, and the condition of a partial index.

    MySQL has none of those: there the status is one of the columns instead. So it is in the index
    of claims on SQLite, which prefers other indexes to a partial one where a column IS NULL.
    """
    dialect = op.get_bind().dialect.name
    claimed_by = ["executor_backend", "job_name", "next_attempt_at", "creation_time"]
    if _is_mysql():
        return [
            ("index_jobs_claim", ["status", *claimed_by], None),
            ("index_jobs_unfinished_lock_key", ["lock_key", "status", "workspace"], None),
            ("index_jobs_discovered_canceled", ["status", "discovered_by"], None),
            ("index_jobs_status_last_update_time", ["status", "last_update_time"], None),
            *_search_indexes(None, None),
        ]
    # A row is written anew into its indexes whenever its status changes: on PostgreSQL into all of
    # them, on SQLite into those that have the status.
    return [
        ("index_jobs_claim", ["status", *claimed_by], None)
        if dialect == "sqlite"
        else ("index_jobs_claim", claimed_by, _PENDING[dialect]),
        ("index_jobs_unfinished_lock_key", ["lock_key", "workspace"], _UNFINISHED_EXCLUSIVE),
        # With the status, since SQLite prefers indexes of which it can use two columns.
        (
            "index_jobs_discovered_canceled",
            ["status", "last_update_time"],
            _DISCOVERED_CANCELED,
        ),
        ("index_jobs_status_last_update_time", ["status", "last_update_time"], _TERMINAL),
        # So PostgreSQL leaves out of as many as it can what a claim writes. Rows that somebody owns
        # are few, and are found by MLflow's own index of the status and the lease.
        *(
            _search_indexes(_RESTING, f"{_SUBMITTED_BY_A_USER} AND {_RESTING}")
            if dialect == "postgresql"
            else _search_indexes(None, _SUBMITTED_BY_A_USER)
        ),
    ]


def _search_indexes(searched, searched_by_creator):
    # Where nobody logs in, no row has a creator, and that index costs nothing.
    return [
        ("index_jobs_search_state", ["status", "creation_time", "id"], searched),
        ("index_jobs_search_type", ["job_name", "status", "creation_time", "id"], searched),
        ("index_jobs_workspace_creation_time", ["workspace", "creation_time", "id"], searched),
        ("index_jobs_search_creator", ["creator", "creation_time", "id"], searched_by_creator),
    ]


def upgrade():
    inspector = sa.inspect(op.get_bind())
    for table, columns in _columns().items():
        present = {column["name"] for column in inspector.get_columns(table)}
        for column in columns:
            if column.name not in present:
                op.add_column(table, column)
    if _is_mysql():
        # TEXT ends at 64 KiB there.
        op.alter_column(
            "jobs",
            "params",
            type_=mysql.LONGTEXT(),
            existing_type=sa.Text(),
            existing_nullable=False,
        )
        op.alter_column(
            "jobs",
            "result",
            type_=mysql.LONGTEXT(),
            existing_type=sa.Text(),
            existing_nullable=True,
        )
    if not inspector.has_table("job_periodic_runs"):
        op.create_table(
            "job_periodic_runs",
            sa.Column("name", sa.String(255), nullable=False),
            sa.Column("last_due_at", sa.BigInteger(), nullable=False),
            sa.Column("begun_at", sa.BigInteger(), nullable=False),
            sa.Column("begun_by", sa.String(255), nullable=True),
            sa.PrimaryKeyConstraint("name", name="job_periodic_runs_pk"),
        )
    present = {index["name"] for index in inspector.get_indexes("jobs")}
    for name, columns, condition in _indexes():
        if name not in present:
            where = None if condition is None else sa.text(condition)
            op.create_index(
                name,
                "jobs",
                columns,
                postgresql_where=where,
                sqlite_where=where,
                mssql_where=where,
            )
    _set_options({name: value for name, value in _STORAGE.items() if name not in _options()})


def downgrade():
    # `params` and `result` stay wide: narrowing them would cut what they hold.
    _reset_options([name for name in _STORAGE if _options().get(name) == _STORAGE[name]])
    inspector = sa.inspect(op.get_bind())
    present = {index["name"] for index in inspector.get_indexes("jobs")}
    for name in [*(name for name, _, _ in _indexes()), *_FORMER_INDEXES]:
        if name in present:
            op.drop_index(name, table_name="jobs")
    if inspector.has_table("job_periodic_runs"):
        op.drop_table("job_periodic_runs")
    for table, columns in _columns().items():
        present = {column["name"] for column in inspector.get_columns(table)}
        for column in reversed(columns):
            if column.name in present:
                op.drop_column(table, column.name, mssql_drop_default=True)


def _options():
    """Storage parameters of the table that somebody has set; PostgreSQL alone has some."""
    if op.get_bind().dialect.name != "postgresql":
        return {}
    found = op.get_bind().execute(
        sa.text("SELECT unnest(reloptions) FROM pg_class WHERE oid = 'jobs'::regclass")
    )
    return dict(option.split("=", 1) for option in found.scalars())


def _set_options(options):
    if options and op.get_bind().dialect.name == "postgresql":
        pairs = ", ".join(f"{name} = {value}" for name, value in options.items())
        op.execute(f"ALTER TABLE jobs SET ({pairs})")


def _reset_options(names):
    if names:
        op.execute(f"ALTER TABLE jobs RESET ({', '.join(names)})")


def _is_mysql():
    return op.get_bind().dialect.name in ("mysql", "mariadb")


def _long_text():
    return mysql.LONGTEXT() if _is_mysql() else sa.Text()
