"""Run a real server, give it real traces and a code scorer, and show what online scoring did."""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

import mlflow
from dev.demo_lib.observed import Observed, observe
from dev.demo_lib.report import print_report
from dev.demo_lib.scorers import helpful
from dev.demo_lib.traced_program import make_traces
from dev.serving import Server, ServerFailed
from mlflow.exceptions import MlflowException
from mlflow.genai.scorers import ScorerSamplingConfig

_TRACES = 25
_LOOK_SECONDS = 2.0
_SERVER_ENV = {
    "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS": "true",
    "MLFLOW_ONLINE_SCORING_DEFAULT_TRACE_COMPLETION_BUFFER_SECONDS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
_console = Console(highlight=False, soft_wrap=True)


class DemoFailed(RuntimeError):
    """What the demo promises did not happen."""


def main() -> int:
    """Runs the demo; returns the exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="mlflow-demo-") as scratch:
        directory = (options.dir or Path(scratch)).resolve()
        server = Server(directory, env=_SERVER_ENV, port=options.port)
        try:
            with server:
                _say(f"The server runs at {server.address} (data in {directory}).")
                experiment_id = _prepare(server)
                seen = _wait_for_scores(server, experiment_id, options.timeout)
                _say("")
                print_report(_console, seen, helpful.name)
                if not options.once:
                    _stay(server)
        except KeyboardInterrupt:
            _say("Stopped.")
            return 130 if options.once else 0
        except (DemoFailed, ServerFailed, MlflowException) as error:
            print(f"\nThe demo failed: {error}\n\nEnd of the server's log:", file=sys.stderr)
            print(server.tail(), file=sys.stderr)
            return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="dev/demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="end after the table is printed")
    parser.add_argument("--dir", type=Path, help="keep the data here (default: a scratch place)")
    parser.add_argument("--port", type=int, help="port of the server (default: a free one)")
    parser.add_argument(
        "--timeout", type=float, default=300.0, help="seconds to wait for the scores (300)"
    )
    return parser.parse_args()


def _prepare(server: Server) -> str:
    mlflow.set_tracking_uri(server.address)
    experiment_id = mlflow.set_experiment("support bot").experiment_id
    failed = make_traces(_TRACES)
    _say(f"Made {_TRACES} traces; in {failed} of them the program failed.")

    registered = helpful.register(experiment_id=experiment_id)
    registered.start(
        experiment_id=experiment_id, sampling_config=ScorerSamplingConfig(sample_rate=1.0)
    )
    _say(f"Registered the code scorer '{helpful.name}' and switched online scoring on.")
    return experiment_id


def _wait_for_scores(server: Server, experiment_id: str, timeout_seconds: float) -> Observed:
    _say("The leader looks for new traces each minute; waiting for it.")
    started = time.monotonic()
    last = ""
    while True:
        server.require_alive()
        seen = observe(server, experiment_id, helpful.name)
        waited = time.monotonic() - started
        states = ", ".join(job["status"] for job in seen.jobs) or "none yet"
        line = f"jobs: {states}; traces scored: {seen.scored} of {seen.traces}"
        if line != last:
            _say(f"  {waited:5.1f} s  {line}")
            last = line
        if seen.complete:
            return seen
        if seen.failure:
            raise DemoFailed(seen.failure)
        if waited > timeout_seconds:
            raise DemoFailed(f"After {timeout_seconds:.0f} s: {line}.")
        time.sleep(_LOOK_SECONDS)


def _stay(server: Server) -> None:
    _say(f"\nThe server stays: {server.address}  (Ctrl-C ends it)")
    while True:
        server.require_alive()
        time.sleep(1)


def _say(text: str) -> None:
    _console.print(text, markup=False)


if __name__ == "__main__":
    sys.exit(main())
