"""What of a notebook an answer needs: the statements that define its names, and theirs.

Owns the reading of cells. Must not know: what an exercise is, how an excerpt is run.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Asked", "Cells"]

_NUMBER = re.compile(r"\d\d\.\d+")
#: Where a cell cannot be read, its checks can still be seen.
_CHECKED = re.compile(r"\bcheck\(\s*[\"'](\d\d\.\d+)[\"']")
_TIMED, _MAGIC = re.compile(r"^(\s*)%%?time(?:it)?\s+(?=\S)"), re.compile(r"^(\s*)[%!?].*")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_PLACES = (ast.Name, ast.Attribute, ast.Subscript)
#: Any name, as `from … import *` may bind it.
_ANY = "*"


@dataclass(frozen=True)
class Asked:
    """One `check(number, …)`: the statements that its answer needs, and the answer, as source; or
    why there are none, in `problem`."""

    number: str
    source: str = ""
    answer: str = ""
    problem: str = ""


class _Statement(NamedTuple):
    """A statement; the names that it binds, whether it alone settles what they are, the names that
    it reads at once, and those that its functions read when they are called."""

    node: ast.stmt
    binds: set[str]
    settles: bool
    now: set[str]
    later: set[str]


class Cells:
    """The code cells of one notebook, in their order."""

    def __init__(self, cells: list[str]) -> None:
        self._statements: list[_Statement] = []
        #: Why a cell cannot be read, with its number.
        self.problems: list[str] = []
        #: The newest check of each exercise.
        self.asked: dict[str, Asked] = {}
        for number, source in enumerate(cells, 1):
            self._read(number, source)

    def _read(self, number: int, source: str) -> None:
        try:
            nodes = _parsed(source).body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            what = getattr(error, "msg", "") or "it cannot be read"
            problem = f"code cell {number} is no Python: {what}"
            self.problems.append(problem)
            for name in _CHECKED.findall(source):
                self.asked[name] = Asked(name, problem=problem)
            return
        for node in nodes:
            for name, answer in _checks(node):
                self.asked[name] = self._excerpt(name, answer)
            self._statements.append(_statement(node))

    def _excerpt(self, name: str, answer: ast.expr) -> Asked:
        """Return what `answer` needs of the statements so far."""
        here = len(self._statements)
        chosen: set[int] = set()
        wanted = [(one, here) for one in _reads(answer)]
        seen = {*wanted}
        while wanted:
            for index in self._bindings(*wanted.pop()):
                if index in chosen:
                    continue
                chosen.add(index)
                one = self._statements[index]
                more = {(n, index) for n in one.now} | {(n, here) for n in one.later}
                wanted += more - seen
                seen |= more
        nodes = [self._statements[index].node for index in sorted(chosen)]
        return Asked(name, "\n".join(map(ast.unparse, nodes)), ast.unparse(answer))

    def _bindings(self, name: str, before: int) -> Iterator[int]:
        """Yield the statements that make what `name` is before this one."""
        for index in reversed(range(before)):
            one = self._statements[index]
            if name in one.binds or _ANY in one.binds:
                yield index
                if one.settles and _ANY not in one.binds:
                    return


def _parsed(source: str) -> ast.Module:
    try:
        return ast.parse(source)
    except SyntaxError:  # a notebook's own commands are no Python
        lines = (_TIMED.sub(r"\1", line) for line in source.split("\n"))
        return ast.parse("\n".join(_MAGIC.sub(r"\1pass", line) for line in lines))


def _checks(node: ast.stmt) -> Iterator[tuple[str, ast.expr]]:
    """Yield the number and the answer of each check in a statement."""
    for call in ast.walk(node):
        if not isinstance(call, ast.Call):
            continue
        called = getattr(call.func, "id", getattr(call.func, "attr", ""))
        named = {one.arg: one.value for one in call.keywords}
        given = [*call.args, *(named[key] for key in ("name", "answer") if key in named)]
        if called == "check" and len(given) == 2 and isinstance(given[0], ast.Constant):
            number = given[0].value
            if isinstance(number, str) and _NUMBER.fullmatch(number):
                yield number, given[1]


def _statement(node: ast.stmt) -> _Statement:
    binds, later = _binds(node), set[str]()
    for one in _outside_functions(node):
        if isinstance(one, (*_FUNCTIONS, ast.Lambda)):
            later |= _reads(one)
    now = {one.id for one in _outside_functions(node) if isinstance(one, ast.Name)}
    for one in _outside_functions(node):
        if isinstance(one, _FUNCTIONS):  # what is read when it is defined
            for part in (*one.decorator_list, *one.args.defaults, *one.args.kw_defaults):
                now |= _reads(part) if part is not None else set()
    kinds = (*_FUNCTIONS, ast.ClassDef, ast.Import, ast.ImportFrom)
    simple = isinstance(node, ast.Assign) and all(isinstance(t, ast.Name) for t in node.targets)
    if isinstance(node, ast.AnnAssign):
        simple = isinstance(node.target, ast.Name) and node.value is not None
    return _Statement(node, binds, isinstance(node, kinds) or simple, now, later)


def _binds(node: ast.stmt) -> set[str]:
    """Return the names that a statement binds, or whose objects it changes."""
    names: set[str] = set()
    for one in _outside_functions(node):
        if isinstance(one, (*_FUNCTIONS, ast.ClassDef)):
            names.add(one.name)
        elif isinstance(one, (ast.Import, ast.ImportFrom)):
            names |= {alias.asname or alias.name.partition(".")[0] for alias in one.names}
        elif isinstance(one, _PLACES) and not isinstance(one.ctx, ast.Load):
            names |= _base(one)
    if isinstance(node, ast.Expr):
        value = node.value.value if isinstance(node.value, ast.Await) else node.value
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            names |= _base(value.func)  # as `words.update(…)` does
    return names


def _base(node: ast.expr) -> set[str]:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return {node.id} if isinstance(node, ast.Name) else set()


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    """Yield a node and all in it, but not what is in functions."""
    yield node
    if not isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        for child in ast.iter_child_nodes(node):
            yield from _outside_functions(child)


def _reads(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
