"""A server whose files were overwritten by MLflow's split says so, whichever files it lost."""

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest


def run(*command):
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )


def disguise_as_split(site, files, name="mlflow-skinny"):
    """Install stock files and a distribution that owns them, as pip would over ours."""
    for file, content in files.items():
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_bytes(content)
    dist_info = site / f"{name.replace('-', '_')}-3.18.0.dist-info"
    dist_info.mkdir()
    (dist_info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 3.18.0\n")


@pytest.fixture
def environment(tmp_path, built_wheel):
    """The built wheel, really installed; what it requires is borrowed from this environment."""
    venv.create(tmp_path, symlinks=True, with_pip=False)
    python = tmp_path / "bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps"]
    done = run(*pip, "--no-compile", built_wheel)
    assert done.returncode == 0, done.stderr
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip()
    )
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python, site


@pytest.mark.parametrize("kept", ["nothing", "the server"])
def test_an_overwritten_server_stops_and_says_how_to_repair_it(environment, base_tree, kept):
    python, site = environment
    stock = {
        name: content
        for name, content in base_tree.items()
        if name.endswith(".py")
        and (kept == "nothing" or name.startswith(("mlflow/entities/", "mlflow/store/")))
    }
    disguise_as_split(site, stock)
    done = run(python, "-m", "mlflow", "server", "--help")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("error: ") and "Traceback" not in done.stderr
    assert "files of mlflow==3.18.0+jobs.1" in said
    assert "pip uninstall --yes mlflow-skinny && pip install --force-reinstall" in said


def test_a_client_of_an_overwritten_installation_is_left_alone(environment, base_tree):
    python, site = environment
    disguise_as_split(site, {"mlflow/store/jobs/abstract_store.py": b"A = 1\n"})
    done = run(python, "-c", "import mlflow.tracking; print('imported')")
    assert done.stdout == "imported\n", done.stderr


def test_a_split_beside_unharmed_files_stops_nobody(environment):
    python, site = environment
    disguise_as_split(site, {})
    done = run(python, "-m", "mlflow", "server", "--help")
    assert (done.returncode, "--backend-store-uri" in done.stdout) == (0, True), done.stderr
