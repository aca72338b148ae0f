"""Tables in which the database itself writes down what becomes of each job, and who leads.

A trigger sees every writer, also one that no log of ours knows of. Renewals are left out: they are
many and change nothing that anybody reads.
"""

from dataclasses import dataclass

import sqlalchemy

TABLE = "chaos_history"
LEADERS = "chaos_leaders"
# What the load says when jobs may come.
READY = "The database is ready."

_COLUMNS = {
    "job": "VARCHAR(36)",
    "at_ms": "BIGINT",
    "old_status": "INTEGER",
    "status": "INTEGER",
    "old_fence": "BIGINT",
    "fence": "BIGINT",
    "claimed_by": "VARCHAR(255)",
    "result": "TEXT",
    "status_message": "TEXT",
    "crashes": "INTEGER",
}
_VALUES = (
    "NEW.id, {now}, OLD.status, NEW.status, OLD.fence, NEW.fence, NEW.claimed_by, NEW.result, "
    "NEW.status_message, NEW.recovery_count"
)
_WATCHED = ("status", "fence", "result", "status_message", "recovery_count", "retry_count")
_LEADER_COLUMNS = {"at_ms": "BIGINT", "holder": "VARCHAR(255)"}


@dataclass(frozen=True)
class Change:
    """One change of a job's row, as the database wrote it down.

    `crashes` is how many the row has counted by then.
    """

    job: str
    at_ms: int
    old_status: int
    status: int
    old_fence: int
    fence: int
    claimed_by: str | None
    result: str | None
    status_message: str | None
    crashes: int = 0

    @property
    def runner(self) -> int | None:
        """The process id of the runner that claimed last."""
        return _pid_of(self.claimed_by)


@dataclass(frozen=True)
class Leading:
    """Somebody began to lead, as the database wrote it down."""

    at_ms: int
    holder: str | None

    @property
    def runner(self) -> int | None:
        """The process id of the runner."""
        return _pid_of(self.holder)


def read(engine: sqlalchemy.Engine) -> tuple[list[Change], list[Leading]]:
    """All changes of jobs, and all who led, oldest first."""
    changes = f"SELECT {', '.join(_COLUMNS)} FROM {TABLE} ORDER BY seq"
    leaders = f"SELECT {', '.join(_LEADER_COLUMNS)} FROM {LEADERS} ORDER BY seq"
    with engine.connect() as connection:
        return (
            [Change(*row) for row in connection.execute(sqlalchemy.text(changes))],
            [Leading(*row) for row in connection.execute(sqlalchemy.text(leaders))],
        )


def install(engine: sqlalchemy.Engine) -> None:
    """Make the tables and their triggers in a database that has those of the job framework."""
    name = engine.dialect.name
    serial, now, trigger = {
        "postgresql": ("BIGSERIAL PRIMARY KEY", _POSTGRES_NOW, _postgres_trigger),
        "mysql": ("BIGINT AUTO_INCREMENT PRIMARY KEY", _MYSQL_NOW, _mysql_trigger),
        "sqlite": ("INTEGER PRIMARY KEY AUTOINCREMENT", _SQLITE_NOW, _sqlite_trigger),
    }[name]
    changed = _record(TABLE, _COLUMNS, _VALUES.format(now=now))
    led = _record(LEADERS, _LEADER_COLUMNS, f"{now}, NEW.holder")
    with engine.begin() as connection:
        for statement in (
            _table(TABLE, _COLUMNS, serial),
            _table(LEADERS, _LEADER_COLUMNS, serial),
            *trigger(f"{TABLE}_changed", "UPDATE ON jobs", changed, _WATCHED),
            *trigger(f"{LEADERS}_first", "INSERT ON scheduler_leases", led, ()),
            *trigger(f"{LEADERS}_next", "UPDATE ON scheduler_leases", led, ("fence",)),
        ):
            connection.exec_driver_sql(statement)


def _table(name: str, columns: dict[str, str], serial: str) -> str:
    listed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
    return f"CREATE TABLE {name} (seq {serial}, {listed})"


def _record(table: str, columns: dict[str, str], values: str) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({values})"


_POSTGRES_NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
_MYSQL_NOW = "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"
_SQLITE_NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


# A trigger that records what happens where one of the watched columns differs, or always.


def _postgres_trigger(name: str, event: str, record: str, watched: tuple[str, ...]) -> list[str]:
    body = f"BEGIN {record}; RETURN NULL; END"
    when = _differ("OLD.{0} IS DISTINCT FROM NEW.{0}", watched)
    begin = f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW {f'WHEN ({when})' if when else ''}"
    return [
        f"CREATE FUNCTION {name}_record() RETURNS trigger AS $${body}$$ LANGUAGE plpgsql",
        f"{begin} EXECUTE PROCEDURE {name}_record()",
    ]


def _mysql_trigger(name: str, event: str, record: str, watched: tuple[str, ...]) -> list[str]:
    when = _differ("NOT (OLD.{0} <=> NEW.{0})", watched) or "TRUE"
    begin = f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW BEGIN"
    return [f"{begin} IF {when} THEN {record}; END IF; END"]


def _sqlite_trigger(name: str, event: str, record: str, watched: tuple[str, ...]) -> list[str]:
    when = _differ("OLD.{0} IS NOT NEW.{0}", watched)
    begin = f"CREATE TRIGGER {name} AFTER {event} FOR EACH ROW {f'WHEN {when}' if when else ''}"
    return [f"{begin} BEGIN {record}; END"]


def _differ(words: str, watched: tuple[str, ...]) -> str:
    return " OR ".join(words.format(column) for column in watched)


def _pid_of(replica_id: str | None) -> int | None:
    return int(replica_id.split(":")[1]) if replica_id else None
