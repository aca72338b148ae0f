"""A model on the loopback interface: it speaks OpenAI's chat protocol and answers by the schema."""

import json
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# What the jobs need to hear under these names; all else is filled in by its type. No trace passes
# the triage of issue detection, and no finding was reported before.
_ANSWERS = {
    "groups": [],
    "matches": [],
    "primary_span_id": None,
    "rationale": "The stub says so.",
    "severity": "high",
    "steps": [],
}
_NAMED_PROMPT = re.compile(r"Prompt name: (\S+)\nTemplate: (.+)")


class Silence:
    """While it lasts, requests are taken and not answered: whoever asks stays in the middle."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._answers_left: float = math.inf

    def __enter__(self) -> "Silence":
        self._allow(0)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._allow(math.inf)

    @contextmanager
    def after(self, answers: int) -> Iterator[None]:
        """The same, but so many requests are answered first."""
        with self:
            self._allow(answers)
            yield

    def be_kept(self) -> None:
        """Waits as long as the silence lasts, on the thread of a request."""
        with self._changed:
            self._changed.wait_for(lambda: self._answers_left > 0)
            self._answers_left -= 1

    def _allow(self, answers: float) -> None:
        with self._changed:
            self._answers_left = answers
            self._changed.notify_all()


@dataclass
class ModelStub:
    """What the stub was asked.

    Attributes:
        address: Base address of the API.
        keys: The API key of each request, in order.
        silence: What keeps answers back.
    """

    address: str = ""
    keys: list[str] = field(default_factory=list)
    silence: Silence = field(default_factory=Silence)


@contextmanager
def model_stub() -> Iterator[ModelStub]:
    """Serves the stub on a free port while the context lasts."""
    stub = ModelStub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            stub.keys.append(self.headers["Authorization"].removeprefix("Bearer "))
            stub.silence.be_kept()
            # Who asked may be dead by now.
            with suppress(ConnectionError):
                self._answer(json.dumps(_completion(asked)).encode())

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stub.address = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, name="model-stub", daemon=True)
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _completion(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": "stub",
        "object": "chat.completion",
        "created": 0,
        "model": asked["model"],
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": _content(asked)},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def _content(asked: dict[str, Any]) -> str:
    wanted = asked.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema = wanted["json_schema"]["schema"]
        return json.dumps(_filled(schema, schema.get("$defs", {})))
    if wanted.get("type") == "json_object":
        return json.dumps(_better_prompts(asked["messages"][-1]["content"]))
    return "The answer is wrong."


def _better_prompts(request: str) -> dict[str, str]:
    return {name: f"Be brief. {text}" for name, text in _NAMED_PROMPT.findall(request)}


def _filled(schema: dict[str, Any], definitions: dict[str, Any], name: str = "") -> Any:
    if name in _ANSWERS:
        return _ANSWERS[name]
    if "$ref" in schema:
        return _filled(definitions[schema["$ref"].rpartition("/")[2]], definitions, name)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object" if "properties" in schema:
            parts = schema["properties"].items()
            return {key: _filled(part, definitions, key) for key, part in parts}
        case "object":
            return {"passed": "false", "categories": "correctness"}
        case "array":
            return [_filled(schema["items"], definitions)]
        case "integer" | "number":
            return 0
        case "boolean":
            return False
        case _:
            return "yes"
