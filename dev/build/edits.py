"""Anchored edits: small changes to files that stay the base's, each matching exactly once.

An edit lies beside the file it changes, in `<file without .py>.edits.yml`, a list of mappings:

    name: what the edit is called; it is named in the built file and in every error
    symbol: the function, class or variable (dotted when nested) that holds the anchor, or `module`
    why: the reason, one sentence
    find: an ast-grep pattern or rule, searched inside the symbol; left out, the symbol itself
    replace | insert_before | insert_after: the new text; `$NAME` and `$$$NAME` stand for what the
        pattern caught; an empty `replace` takes away a statement with the comment above it, or an
        element with its comma
    comment: the new comment directly above the statement found, alone or beside a `replace`
    series: false leaves the edit out of the patch series

Text is written without indentation: it is given that of the place where it lands.
"""

import ast
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

import yaml
from ast_grep_py import SgNode, SgRoot

from dev.build.errors import BuildError, EditMismatch

SUFFIX = ".edits.yml"

_ACTIONS = ("replace", "insert_before", "insert_after")
_DEFINITIONS = ("function_definition", "class_definition")
_METAVARIABLE = re.compile(r"\$\$\$([A-Z_][A-Z0-9_]*)|\$([A-Z_][A-Z0-9_]*)")


@dataclass(frozen=True)
class Edit:
    """One change to one file of the base."""

    target: str
    name: str
    symbol: str
    why: str
    find: str | dict | None = None
    replace: str | None = None
    insert_before: str | None = None
    insert_after: str | None = None
    comment: str | None = None
    series: bool = True

    def __post_init__(self) -> None:
        given = [action for action in _ACTIONS if getattr(self, action) is not None]
        if len(given) > 1 or not (given or self.comment is not None):
            raise BuildError(
                f"{self}: needs exactly one of {', '.join(_ACTIONS)}, or a comment alone."
            )
        if self.comment is not None and given and not self.replace:
            raise BuildError(f"{self}: a comment goes alone or with a replacement of some text.")

    def __str__(self) -> str:
        return f"{self.target}: edit '{self.name}' in '{self.symbol}'"


def load_edits(root: Path) -> dict[str, list[Edit]]:
    """Read every edit below root/mlflow, by target file, in the order of each file.

    Raises:
        BuildError: an entry is not a mapping, or has an unknown or a missing key.
    """
    edits: dict[str, list[Edit]] = {}
    for path in sorted((root / "mlflow").rglob(f"*{SUFFIX}")):
        target = path.relative_to(root).as_posix().removesuffix(SUFFIX) + ".py"
        edits[target] = [_read_edit(target, entry) for entry in yaml.safe_load(path.read_text())]
    return edits


def apply_edits(source: str, edits: list[Edit]) -> str:
    """Apply edits one after the other and say at the end of the text that it was modified.

    Raises:
        EditMismatch: an edit does not match exactly once, or leaves text that is not Python.
    """
    for edit in edits:
        source = _apply(edit, source)
    names = "".join(f"# - {edit.name}\n" for edit in edits)
    return f"{source.rstrip()}\n\n# Modified from the MLflow release by the job framework:\n{names}"


def _read_edit(target: str, entry: object) -> Edit:
    try:
        return Edit(target=target, **entry)
    except TypeError as error:
        raise BuildError(f"{target}: malformed edit {entry!r} ({error}).") from error


def _apply(edit: Edit, source: str) -> str:
    node = _only_match(edit, SgRoot(source, "python").root())
    statement = _statement(node)
    lines = _Lines(source)
    first, last = statement.range().start.line, statement.range().end.line
    above = lines.comment_start(first)
    if edit.insert_after is not None:
        lines.insert(last + 1, edit.insert_after, like=first)
    elif edit.insert_before is not None:
        lines.insert(above, edit.insert_before, like=first)
    elif edit.replace == "" and node.range().start == statement.range().start:
        lines.cut(first if node.kind() == "comment" else above, last)
    elif edit.replace == "":
        lines.cut_element(node)
    elif edit.replace is not None:
        lines.replace(node, _filled(edit.replace, node, source))
    if edit.comment is not None:
        lines.replace_comment(above, first, edit.comment)
    return _checked(edit, lines.text)


def _only_match(edit: Edit, root: SgNode) -> SgNode:
    scopes = [root]
    for name in edit.symbol.split(".") if edit.symbol != "module" else []:
        scopes = [found for scope in scopes for found in _definitions(scope, name)]
    if len(scopes) != 1:
        raise EditMismatch(f"{edit}: the symbol is there {len(scopes)} times, not once.")
    if edit.find is None:
        return scopes[0]
    matches = _matches(edit, scopes[0])
    if len(matches) != 1:
        raise EditMismatch(
            f"{edit}: the anchor matches {len(matches)} times, not once; "
            "adapt its 'find' to the base or drop the edit."
        )
    return matches[0]


def _definitions(scope: SgNode, name: str) -> list[SgNode]:
    """What is defined under a name in a scope; what lies in fewer definitions hides the rest."""
    exact = f"^{re.escape(name)}$"
    named = [{"kind": kind, "has": {"field": "name", "regex": exact}} for kind in _DEFINITIONS]
    assigned = {"kind": "assignment", "has": {"field": "left", "regex": exact}}
    found = scope.find_all({"rule": {"any": [*named, assigned]}})
    depth = min(map(_depth, found), default=0)
    return [node for node in found if _depth(node) == depth]


def _depth(node: SgNode) -> int:
    return sum(ancestor.kind() in _DEFINITIONS for ancestor in node.ancestors())


def _matches(edit: Edit, scope: SgNode) -> list[SgNode]:
    rule = {"pattern": edit.find} if isinstance(edit.find, str) else edit.find
    try:
        return scope.find_all({"rule": rule})
    except Exception as error:  # ast-grep has no exception class of its own.
        raise BuildError(f"{edit}: 'find' is not an ast-grep rule ({error}).") from error


def _statement(node: SgNode) -> SgNode:
    while node.parent() is not None and node.parent().kind() not in ("module", "block"):
        node = node.parent()
    return node


def _filled(template: str, node: SgNode, source: str) -> str:
    lines = source.split("\n")

    def caught(variable: re.Match, indent: str) -> str:
        many, one = variable.groups()
        if one is not None:
            nodes = [node.get_match(one)]
        else:
            nodes = node.get_multiple_matches(many)
        if not nodes or nodes[0] is None:
            raise BuildError(f"The replacement names {variable[0]}, which the pattern does not.")
        start, end = nodes[0].range().start, nodes[-1].range().end
        text = source[start.index : end.index]
        depth = len(_indent(lines[start.line]))
        first, *rest = text.split("\n")
        return "\n".join([first, *(indent + line[depth:] for line in rest)])

    filled = []
    for line in template.rstrip("\n").split("\n"):
        indent = _indent(line)
        filled.append(_METAVARIABLE.sub(lambda found, indent=indent: caught(found, indent), line))
    return "\n".join(filled)


def _checked(edit: Edit, text: str) -> str:
    try:
        ast.parse(text)
    except SyntaxError as error:
        raise EditMismatch(f"{edit}: what it leaves is not Python ({error}).") from error
    return text


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip())]


class _Lines:
    """A text as lines, changed by line numbers that were counted before the change."""

    def __init__(self, source: str) -> None:
        self._lines = re.split(r"(?<=\n)", source)

    @property
    def text(self) -> str:
        return "".join(self._lines)

    def comment_start(self, line: int) -> int:
        """The first line of the comment block that ends directly above a line."""
        while line > 0 and self._lines[line - 1].lstrip().startswith("#"):
            line -= 1
        return line

    def insert(self, at: int, text: str, like: int) -> None:
        self._lines[at:at] = [self._indented(text, like)]

    def cut(self, first: int, last: int) -> None:
        del self._lines[first : last + 1]
        around = self._lines[first - 1 : first + 1] if first else []
        if len(around) == 2 and not "".join(around).strip():
            del self._lines[first]

    def cut_element(self, node: SgNode) -> None:
        start, end = node.range().start, node.range().end
        before = self._lines[start.line][: start.column]
        after, commas = re.subn(r"^[ \t]*,[ \t]*", "", self._lines[end.line][end.column :])
        if not commas:
            before = re.sub(r",[ \t]*$", "", before)
        rest = before + after
        self._lines[start.line : end.line + 1] = [rest] if rest.strip() else []

    def replace(self, node: SgNode, text: str) -> None:
        start, end = node.range().start, node.range().end
        before = self._lines[start.line][: start.column]
        after = self._lines[end.line][end.column :]
        body = self._indented(text, start.line).strip()
        self._lines[start.line : end.line + 1] = [before + body + after]

    def replace_comment(self, first: int, last: int, text: str) -> None:
        self._lines[first:last] = [self._indented(text, last)]

    def _indented(self, text: str, like: int) -> str:
        return textwrap.indent(text.rstrip("\n"), _indent(self._lines[like])) + "\n"
