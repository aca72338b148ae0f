"""The environment is consistent without Huey, and nothing in the distribution asks for it."""

import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import mlflow

_HUEY_IMPORT = re.compile(r"^\s*(?:import|from)\s+huey\b", re.MULTILINE)


def test_pip_check_finds_no_broken_requirement():
    check = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert check.returncode == 0, check.stdout + check.stderr


def test_the_distribution_is_mlflow_with_a_label_and_the_version_of_its_base():
    distribution = importlib.metadata.distribution("mlflow")
    assert re.fullmatch(r"3\.18\.0\+jobs\.\d+", distribution.version)
    assert mlflow.version.VERSION == "3.18.0"


def test_neither_huey_nor_the_split_is_required():
    names = {
        re.match(r"[\w.-]+", line)[0].lower()
        for line in importlib.metadata.requires("mlflow")
        if "extra ==" not in line
    }
    assert "flask" in names
    assert not names & {"huey", "mlflow-skinny", "mlflow-tracing"}


def test_no_module_imports_huey():
    root = Path(mlflow.__file__).parent
    importing = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if _HUEY_IMPORT.search(path.read_text("utf-8"))
    ]
    assert importing == []


def test_the_server_and_the_runner_load_no_module_of_huey():
    program = (
        "import sys, mlflow.server.fastapi_app, mlflow.server.jobs.runner\n"
        "print([name for name in sys.modules if name.partition('.')[0] == 'huey'])"
    )
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert loaded.stdout.splitlines()[-1:] == ["[]"], loaded.stderr
