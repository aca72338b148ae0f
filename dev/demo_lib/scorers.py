"""The code scorer of the demo: the server stores its source and runs it on each new trace."""

from mlflow.genai.scorers import scorer


@scorer
def helpful(outputs, trace):
    from mlflow.entities import Feedback

    state = str(trace.info.state).rpartition(".")[2]
    text = (outputs or {}).get("answer", "") if isinstance(outputs, dict) else ""
    if state == "ERROR":
        return Feedback(value="no", rationale="The program failed before it could answer.")
    if not text:
        return Feedback(value="no", rationale="The answer is empty.")
    return Feedback(value="yes", rationale=f"An answer of {len(text)} characters.")
