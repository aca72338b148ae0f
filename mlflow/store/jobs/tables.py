"""The four tables of the jobs subsystem as SQLAlchemy Core sees them, beside upstream's ORM models.

`jobs`, `job_locks` and `scheduler_leases` hold upstream's columns and ours; `job_periodic_runs` is
ours alone. Columns of ours are nullable or have a server default: stock code inserts without them.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects import mssql, mysql

metadata = MetaData()


class ReadableJson(TypeDecorator):
    """JSON whose unreadable or null texts read as None, so that one bad row spoils no listing."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def result_processor(self, dialect, coltype):
        parse = super().result_processor(dialect, coltype)

        def read(value):
            try:
                return parse(value) if parse else value
            except (TypeError, ValueError, RecursionError):
                return None

        return read


LONG_TEXT = (
    Text()
    .with_variant(mysql.LONGTEXT(), "mysql", "mariadb")
    .with_variant(mssql.NVARCHAR(None), "mssql")
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("creation_time", BigInteger, nullable=False),
    Column("job_name", String(500), nullable=False),
    Column("params", LONG_TEXT, nullable=False),
    Column("workspace", String(63), nullable=False),
    Column("timeout", Float(53)),
    Column("status", Integer, nullable=False),
    Column("result", LONG_TEXT),
    Column("retry_count", Integer, nullable=False),
    Column("last_update_time", BigInteger, nullable=False),
    Column("status_details", ReadableJson),
    Column("creator", String(255)),
    Column("executor_backend", String(255)),
    Column("lease_expires_at", BigInteger),
    Column("status_message", Text),
    Column("progress", ReadableJson),
    Column("progress_updated_at", BigInteger),
    Column("token_hash", String(64)),
    Column("scoped_permissions", ReadableJson),
    Column("next_attempt_at", BigInteger),
    Column("fence", BigInteger, nullable=False, server_default="0"),
    Column("claimed_by", String(255)),
    Column("started_at", BigInteger),
    Column("finished_at", BigInteger),
    Column("recovery_count", Integer, nullable=False, server_default="0"),
    Column("lock_key", String(255)),
    Column("sealed_environment", LONG_TEXT),
    Column("discovered_by", String(255)),
    Column("crashed_at", BigInteger),
    Column("crashes", ReadableJson),
    Column("had_extra_envs", Boolean),
    # The last claim's token, of which `token_hash` says that it still opens something.
    Column("issued_token_hash", String(64)),
)

job_locks = Table(
    "job_locks",
    metadata,
    Column("lock_key", String(255), primary_key=True),
    Column("job_id", String(36), nullable=False),
    Column("acquired_at", BigInteger, nullable=False),
    Column("fence", BigInteger),
)

scheduler_leases = Table(
    "scheduler_leases",
    metadata,
    Column("lease_key", String(255), primary_key=True),
    Column("acquired_at", BigInteger, nullable=False),
    Column("ttl_seconds", Integer, nullable=False),
    Column("holder", String(255)),
    Column("fence", BigInteger, nullable=False, server_default="0"),
)

job_periodic_runs = Table(
    "job_periodic_runs",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("last_due_at", BigInteger, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("begun_by", String(255)),
)

# MLflow's own tables, as far as checkpoints and users' standing orders touch them.
experiments = Table(
    "experiments",
    metadata,
    Column("experiment_id", Integer, primary_key=True),
    Column("lifecycle_stage", String(32)),
    Column("workspace", String(63), nullable=False),
)

experiment_tags = Table(
    "experiment_tags",
    metadata,
    Column("key", String(250), primary_key=True),
    Column("experiment_id", Integer, primary_key=True),
    Column("value", LONG_TEXT),
)

trace_info = Table(
    "trace_info",
    metadata,
    Column("request_id", String(50), primary_key=True),
    Column("experiment_id", Integer, nullable=False),
    Column("timestamp_ms", BigInteger, nullable=False),
)

online_scoring_configs = Table(
    "online_scoring_configs",
    metadata,
    Column("online_scoring_config_id", String(36), primary_key=True),
    Column("sample_rate", Float(53), nullable=False),
    Column("experiment_id", Integer, nullable=False),
)
