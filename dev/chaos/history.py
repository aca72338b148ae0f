"""A table beside `jobs` in which the database itself writes down what becomes of each row.

A trigger sees every writer, also one that no log of ours knows of. Renewals are left out: they are
many and change nothing that anybody reads.
"""

import sqlalchemy

TABLE = "chaos_history"
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
}
_VALUES = (
    "NEW.id, {now}, OLD.status, NEW.status, OLD.fence, NEW.fence, NEW.claimed_by, NEW.result, "
    "NEW.status_message"
)
_WATCHED = ("status", "fence", "result", "status_message", "recovery_count", "retry_count")


def install(engine: sqlalchemy.Engine) -> None:
    """Make the table and its trigger in a database that has the table `jobs`."""
    name = engine.dialect.name
    serial, now, trigger = {
        "postgresql": ("BIGSERIAL PRIMARY KEY", _POSTGRES_NOW, _postgres_trigger),
        "mysql": ("BIGINT AUTO_INCREMENT PRIMARY KEY", _MYSQL_NOW, _mysql_trigger),
        "sqlite": ("INTEGER PRIMARY KEY AUTOINCREMENT", _SQLITE_NOW, _sqlite_trigger),
    }[name]
    columns = ", ".join(f"{column} {kind}" for column, kind in _COLUMNS.items())
    record = f"INSERT INTO {TABLE} ({', '.join(_COLUMNS)}) VALUES ({_VALUES.format(now=now)})"
    with engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE {TABLE} (seq {serial}, {columns})")
        for statement in trigger(record):
            connection.exec_driver_sql(statement)


_AFTER_UPDATE = f"CREATE TRIGGER {TABLE}_changed AFTER UPDATE ON jobs FOR EACH ROW"
_POSTGRES_NOW = "CAST(extract(epoch FROM clock_timestamp()) * 1000 AS BIGINT)"
_MYSQL_NOW = "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)"
_SQLITE_NOW = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"


def _postgres_trigger(record: str) -> list[str]:
    body = f"BEGIN {record}; RETURN NULL; END"
    changed = " OR ".join(f"OLD.{each} IS DISTINCT FROM NEW.{each}" for each in _WATCHED)
    return [
        f"CREATE FUNCTION {TABLE}_record() RETURNS trigger AS $${body}$$ LANGUAGE plpgsql",
        f"{_AFTER_UPDATE} WHEN ({changed}) EXECUTE PROCEDURE {TABLE}_record()",
    ]


def _mysql_trigger(record: str) -> list[str]:
    changed = " OR ".join(f"NOT (OLD.{each} <=> NEW.{each})" for each in _WATCHED)
    return [f"{_AFTER_UPDATE} BEGIN IF {changed} THEN {record}; END IF; END"]


def _sqlite_trigger(record: str) -> list[str]:
    changed = " OR ".join(f"OLD.{each} IS NOT NEW.{each}" for each in _WATCHED)
    return [f"{_AFTER_UPDATE} WHEN {changed} BEGIN {record}; END"]
