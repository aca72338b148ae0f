"""Take back what an earlier attempt at an evaluation left, so that the next one doubles nothing.

A run of the evaluation endpoint is made for one job, which its tag names. What names that run
before that job's evaluation begins was therefore left by an attempt that was cut short. Its input
and its metrics may stay: the same dataset is one input, and metrics are logged last, of which the
newest counts. Any other run is somebody's own, and loses nothing.
"""

import mlflow
from mlflow.client import MlflowClient
from mlflow.entities import Assessment, AssessmentSourceType, Run, Trace
from mlflow.environment_variables import _MLFLOW_SERVER_JOB_ID
from mlflow.tracing.constant import AssessmentMetadataKey, TraceMetadataKey
from mlflow.utils.mlflow_tags import MLFLOW_GENAI_EVALUATE_JOB_ID


def remove_earlier_attempt(client: MlflowClient, traces: list[Trace], run_id: str) -> None:
    """Delete answers logged for the run, and traces that its scorers made.

    What a person has said stays, and so does the answer that it overrides; in a run that was not
    made for this job, everything does.

    Args:
        client: Of the tracking store of the run.
        traces: Those that will be evaluated. They lose the deleted answers too, since scorers may
            look at what stands there.
        run_id: The run that the evaluation is logged into.
    """
    run = client.get_run(run_id)
    job_id = run.data.tags.get(MLFLOW_GENAI_EVALUATE_JOB_ID)
    if job_id is None or job_id != _MLFLOW_SERVER_JOB_ID.get():
        return
    for trace in traces:
        kept = []
        for assessment in trace.info.assessments:
            if _is_answer_of(run_id, assessment):
                client._tracing_client.delete_assessment(
                    trace.info.trace_id, assessment.assessment_id
                )
            else:
                kept.append(assessment)
        trace.info.assessments[:] = kept
    _remove_traces_of_scorers(client, {trace.info.trace_id for trace in traces}, run)


def _is_answer_of(run_id: str, assessment: Assessment) -> bool:
    metadata = assessment.metadata or {}
    return (
        metadata.get(AssessmentMetadataKey.SOURCE_RUN_ID) == run_id
        and assessment.source.source_type != AssessmentSourceType.HUMAN
        and assessment.valid is not False
    )


def _remove_traces_of_scorers(client: MlflowClient, evaluated: set[str], run: Run) -> None:
    """An evaluation that ends deletes them itself, but only those of its own time."""
    experiment_id = run.info.experiment_id
    made_in_run = mlflow.search_traces(
        locations=[experiment_id],
        filter_string=f"metadata.`{TraceMetadataKey.SOURCE_RUN}` = '{run.info.run_id}'",
        include_spans=False,
        return_type="list",
    )
    of_scorers = {trace.info.trace_id for trace in made_in_run} - evaluated
    if of_scorers:
        client.delete_traces(experiment_id, trace_ids=sorted(of_scorers))
