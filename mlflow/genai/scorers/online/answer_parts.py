"""Tell a scorer's whole answer from the part of one that a cut-short attempt left at a trace.

An answer of several feedbacks is stored one by one. Each of them says in its metadata which of how
many it is; they are stored in order, and none after one that the database did not take. So the
answer is whole where its last part stands. Another attempt stores the parts that are missing, told
by their names, and none twice.
"""

from collections import Counter
from collections.abc import Sequence

from mlflow.entities import Assessment, Feedback

PART = "mlflow.assessment.onlineScoringPart"


def is_whole(standing: Sequence[Assessment]) -> bool:
    """Whether the answer whose stored assessments these are needs no other; one without any does.

    An answer of one feedback says nothing of parts, nor do those of MLflow 3.18: they are whole.
    """
    parts = ((assessment.metadata or {}).get(PART, "1/1") for assessment in standing)
    return any(number == count for number, _, count in (part.partition("/") for part in parts))


def missing_parts(answer: Sequence[Feedback], standing: Sequence[Assessment]) -> list[Feedback]:
    """The feedbacks of an answer that are not stored yet, in order, each with its number.

    Args:
        answer: All that one call of a scorer said of a trace.
        standing: What an earlier attempt stored of such an answer; none if there was none.
    """
    names = Counter(assessment.name for assessment in standing)
    missing = []
    for feedback in answer:
        if names[feedback.name]:
            names[feedback.name] -= 1
        else:
            missing.append(feedback)
    count = len(standing) + len(missing)
    if count > 1:
        for number, feedback in enumerate(missing, start=len(standing) + 1):
            feedback.metadata = {**(feedback.metadata or {}), PART: f"{number}/{count}"}
    return missing
