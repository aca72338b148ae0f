"""What the source of a custom scorer shows of its needs. It is parsed and never run.

Source can hide anything, so nothing here is a guard: what a job may open is decided by its grant.
This tells an author early what would be refused late.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass

# Names that a scorer is given, or may import, which reach nothing beyond the process.
_HARMLESS_MODULES = frozenset(sys.stdlib_module_names) - {"builtins", "importlib", "runpy"}
_HARMLESS_OF_MLFLOW = "entities"
_RUNS_HIDDEN_CODE = frozenset({"__import__", "eval", "exec", "compile"})


@dataclass(frozen=True)
class SourceNeeds:
    """What was seen.

    Attributes:
        gateway_uris: Complete `gateway:/` URIs.
        prompt_uris: Complete `prompts:/` URIs.
        models: URIs that are passed as an argument `model`. A bare name may be an endpoint's.
        unclear: What the source does whose needs cannot be seen, each as a verb and its object.
    """

    gateway_uris: frozenset[str] = frozenset()
    prompt_uris: frozenset[str] = frozenset()
    models: frozenset[str] = frozenset()
    unclear: tuple[str, ...] = ()


def look_at(source: str) -> SourceNeeds:
    """Parse the body of a scorer's function and note what it reaches for.

    Raises:
        ValueError: The source is not Python.
    """
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"its source cannot be parsed: {type(error).__name__}") from error
    texts = list(_texts(nodes))
    return SourceNeeds(
        gateway_uris=frozenset(_complete(texts, "gateway:/")),
        prompt_uris=frozenset(_complete(texts, "prompts:/")),
        models=frozenset(_models(nodes)),
        unclear=tuple(dict.fromkeys([*_unclear_code(nodes), *_unclear_uris(texts)])),
    )


def _texts(nodes: list[ast.AST]) -> Iterator[tuple[str, bool]]:
    """Each text in the source, and whether it is only a part of one."""
    parts = {
        id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values
    } | {
        id(side)
        for node in nodes
        if isinstance(node, (ast.BinOp, ast.Attribute))
        for side in ast.iter_child_nodes(node)
    }
    for node in nodes:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, id(node) in parts


def _complete(texts: list[tuple[str, bool]], scheme: str) -> Iterator[str]:
    for text, is_part in texts:
        if not is_part and text.startswith(scheme) and text.removeprefix(scheme).strip("/ "):
            yield text


def _unclear_uris(texts: list[tuple[str, bool]]) -> Iterator[str]:
    for text, is_part in texts:
        for scheme in ("gateway:/", "prompts:/"):
            bare = not text.removeprefix(scheme).strip("/ ")
            if text.startswith(scheme) and (is_part or bare):
                yield f"puts a {scheme} URI together"


def _models(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.keyword) and node.arg == "model":
            value = node.value
            is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
            if is_text and ":/" in value.value:
                yield value.value


def _unclear_code(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if not _is_harmless(alias.name):
                    yield f"imports {alias.name}"
        elif isinstance(node, ast.ImportFrom):
            # What `from mlflow import entities` names is a module too.
            names = [f"mlflow.{a.name}" for a in node.names] if node.module == "mlflow" else None
            for module in names or [node.module or "."]:
                if not _is_harmless(module):
                    yield f"imports {module}"
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "mlflow" and node.attr != _HARMLESS_OF_MLFLOW:
                yield f"uses mlflow.{node.attr}"
        elif isinstance(node, ast.Name) and node.id in _RUNS_HIDDEN_CODE:
            yield f"calls {node.id}"


def _is_harmless(module: str) -> bool:
    root, _, rest = module.partition(".")
    if root == "mlflow":
        # The bare name is given to every scorer; what is used of it is looked at where it is used.
        return rest.partition(".")[0] in ("", _HARMLESS_OF_MLFLOW)
    return root in _HARMLESS_MODULES
