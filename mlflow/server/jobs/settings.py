"""The settings of the job framework: the only reader of its environment variables.

`JobSettings.from_env()` reads all of them once and refuses a bad one by its name. Times are float
seconds.
"""

import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from mlflow.server.jobs.errors import InvalidSetting

# A lease shorter than this ends between two renewals on a busy host.
MIN_JOB_LEASE_TTL = 0.6
_MIN_SCHEDULER_LEASE_TTL = 1.0
_MIN_POLL_INTERVAL = 0.1

DEFAULT_BACKEND = "local"

_DEPRECATED_VARIABLES = (
    "MLFLOW_SERVER_JOB_EXECUTION_ENGINE",
    "MLFLOW_SERVER_JOB_HUEY_REDIS_URL",
    "MLFLOW_SERVER_JOB_FLUSH_PERIODIC_LOCKS_ON_STARTUP",
)


@dataclass(frozen=True)
class JobSettings:
    """What an operator can choose.

    Attributes:
        enabled: Whether this server accepts and runs jobs at all.
        scheduler_enabled: Whether this runner may lead: sweep, recover, discover, run periodic
            tasks.
        default_backend: Backend of jobs that are not routed elsewhere.
        custom_scorer_backend: Backend of jobs that carry custom scorer code, if it is a separate
            one.
        custom_scorers_enabled: Whether jobs may carry custom scorer code.
        job_lease_ttl: Time after which a job whose runner has gone silent may be recovered.
        max_retries: Retries after transient failures; also the bound of recoveries of one job.
        retry_base_delay: Pause before the first retry; doubles with each one.
        retry_max_delay: Longest pause before a retry.
        default_timeout: Timeout of exclusive jobs that were submitted without one.
        completed_job_ttl: Age at which terminal rows are deleted; None keeps them.
        drain_grace: Time that running jobs get to end when a server stops.
        scheduler_lease_ttl: Time after which another runner leads when the leader has gone silent;
            unless set no longer than `job_lease_ttl`, as far as its least value allows, so that
            jobs of a leader that died wait no longer than those of any other runner.
        poll_interval: Longest time that new work waits when its wake-up was lost; None lets the
            runner choose by whether wake-ups come.
        fork_server: Whether local jobs are forked from a warm process, where that is possible.
        remote_tracking_uri: Where jobs of remote backends reach this server over HTTP.
        remote_gateway_uri: Where they reach the gateway, if that is elsewhere.
    """

    enabled: bool = True
    scheduler_enabled: bool = True
    default_backend: str = DEFAULT_BACKEND
    custom_scorer_backend: str | None = None
    custom_scorers_enabled: bool = False
    job_lease_ttl: float = 60.0
    max_retries: int = 3
    retry_base_delay: float = 15.0
    retry_max_delay: float = 60.0
    default_timeout: float = 3600.0
    completed_job_ttl: float | None = None
    drain_grace: float = 10.0
    scheduler_lease_ttl: float = 15.0
    poll_interval: float | None = None
    fork_server: bool = True
    remote_tracking_uri: str | None = None
    remote_gateway_uri: str | None = None

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> "JobSettings":
        """Read the settings from environment variables.

        Raises:
            InvalidSetting: A variable cannot be read or is out of range.
        """
        read = _Reader(os.environ if env is None else env)
        job_lease_ttl = read.seconds(
            "MLFLOW_SERVER_JOB_LEASE_TTL", cls.job_lease_ttl, least=MIN_JOB_LEASE_TTL
        )
        return cls(
            enabled=read.flag("MLFLOW_SERVER_ENABLE_JOB_EXECUTION", cls.enabled),
            scheduler_enabled=(
                not read.flag("MLFLOW_DISABLE_SCHEDULER", False)
                and read.flag("MLFLOW_SERVER_JOB_ENABLE_PERIODIC_TASKS", True)
            ),
            default_backend=(
                read.text("MLFLOW_JOB_DEFAULT_EXECUTOR_BACKEND") or cls.default_backend
            ),
            custom_scorer_backend=read.text("MLFLOW_JOB_CUSTOM_SCORER_EXECUTOR_BACKEND"),
            custom_scorers_enabled=read.flag(
                "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS", cls.custom_scorers_enabled
            ),
            job_lease_ttl=job_lease_ttl,
            max_retries=read.count(
                "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_MAX_RETRIES", cls.max_retries
            ),
            retry_base_delay=read.seconds(
                "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_BASE_DELAY", cls.retry_base_delay
            ),
            retry_max_delay=read.seconds(
                "MLFLOW_SERVER_JOB_TRANSIENT_ERROR_RETRY_MAX_DELAY", cls.retry_max_delay
            ),
            default_timeout=read.seconds(
                "MLFLOW_SERVER_JOB_DEFAULT_TIMEOUT", cls.default_timeout, above_zero=True
            ),
            completed_job_ttl=read.seconds(
                "MLFLOW_SERVER_JOB_COMPLETED_TTL", cls.completed_job_ttl, above_zero=True
            ),
            drain_grace=read.seconds("MLFLOW_SERVER_JOB_DRAIN_GRACE", cls.drain_grace),
            scheduler_lease_ttl=read.seconds(
                "MLFLOW_SERVER_SCHEDULER_LEASE_TTL",
                max(min(cls.scheduler_lease_ttl, job_lease_ttl), _MIN_SCHEDULER_LEASE_TTL),
                least=_MIN_SCHEDULER_LEASE_TTL,
            ),
            poll_interval=read.seconds(
                "MLFLOW_SERVER_JOB_POLL_INTERVAL", cls.poll_interval, least=_MIN_POLL_INTERVAL
            ),
            fork_server=read.flag("MLFLOW_SERVER_JOB_FORK_SERVER", cls.fork_server),
            remote_tracking_uri=read.http_uri("MLFLOW_JOB_TRACKING_URI"),
            remote_gateway_uri=read.http_uri("MLFLOW_JOB_GATEWAY_URI"),
        )

    @property
    def backends(self) -> list[str]:
        """The names of the configured backends, the default one first."""
        names = [self.default_backend]
        if self.custom_scorer_backend and self.custom_scorer_backend not in names:
            names.append(self.custom_scorer_backend)
        return names

    @property
    def notices(self) -> list[str]:
        """One sentence for each choice that has a price which may not have been meant."""
        if self.scheduler_lease_ttl <= max(self.job_lease_ttl, _MIN_SCHEDULER_LEASE_TTL):
            return []
        text = (
            f"MLFLOW_SERVER_SCHEDULER_LEASE_TTL ({self.scheduler_lease_ttl:g} s) is longer than "
            f"MLFLOW_SERVER_JOB_LEASE_TTL ({self.job_lease_ttl:g} s): the jobs of a server that "
            "led when it died are recovered only after the longer of the two."
        )
        return [text]


def deprecated_notices(env: Mapping[str, str] | None = None) -> list[str]:
    """One sentence for each variable that is still set but does nothing any more."""
    env = os.environ if env is None else env
    return [
        f"{variable} is set but no longer has any effect; it can be removed."
        for variable in _DEPRECATED_VARIABLES
        if variable in env
    ]


class _Reader:
    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env

    def text(self, variable: str) -> str | None:
        return self._env.get(variable, "").strip() or None

    def http_uri(self, variable: str) -> str | None:
        value = self.text(variable)
        if value is not None and not re.fullmatch(r"https?://[^/?#@\s][^?#@\s]*", value):
            # What stands before an @ may be a password.
            shown = "(not shown)" if "@" in value else value
            raise InvalidSetting(variable, shown, "an http or https URI without credentials")
        return value and value.rstrip("/")

    def flag(self, variable: str, default: bool) -> bool:
        value = self.text(variable)
        if value is None:
            return default
        if value.lower() not in ("true", "false", "1", "0"):
            raise InvalidSetting(variable, value, "true or false")
        return value.lower() in ("true", "1")

    def count(self, variable: str, default: int) -> int:
        value = self.text(variable)
        if value is None:
            return default
        try:
            number = int(value)
        except ValueError:
            raise InvalidSetting(variable, value, "a whole number") from None
        if number < 0:
            raise InvalidSetting(variable, value, "0 or more")
        return number

    def seconds(
        self,
        variable: str,
        default: float | None,
        least: float = 0.0,
        above_zero: bool = False,
    ) -> float | None:
        value = self.text(variable)
        if value is None:
            return default
        bound = "more than 0" if above_zero else f"{least:g} or more"
        expected = f"a finite number of seconds, {bound}"
        try:
            number = float(value)
        except ValueError:
            raise InvalidSetting(variable, value, expected) from None
        if not math.isfinite(number) or number < least or (above_zero and number == 0):
            raise InvalidSetting(variable, value, expected)
        return number
