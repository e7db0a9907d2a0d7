"""Diagnosis of an answer: the line that raised, handlers never registered, missing `await`s.

Owns the reading of tracebacks, code objects and warnings. Must not know: exercises, scenes,
verdicts.
"""

from __future__ import annotations

import dis
import functools
import inspect
import linecache
import re
import sysconfig
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import CodeType
from typing import Any

__all__ = ["forgotten", "place", "unawaited"]

#: Files that are not part of an answer.
_LIBRARY = (
    "<frozen",
    str(Path(__file__).resolve().parent.parent),
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
)
_NEVER = re.compile(r"coroutine '([^']+)' was never awaited")


def place(error: BaseException) -> str:
    """Return the line of the answer at which `error` was raised, or "" if it was elsewhere."""
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if not frame.f_code.co_filename.startswith(_LIBRARY):
            found = _line(frame.f_code.co_filename, line, f", in {frame.f_code.co_name}")
    return found


def _line(file: str, line: int, where: str = "") -> str:
    source = linecache.getline(file, line).strip()
    return f"line {line}{where}" + (f": {source}" if source else "")


def unawaited(heard: Iterable[warnings.WarningMessage]) -> list[str]:
    """Return a sentence for each coroutine, of a server, a client or an answer, never awaited."""
    sentences = []
    for warning in heard:
        found = _NEVER.search(str(warning.message))
        theirs = not warning.filename.startswith(_LIBRARY)
        if found and (theirs or found[1].startswith("AsyncServer.") or "<locals>" in found[1]):
            name = found[1].rpartition(".")[2]
            at = f" ({_line(warning.filename, warning.lineno)})" if theirs else ""
            sentences.append(
                f"an `await` is missing before a call of {name}, which so does nothing{at}"
            )
    return [*dict.fromkeys(sentences)]


def forgotten(answer: Any, sides: Iterable[Any]) -> list[str]:
    """Return a sentence for each function in `answer` that is not used, and is no handler of these
    servers and clients."""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if not isinstance(code, CodeType):
        return []
    handlers = [h for side in sides for space in side.handlers.values() for h in space.values()]
    registered = {found for handler in handlers for found in _codes(handler)}
    names = {found.co_name for found in registered}
    defined = {*code.co_varnames, *code.co_cellvars}
    loaded = (i.argval for i in dis.get_instructions(code) if _LOADS.search(i.opname))
    names |= {n for given in loaded for n in (given if isinstance(given, tuple) else (given,))}
    return [
        f"{one.co_name!r} is defined, and never registered: "
        f"is a line as `@{code.co_varnames[0]}.event` missing above it?"
        for one in code.co_consts
        if isinstance(one, CodeType)
        and one not in registered
        and one.co_name not in names
        and one.co_name in defined  # or else it has no name there, as a lambda
    ]


#: Instructions by which a function uses a function that it has defined.
_LOADS = re.compile(r"LOAD.*(FAST|DEREF|CLOSURE)")


def _codes(handler: Any) -> list[CodeType]:
    """Return the code of a handler, and of the functions that it wraps."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    cells = [c.cell_contents for c in getattr(handler, "__closure__", None) or () if _full(c)]
    found = [handler, inspect.unwrap(handler), *cells]
    codes = [getattr(one, "__code__", None) for one in found]
    return [code for code in codes if isinstance(code, CodeType)]


def _full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:  # never assigned
        return False
