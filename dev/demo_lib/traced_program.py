"""A small support bot whose every answer is a trace: flat, nested, empty and failing ones."""

import mlflow
from mlflow.entities import SpanType

_ARTICLES = {
    "refund": "Refunds are paid to the original card within five working days.",
    "delivery": "Parcels leave the warehouse on the day of the order.",
    "warranty": "Every device is covered for two years.",
    "invoice": "Invoices are in the account under Orders.",
}
_ORDERS = {"A-17": "delivered", "B-20": "on its way", "C-03": "returned"}
_QUESTIONS = [
    "How long does a refund take?",
    "Where is order A-17?",
    "What does the warranty cover?",
    "Where is order Z-99?",
    "Can I pay with seashells?",
]


@mlflow.trace(span_type=SpanType.RETRIEVER)
def find_articles(question: str) -> list[str]:
    return [text for word, text in _ARTICLES.items() if word in question.lower()]


@mlflow.trace(span_type=SpanType.TOOL)
def order_state(number: str) -> str:
    return _ORDERS[number]


@mlflow.trace(span_type=SpanType.AGENT)
def answer(question: str, customer: str) -> dict[str, str]:
    mlflow.update_current_trace(tags={"customer": customer})
    if "order" in question:
        number = question.rstrip("?").split()[-1]
        return {"answer": f"Order {number} is {order_state(number)}."}
    return {"answer": " ".join(find_articles(question))}


def make_traces(count: int) -> int:
    """Asks the bot `count` questions in turn.

    Returns:
        How many answers ended in an error; those traces have the state ERROR.
    """
    failed = 0
    for number in range(count):
        try:
            answer(_QUESTIONS[number % len(_QUESTIONS)], customer=f"customer-{number % 7}")
        except KeyError:
            failed += 1
    mlflow.flush_trace_async_logging()
    return failed
