"""LocalJobExecutor runs jobs in processes of their own, and knows how each one ended.

How process groups die and how a fork server lives is tested in `local/`; here are whole job
processes. Where it may matter, they are started both ways.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlflow.entities._job_status import JobStatus
from mlflow.exceptions import MlflowException
from mlflow.server.jobs.errors import ExecutorStopped
from mlflow.server.jobs.executor import JobExecutionContext, JobExecutorConfig, JobRecoveryResult
from mlflow.server.jobs.functions import job
from mlflow.server.jobs.local import process_group
from mlflow.server.jobs.local.forking import Forking
from mlflow.server.jobs.local_executor import LocalJobExecutor, _LocalJob
from mlflow.server.jobs.subprocess_protocol import _SubprocessJobResult
from mlflow.utils.environment import _PythonEnv

_HERE = Path(__file__).parent
_PATIENCE_SECONDS = 60.0
_SURROUNDINGS = {
    "PYTHONPATH": str(_HERE),
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "_MLFLOW_SUPPORTED_JOB_FUNCTION_LIST": "sample_jobs.add",
}
# MLflow looks for it while it is imported; a server's is the same for all jobs.
_ANY_TEST = {"PYTEST_CURRENT_TEST": "any"}


@pytest.fixture(autouse=True)
def job_process_environment(monkeypatch, tmp_path):
    """Job processes find `sample_jobs`, and leave nothing outside `tmp_path`."""
    monkeypatch.syspath_prepend(_HERE)
    monkeypatch.delenv("_MLFLOW_SERVER_FILE_STORE", raising=False)
    for name, value in _SURROUNDINGS.items():
        monkeypatch.setenv(name, value)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    yield
    assert list(scratch.iterdir()) == []


@pytest.fixture
def executor():
    executor = LocalJobExecutor(JobExecutorConfig(default_timeout=0.001, fork_server=False))
    executor.start_executor()
    yield executor
    executor.stop_executor()


@pytest.fixture(scope="module")
def forks():
    """A warm fork server, started once."""
    if not Forking.is_possible():
        pytest.skip("needs Linux")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("_MLFLOW_SERVER_FILE_STORE", raising=False)
        for name, value in (_SURROUNDINGS | _ANY_TEST).items():
            patch.setenv(name, value)
        forks = Forking()
        forks.start()
    forks.wait_until_warm(None)
    yield forks
    forks.stop()


@pytest.fixture(params=["forked", "fresh"])
def both(request, executor, monkeypatch):
    """An executor that starts its jobs one way, and no other."""
    if request.param == "forked":
        forks = request.getfixturevalue("forks")
        executor._forking = forks
        monkeypatch.setattr(forks, "stop", lambda: None)
        monkeypatch.setattr(process_group.ProcessGroup, "start", None)
    return executor


def _submit(
    executor,
    function,
    params=None,
    job_id="j1",
    python_env=None,
    timeout=None,
    extra_envs=None,
    **context,
):
    context["extra_envs"] = {**_ANY_TEST, **(extra_envs or {})}
    executor.submit_job(
        job_id,
        f"sample_{function}",
        f"sample_jobs.{function}",
        params or {},
        JobExecutionContext(job_id, "sqlite:///unused.db", **context),
        python_env=python_env,
        timeout=timeout,
    )


def _run(executor, function, params=None, **options):
    _submit(executor, function, params, **options)
    return executor.wait_for_job("j1")


def test_params_of_a_megabyte_reach_the_job_and_no_default_timeout_ends_it(both):
    result = _run(both, "echo", {"text": "a" * 1_000_000 + "\N{SNOWMAN}"})
    assert result.status is JobStatus.SUCCEEDED
    assert json.loads(result.result) == {"length": 1_000_001, "end": "aaaaaaa\N{SNOWMAN}"}
    with pytest.raises(MlflowException, match="j1"):
        both.wait_for_job("j1")


def test_extra_variables_reach_the_job_and_nothing_else(both, monkeypatch):
    monkeypatch.setenv("_MLFLOW_ASSISTANT_DELEGATION_SIGNING_KEY", "signing-key")
    names = ["PROVIDER_KEY", "_MLFLOW_SERVER_JOB_FENCE", "_MLFLOW_ASSISTANT_DELEGATION_SIGNING_KEY"]
    before = dict(os.environ)

    result = _run(
        both,
        "surroundings",
        {"names": names},
        extra_envs={"PROVIDER_KEY": "s3cret"},
        fence=7,
    )

    found = json.loads(result.result)
    assert list(found["env"].values()) == ["s3cret", "7", None]
    assert "s3cret" not in "".join(found["command_line"])
    assert "names" not in "".join(found["command_line"])
    assert dict(os.environ) == before


def test_a_crash_is_told_by_its_signal_and_the_end_of_stderr(both, capsys):
    result = _run(both, "crash")
    assert result.status is JobStatus.FAILED
    assert "sample_jobs.crash was killed by SIGSEGV" in result.error_message
    assert "last words" in result.error_message
    assert not result.is_transient_error
    assert "[job j1] last words\n" in capsys.readouterr().err


def test_a_process_that_leaves_without_a_result_has_failed(both):
    result = _run(both, "leave_early")
    assert result.status is JobStatus.FAILED
    assert "ended without a result" in result.error_message


def test_an_exception_of_the_function_is_the_error_of_the_job(both):
    result = _run(both, "fail", {"message": "no such thing"})
    assert result.status is JobStatus.FAILED
    assert result.error_message == "ValueError('no such thing')"
    assert not result.is_transient_error


_WRITTEN = '{"succeeded": true, "result": "1"}'


@pytest.mark.parametrize(
    ("file", "is_canceled", "is_stopped", "is_past_deadline", "code", "status", "words"),
    [
        (_WRITTEN, False, False, False, 0, JobStatus.SUCCEEDED, None),
        (_WRITTEN, False, False, False, -11, JobStatus.SUCCEEDED, None),
        (_WRITTEN, True, True, True, -9, JobStatus.SUCCEEDED, None),
        (None, True, True, True, -9, JobStatus.CANCELED, None),
        (None, True, False, False, None, JobStatus.CANCELED, None),
        (None, False, True, True, -9, None, "j1"),
        (None, False, False, True, -9, JobStatus.TIMEOUT, "longer than its timeout of 5 seconds."),
        (None, False, False, True, None, JobStatus.TIMEOUT, "environment was being set up"),
        ("{", True, False, False, -9, JobStatus.CANCELED, None),
        ("{", False, False, True, -9, JobStatus.TIMEOUT, "timeout"),
        ("{", False, False, False, 0, JobStatus.FAILED, "The result file cannot be read"),
        (None, False, False, False, 0, JobStatus.FAILED, "ended without a result"),
        (None, False, False, False, 3, JobStatus.FAILED, "exited with error code 3"),
        (None, False, False, False, -9, JobStatus.FAILED, "killed by SIGKILL"),
        (None, False, False, False, None, JobStatus.FAILED, "never started"),
    ],
)
def test_a_written_result_decides_then_whoever_asked_for_the_end_then_how_it_crashed(
    executor, file, is_canceled, is_stopped, is_past_deadline, code, status, words
):
    record = _LocalJob("j1", "module.function", 5.0, None, executor._folders.make())
    record.is_canceled, record.is_past_deadline = is_canceled, is_past_deadline
    record.group = None if code is None else "started"
    executor._is_stopped = is_stopped
    if file is not None:
        record.result_path.write_text(file)
    try:
        if status is None:
            with pytest.raises(ExecutorStopped, match=words):
                executor._outcome(record, code, "")
        else:
            result = executor._outcome(record, code, "")
            assert result.status is status
            assert (words or "") in (result.error_message or "")
    finally:
        record.directory.cleanup()


def test_a_timeout_ends_the_job_with_its_descendants(both, tmp_path):
    pids = tmp_path / "pids.json"
    _submit(both, "family", {"pids_path": str(pids)}, timeout=_PATIENCE_SECONDS)
    family = _read_when_there(pids)
    # Time is moved: the deadline is now.
    both._jobs["j1"].deadline = time.monotonic()

    result = both.wait_for_job("j1")

    assert result.status is JobStatus.TIMEOUT
    assert "60 seconds" in result.error_message
    _assert_dead(family)


def test_a_stopped_executor_leaves_its_jobs_for_recovery_and_a_canceled_one_is_canceled(
    both, tmp_path
):
    families = []
    for job_id in ["j1", "j2"]:
        pids = tmp_path / f"{job_id}.json"
        _submit(both, "family", {"pids_path": str(pids)}, job_id=job_id)
        families.append(_read_when_there(pids))
    canceled = []
    waiter = threading.Thread(target=lambda: canceled.append(both.wait_for_job("j2")))
    waiter.start()

    both.cancel_job("j2")
    waiter.join(_PATIENCE_SECONDS)
    both.stop_executor()

    assert [result.status for result in canceled] == [JobStatus.CANCELED]
    with pytest.raises(ExecutorStopped, match="j1"):
        both.wait_for_job("j1")
    for family in families:
        _assert_dead(family)
    with pytest.raises(ExecutorStopped):
        _submit(both, "add", {"x": 1}, job_id="j3")


def _forbidden(*_):
    raise PermissionError("forbidden")


@pytest.mark.parametrize("name", ["pidfd_open", "memfd_create"])
@pytest.mark.parametrize("is_there", [True, False], ids=["forbidden", "not built in"])
def test_where_jobs_cannot_be_forked_they_start_afresh_and_the_log_says_so(
    monkeypatch, caplog, name, is_there
):
    monkeypatch.setattr(os, name, _forbidden, raising=False)
    if not is_there:
        monkeypatch.delattr(os, name)
    executor = LocalJobExecutor(JobExecutorConfig())
    with caplog.at_level("INFO", logger="mlflow.server.jobs.local_executor"):
        executor.start_executor()
    _submit(executor, "leave_early")
    assert executor.wait_for_job("j1").status is JobStatus.FAILED
    executor.stop_executor()
    assert "lacks what forking them takes" in caplog.text


@pytest.mark.skipif(not Forking.is_possible(), reason="needs Linux")
def test_a_job_submitted_before_the_fork_server_is_warm_waits_for_it(monkeypatch):
    monkeypatch.setenv("PYTEST_CURRENT_TEST", _ANY_TEST["PYTEST_CURRENT_TEST"])
    executor = LocalJobExecutor(JobExecutorConfig())
    executor.start_executor()
    try:
        monkeypatch.setattr(process_group.ProcessGroup, "start", None)
        assert _run(executor, "add", {"x": 1}).result == "2"
    finally:
        executor.stop_executor()


def test_a_job_does_not_wait_for_a_fork_server_beyond_its_timeout(monkeypatch):
    executor = LocalJobExecutor(JobExecutorConfig())
    executor.start_executor()
    try:
        result = _run(executor, "add", {"x": 1}, timeout=0.01)
        assert result.status is JobStatus.TIMEOUT
    finally:
        executor.stop_executor()


def test_a_thread_that_never_ends_does_not_hold_up_a_function_that_has_returned(tmp_path):
    code = "from mlflow.server.jobs import _job_subproc_entry as entry;"
    code += "entry._EXIT_SECONDS = 0.1; entry.main()"
    command = [sys.executable, "-c", code]
    result = _run_entry(tmp_path, command, "straggler", {}, code=-signal.SIGALRM)
    assert result == _SubprocessJobResult(succeeded=True, result='"returned"')


def test_that_a_process_had_to_be_ended_after_its_result_is_logged(executor, tmp_path, caplog):
    job = _LocalJob("j1", "any", None, None, SimpleNamespace(name=str(tmp_path)))
    _SubprocessJobResult.from_value(1).dump(str(job.result_path))
    assert executor._outcome(job, -signal.SIGALRM, "").result == "1"
    assert [record.message for record in caplog.records] == [
        "Job j1 returned, but its process did not end"
    ]


def test_a_process_started_as_mlflow_3_18_starts_it_runs_the_job(tmp_path):
    command = [sys.executable, "-m", "mlflow.server.jobs._job_subproc_entry"]
    result = _run_entry(tmp_path, command, "add", {"x": 40, "y": 2})
    assert result == _SubprocessJobResult(succeeded=True, result="42")


def test_a_job_with_requirements_runs_in_an_environment_made_for_it_once(
    executor, tmp_path, monkeypatch
):
    calls = _install_uv(tmp_path, monkeypatch, 'echo "$@" >> "$CALLS"')
    python_env = _PythonEnv(dependencies=["some-package==1.0"])

    result = _run(executor, "surroundings", {"names": ["VIRTUAL_ENV"]}, python_env=python_env)

    found = json.loads(result.result)
    assert Path(found["env"]["VIRTUAL_ENV"]).parent == tmp_path / "envs"
    venv, install = calls.read_text().splitlines()
    assert venv.startswith("venv ")
    assert install.endswith("/requirements.txt")
    assert not list((tmp_path / "envs").glob(".*incomplete"))


def test_the_set_up_of_an_environment_counts_against_the_timeout(executor, tmp_path, monkeypatch):
    _install_uv(tmp_path, monkeypatch, "exit 0")
    python_env = _PythonEnv(dependencies=["some-package==1.0"])

    result = _run(executor, "add", {"x": 1}, python_env=python_env, timeout=0.01)

    assert result.status is JobStatus.TIMEOUT
    assert "environment was being set up" in result.error_message


def test_a_set_up_that_fails_fails_the_submission_with_what_uv_said(
    executor, tmp_path, monkeypatch
):
    _install_uv(tmp_path, monkeypatch, 'echo "no such package" >&2; exit 2')
    python_env = _PythonEnv(dependencies=["some-package==1.0"])

    with pytest.raises(MlflowException, match="no such package"):
        _submit(executor, "add", {"x": 1}, python_env=python_env)


def test_params_that_no_variable_can_hold_are_refused_for_a_python_env(executor):
    python_env = _PythonEnv(dependencies=["some-package==1.0"])
    with pytest.raises(MlflowException, match="131071 bytes"):
        _submit(executor, "echo", {"text": "a" * 131_072}, python_env=python_env)


@pytest.mark.parametrize(
    ("context_id", "fullname", "words"),
    [
        ("other", "sample_jobs.add", "other"),
        ("j1", "sample_jobs.tell", "@job"),
        ("j1", "sample_jobs.nothing", "nothing"),
    ],
)
def test_a_submission_that_cannot_run_is_refused_and_forgotten(
    executor, context_id, fullname, words
):
    context = JobExecutionContext(context_id, "sqlite:///unused.db")
    with pytest.raises(MlflowException, match=words):
        executor.submit_job("j1", "name", fullname, {}, context)
    with pytest.raises(MlflowException, match="not submitted"):
        executor.wait_for_job("j1")


def test_what_was_canceled_before_its_process_started_never_starts(executor, monkeypatch):
    monkeypatch.setattr(
        "mlflow.server.jobs.local_executor._load_function",
        lambda fullname: executor.cancel_job("j1") or _declared,
    )
    assert _run(executor, "add", {"x": 1}).status is JobStatus.CANCELED


def test_a_job_runs_in_an_executor_once(executor, monkeypatch):
    refused = []

    def submit_again(fullname):
        with pytest.raises(MlflowException, match="already") as refusal:
            _submit(executor, "add", {"x": 1})
        refused.append(refusal)
        executor.cancel_job("j1")
        return _declared

    monkeypatch.setattr("mlflow.server.jobs.local_executor._load_function", submit_again)
    assert _run(executor, "add", {"x": 1}).status is JobStatus.CANCELED
    assert len(refused) == 1


def test_a_job_of_a_lost_runner_is_gone_and_can_be_requeued(executor):
    assert executor.recover_jobs(["a", "b"]) == [
        JobRecoveryResult("a", "requeue"),
        JobRecoveryResult("b", "requeue"),
    ]


def test_stopping_or_canceling_what_is_not_there_does_nothing(executor):
    executor.cancel_job("unknown")
    executor.stop_executor()
    executor.stop_executor()


def test_the_local_backend_says_what_it_can_do(executor):
    executor.check_requirements()
    assert executor.accepts_extra_envs
    assert executor.supports_direct_provider_models
    assert not executor.remote_execution
    assert executor.supports_job("any", {})


@job(name="declared", max_workers=1)
def _declared():
    pass


def _run_entry(tmp_path, command, function, params, code=0):
    """Run the entry of a job process with the variables that 3.18 gives it."""
    result_path, classes_path = tmp_path / "result.json", tmp_path / "classes"
    classes_path.write_text("")
    protocol = {
        "_MLFLOW_SERVER_JOB_FUNCTION_FULLNAME": f"sample_jobs.{function}",
        "_MLFLOW_SERVER_JOB_PARAMS": json.dumps(params),
        "_MLFLOW_SERVER_JOB_RESULT_DUMP_PATH": str(result_path),
        "_MLFLOW_SERVER_JOB_TRANSIENT_ERROR_CLASSES_PATH": str(classes_path),
    }
    ended = subprocess.run(command, env={**os.environ, **protocol}, timeout=_PATIENCE_SECONDS)
    assert ended.returncode == code
    return _SubprocessJobResult.load(str(result_path))


def _install_uv(tmp_path, monkeypatch, behaviour):
    """A `uv` whose environments are this interpreter's, and that does `behaviour` besides."""
    bin_dir, envs, calls = tmp_path / "bin", tmp_path / "envs", tmp_path / "calls"
    bin_dir.mkdir()
    uv = bin_dir / "uv"
    uv.write_text(f"""#!/bin/sh
{behaviour}
if [ "$1" = venv ]; then
    mkdir -p "$2/bin"
    printf '#!/bin/sh\\nexec "{sys.executable}" "$@"\\n' > "$2/bin/python"
    chmod +x "$2/bin/python"
fi
""")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_dir}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("MLFLOW_ENV_ROOT", str(envs))
    monkeypatch.setenv("CALLS", str(calls))
    return calls


def _read_when_there(path):
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)
    return json.loads(path.read_text())


def _assert_dead(pids):
    """Processes that are not children of the test give no event to wait for."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while alive := [name for name, pid in pids.items() if _is_alive(pid)]:
        assert time.monotonic() < deadline, f"still alive: {alive}"
        time.sleep(0.05)


def _is_alive(pid):
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
    # A container without an init process keeps zombies.
    return status.rpartition(")")[2].split()[0] not in ("Z", "X")
