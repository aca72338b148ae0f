"""The decorator leaves a function as it is, and a name leads to exactly one function."""

import sys

import pytest

from mlflow.exceptions import MlflowException
from mlflow.server.jobs import functions
from mlflow.server.jobs.errors import UnknownJobName
from mlflow.server.jobs.functions import (
    TransientError,
    _load_function,
    get_job_fn_fullname,
    get_job_function,
    job,
    load_job_functions,
)
from mlflow.version import VERSION

_TWO_JOBS = """
from mlflow.server.jobs.functions import job

@job(name="{name}", max_workers=1)
def first():
    pass

@job(name="{name}", max_workers=1)
def second():
    pass

def undeclared():
    pass
"""


@pytest.fixture
def known_functions(monkeypatch):
    """Gives the test lists of its own."""
    monkeypatch.setattr(functions, "_job_name_to_fn_fullname_map", {})
    monkeypatch.setattr(functions, "_reported", set())
    supported = []
    monkeypatch.setattr(functions, "_SUPPORTED_JOB_FUNCTION_LIST", supported)
    return supported


@pytest.fixture
def job_module(tmp_path, monkeypatch):
    """Makes an importable module of jobs that all have one name."""
    monkeypatch.syspath_prepend(tmp_path)

    def make(module, text=_TWO_JOBS, name="job_of_test"):
        (tmp_path / f"{module}.py").write_text(text.format(name=name))
        monkeypatch.delitem(sys.modules, module, raising=False)
        return module

    return make


def test_a_declared_function_is_the_function_itself():
    def add(x, y):
        return x + y

    declared = job(name="add", max_workers=3, exclusive=["x"], transient_error_classes=[OSError])(
        add
    )

    assert declared is add
    metadata = declared._job_fn_metadata
    assert (metadata.name, metadata.max_workers, metadata.exclusive) == ("add", 3, ["x"])
    assert metadata.fn_fullname == f"{__name__}.add"
    assert metadata.transient_error_classes == [OSError]
    assert metadata.python_env is None


def test_an_environment_of_its_own_has_the_servers_mlflow(monkeypatch):
    monkeypatch.delenv("MLFLOW_HOME", raising=False)

    @job(name="packed", max_workers=1, pip_requirements=["xgboost==2.0"], python_version="3.11.7")
    def packed():
        pass

    python_env = packed._job_fn_metadata.python_env
    assert python_env.python == "3.11.7"
    assert python_env.dependencies == ["xgboost==2.0", f"mlflow=={VERSION}"]


def test_a_python_version_alone_asks_for_an_environment():
    @job(name="versioned", max_workers=1, python_version="3.11.7")
    def versioned():
        pass

    assert len(versioned._job_fn_metadata.python_env.dependencies) == 1


def test_requirements_that_cannot_be_parsed_are_refused_at_the_declaration():
    with pytest.raises(MlflowException, match="pip_requirements") as refusal:
        job(name="bad", max_workers=1, pip_requirements=["-r no-such-file.txt"])
    assert refusal.value.error_code == "INVALID_PARAMETER_VALUE"


def test_the_seven_jobs_of_mlflow_are_found_by_name():
    names = functions._ALLOWED_JOB_NAME_LIST[:7]
    assert {get_job_fn_fullname(name) for name in names} == set(
        functions._SUPPORTED_JOB_FUNCTION_LIST[:7]
    )
    assert get_job_function("invoke_scorer")._job_fn_metadata.name == "invoke_scorer"


def test_an_unknown_job_name_is_refused():
    with pytest.raises(UnknownJobName, match="no_such_job") as refusal:
        get_job_fn_fullname("no_such_job")
    assert refusal.value.get_http_status_code() == 400


def test_a_function_listed_later_is_found(known_functions, job_module):
    with pytest.raises(UnknownJobName):
        get_job_fn_fullname("late")
    known_functions.append(f"{job_module('late_jobs', name='late')}.first")
    assert get_job_fn_fullname("late") == "late_jobs.first"


def test_the_first_of_two_functions_with_one_name_is_kept_and_the_other_reported_once(
    known_functions, job_module, monkeypatch
):
    module = job_module("rival_jobs", name="contested")
    known_functions += [f"{module}.first", f"{module}.second"]
    warnings = _collect_warnings(monkeypatch)

    load_job_functions()
    load_job_functions()

    assert get_job_fn_fullname("contested") == "rival_jobs.first"
    [warning] = warnings
    assert "rival_jobs.second" in warning
    assert "contested" in warning


def test_a_module_that_cannot_be_loaded_is_reported_once_and_harms_no_other(
    known_functions, job_module, monkeypatch
):
    broken = job_module("broken_jobs", text="raise OSError('no disk')")
    sound = job_module("sound_jobs", name="sound")
    known_functions += [f"{broken}.run", f"{sound}.undeclared", f"{sound}.first"]
    warnings = _collect_warnings(monkeypatch)

    load_job_functions()
    load_job_functions()

    assert get_job_fn_fullname("sound") == "sound_jobs.first"
    assert len(warnings) == 2
    assert "no disk" in warnings[0]
    assert "sound_jobs.undeclared" in warnings[1]


@pytest.mark.parametrize(
    "fullname", ["", "name", ".name", "module.", "no_such_module.name", "json.no_such_function"]
)
def test_what_is_not_the_path_of_a_function_is_refused(fullname):
    with pytest.raises(MlflowException) as refusal:
        _load_function(fullname)
    assert refusal.value.error_code == "INVALID_PARAMETER_VALUE"
    assert repr(fullname) in refusal.value.message or "json" in refusal.value.message


def test_names_from_the_operator_are_read_with_spaces_and_gaps(monkeypatch):
    monkeypatch.setenv("_MLFLOW_ALLOWED_JOB_NAME_LIST", "one, two,,")
    assert functions._named_by_operator("_MLFLOW_ALLOWED_JOB_NAME_LIST") == ["one", "two"]


def test_a_transient_error_carries_what_went_wrong():
    origin = ConnectionError("away")
    assert TransientError(origin).origin_error is origin


def _collect_warnings(monkeypatch):
    warnings = []
    monkeypatch.setattr(functions._logger, "warning", warnings.append)
    return warnings
