"""Trace one small call to copy others from: python -m dev.bench.scoring.template URI ARTIFACTS"""

import sys

import mlflow


def main() -> None:
    mlflow.set_tracking_uri(sys.argv[1])
    mlflow.create_experiment("template", artifact_location=sys.argv[2])
    mlflow.set_experiment("template")
    span = mlflow.start_span_no_context("answer", inputs={"question": "What is it?"})
    child = mlflow.start_span_no_context("look up", parent_span=span, inputs={"key": "it"})
    child.set_outputs("a trace")
    child.end()
    span.set_outputs("It is a trace.")
    span.end()
    mlflow.flush_trace_async_logging()
    print(span.trace_id, flush=True)


if __name__ == "__main__":
    main()
