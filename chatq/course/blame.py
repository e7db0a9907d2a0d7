"""Where in an answer: the line that raised or called, handlers never registered, lost coroutines.

Owns the reading of tracebacks, code objects and warnings. Must not know: exercises, scenes,
verdicts.
"""

from __future__ import annotations

import asyncio
import dis
import functools
import inspect
import itertools
import linecache
import re
import sysconfig
import traceback
import warnings
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import engineio  # type: ignore[import-untyped]
import socketio  # type: ignore[import-untyped]

__all__ = ["called_at", "codes_of", "forgotten", "place", "raised_in", "unawaited"]

#: Files that are not part of an answer.
_LIBRARY = (
    "<frozen",
    *{str(Path(one.__file__).resolve().parent) for one in (engineio, socketio)},
    str(Path(__file__).resolve().parent.parent),
    *{sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")},
)
#: Where asyncio calls what is due: further out is who runs the loop.
_LOOP = asyncio.events.__file__
_NEVER = re.compile(r"coroutine '([^']+)' was never awaited")
#: The frames in which it was made, the innermost last.
_MADE = re.compile(r'^  File "(.+)", line (\d+), in (.+)$', re.M)


def place(error: BaseException) -> str:
    """Return the line of the answer at which `error` was raised, or "" if it was elsewhere."""
    frame = raised_in(error)
    return (
        _line(frame[0].f_code.co_filename, frame[1], f", in {frame[0].f_code.co_name}")
        if frame
        else ""
    )


def raised_in(error: BaseException) -> tuple[FrameType, int] | None:
    """Return the frame of the answer in which `error`, or what caused it, was raised, and the line;
    None if that was elsewhere."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if not frame.f_code.co_filename.startswith(_LIBRARY):
            found = frame, line
    return found or (raised_in(error.__cause__) if error.__cause__ else None)


def _line(file: str, line: int, where: str = "") -> str:
    source = linecache.getline(file, line).strip()
    return f"line {line}{where}" + (f": {source}" if source else "")


def called_at() -> tuple[tuple[str, int], str]:
    """Return the line of the answer that is calling: its file and number, and in words; ("", 0) and
    "" if no answer is, as far as the event loop."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename != _LOOP:
        file, line = frame.f_code.co_filename, frame.f_lineno
        if not file.startswith(_LIBRARY):
            return (file, line), _line(file, line)
        frame = frame.f_back
    return ("", 0), ""


def codes_of(answer: Any, sides: Iterable[Any]) -> list[CodeType]:
    """Return the code of an answer, of the handlers of these servers and clients, of the functions
    beside it in its module, and of all that is defined inside of those."""
    beside = getattr(inspect.unwrap(answer), "__globals__", {}).values()
    named = [vars(one).values() if isinstance(one, type) else [one] for one in [*beside]]
    found = [answer, *_handlers(sides), *itertools.chain(*named)]
    codes = [
        code for one in found for code in _codes(one) if not code.co_filename.startswith(_LIBRARY)
    ]
    seen: dict[CodeType, None] = {}
    while codes:
        code = codes.pop()
        if code not in seen:
            seen[code] = None
            codes += [one for one in code.co_consts if isinstance(one, CodeType)]
    return [*seen]


def unawaited(
    heard: Iterable[warnings.WarningMessage],
    codes: Iterable[CodeType],
    told: Iterable[tuple[str, int]],
) -> list[str]:
    """Return a sentence for each coroutine that these lines of an answer have made, and nobody has
    awaited; none for the lines that are `told` already."""
    codes, told = [*codes], {*told}
    sentences = []
    for warning in heard:
        found = _NEVER.match(str(warning.message))
        places = [
            (file, int(line), name)
            for file, line, name in _MADE.findall(str(warning.message))
            if not file.startswith(_LIBRARY)
        ]
        if found and places and places[-1][:2] not in told:
            file, line, name = places[-1]
            sentences.append(
                f"an `await` is missing before a call of {found[1].rpartition('.')[2]}, which so "
                f"does nothing ({_line(file, line)}){_not_async(codes, file, line, name)}"
            )
    return [*dict.fromkeys(sentences)]


def _not_async(codes: list[CodeType], file: str, line: int, name: str) -> str:
    """Return what is more to be done, if this line is in a function that cannot await."""
    for code in codes:
        lines = {number for _, _, number in code.co_lines()}
        if (code.co_filename, code.co_name) == (file, name) and line in lines:
            if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR):
                return ""
            what = "a lambda has none" if name == "<lambda>" else f"write `async def {name}`"
            return f"; and `await` needs an `async def`: {what}"
    return ""


def forgotten(
    answer: Any, sides: Iterable[Any], elsewhere: Iterable[Any] = (), *, makes: bool = False
) -> list[str]:
    """Return a sentence for each function in `answer` that is not used, and is no handler of these
    servers and clients, nor one of those `elsewhere`; `makes`: the answer makes its server."""
    code = getattr(inspect.unwrap(answer), "__code__", None)
    if not isinstance(code, CodeType):
        return []
    registered = {found for one in (*_handlers(sides), *elsewhere) for found in _codes(one)}
    names = {found.co_name for found in registered}
    defined = {*code.co_varnames, *code.co_cellvars}
    loaded = (i.argval for i in dis.get_instructions(code) if _LOADS.search(i.opname))
    names |= {n for given in loaded for n in (given if isinstance(given, tuple) else (given,))}
    return [
        f"{one.co_name!r} is defined, and never registered: "
        f"is a line as `@{'sio' if makes else code.co_varnames[0]}.event` missing above it?"
        for one in code.co_consts
        if isinstance(one, CodeType)
        and one not in registered
        and one.co_name not in names
        and one.co_name in defined  # or else it has no name there, as a lambda
    ]


#: Instructions by which a function uses a function that it has defined.
_LOADS = re.compile(r"LOAD.*(FAST|DEREF|CLOSURE)")


def _handlers(sides: Iterable[Any]) -> list[Any]:
    return [
        handler
        for side in sides
        for handlers in getattr(side, "handlers", {}).values()
        for handler in handlers.values()
    ] + [
        method
        for side in sides
        for space in getattr(side, "namespace_handlers", {}).values()
        for method in vars(type(space)).values()
    ]


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
