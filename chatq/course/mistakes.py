"""What an error, or an assignment, says of a beginner's mistake: what to write instead.

Owns the words for errors that Python raises. Must not know: servers, exercises, verdicts.
"""

from __future__ import annotations

import dis
import inspect
import re
import time
from collections.abc import Collection, Iterable
from types import CodeType
from typing import Any

from .blame import raised_in
from .sandbox import Blocked

__all__ = ["advice", "shadowed"]

_ASSIGNED_LATER = re.compile(r"variable '(\w+)'")
#: What the text of an error says, and what it means.
_MEANS: tuple[tuple[type[BaseException], str, str], ...] = (
    (
        TypeError,
        r"object NoneType can't be used in 'await'|'NoneType' object can't be awaited",
        "what is awaited here gives nothing to await: it is a plain function, called without "
        "`await`",
    ),
    (
        TypeError,
        r"object \w*(?:method|function|partial)\w* can't be used in 'await'"
        r"|'\w*(?:method|function|partial)\w*' object can't be awaited"
        r"|a coroutine was expected, got <(?:bound method|function)"
        r"|An asyncio.Future, a coroutine or an awaitable is required",
        "a function is given where its call is wanted: brackets with its arguments are missing "
        "behind it",
    ),
    (
        TypeError,
        r"'coroutine' object is not callable",
        "a call is given where its function is wanted: give the function without brackets, and its "
        "arguments behind it",
    ),
    (
        TypeError,
        r"'coroutine' object is not (?:iterable|subscriptable)"
        r"|'coroutine' object does not support"
        r"|cannot unpack non-iterable coroutine"
        r"|(?:with|Object of type) '?coroutine",
        "an `await` is missing: a coroutine is no value yet",
    ),
    (
        AttributeError,
        r"'coroutine' object has no attribute",
        "an `await` is missing: a coroutine is no value yet",
    ),
    (
        RuntimeError,
        r"cannot be called from a running event loop|This event loop is already running"
        r"|Cannot run the event loop while another loop is running",
        "the event loop runs already, and calls this: write `await` here, in an `async def`",
    ),
)


def advice(error: BaseException, codes: Iterable[CodeType]) -> list[str]:
    """Return what to write instead of what raised `error`; `codes`: all of the answer."""
    found = raised_in(error)
    if found is None:
        return []
    frame, line = found
    cause = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    if isinstance(cause, Blocked):
        names = _names_at(frame.f_code, line)
        around = {**frame.f_globals, **frame.f_locals}
        if any(around.get(name) in (time, time.sleep) for name in names) and "sleep" in names:
            return ["`time.sleep` stops everything: write `await asyncio.sleep(…)` instead"]
        return []
    if isinstance(error, UnboundLocalError) and (name := _ASSIGNED_LATER.search(str(error))):
        return _not_its_own(name[1], frame.f_code, frame.f_globals, codes)
    text = str(error)
    return [means for kind, says, means in _MEANS if type(error) is kind and re.search(says, text)]


def _names_at(code: CodeType, line: int) -> set[str]:
    offsets = {
        at for start, end, number in code.co_lines() if number == line for at in range(start, end)
    }
    return {
        one.argval
        for one in dis.get_instructions(code)
        if one.offset in offsets and isinstance(one.argval, str)
    }


def _not_its_own(
    name: str, code: CodeType, beside: Collection[str], codes: Iterable[CodeType]
) -> list[str]:
    around = any(name in outer.co_varnames + outer.co_cellvars for outer in _around(code, codes))
    if not around and name not in beside:
        return []
    word = "nonlocal" if around else "global"
    return [
        f"{code.co_name} assigns to {name!r}, so it has a variable of its own of that name, with "
        f"nothing in it yet: write `{word} {name}` as its first line"
    ]


def _around(code: CodeType, codes: Iterable[CodeType]) -> list[CodeType]:
    """Return the codes inside of which this one is defined."""
    outer = [one for one in codes if code in one.co_consts]
    return outer + [further for one in outer for further in _around(one, codes)]


def shadowed(answer: Any, codes: Iterable[CodeType]) -> list[str]:
    """Return a sentence for each variable in `answer` that is given a value and never read, where
    one of the same name around it is read by others."""
    codes = [*codes]
    whole = getattr(inspect.unwrap(answer), "__code__", None)
    sentences = []
    for code in codes:
        if whole not in _around(code, codes):
            continue
        stored, loaded = _variables(code)
        for name in sorted(stored - loaded):
            if any(name in outer.co_cellvars for outer in _around(code, codes)):
                sentences.append(
                    f"`{name} = …` in {code.co_name} makes a variable of its own: write "
                    f"`nonlocal {name}` as its first line"
                )
    return sentences


def _variables(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the names of the variables of this function that it assigns one by one, and reads."""
    stored, loaded, before = set(), set(), ""
    for one in dis.get_instructions(code):
        names = one.argval if isinstance(one.argval, tuple) else (one.argval,)
        if "FAST" in one.opname or "DEREF" in one.opname or "CLOSURE" in one.opname:
            kinds = re.findall("STORE|LOAD", one.opname)
            for kind, name in zip(kinds, names, strict=False):
                # What a loop, or a tuple, unpacks may well be there for its neighbour.
                if kind == "LOAD" or len(kinds) > 1 or before.startswith(("FOR_", "UNPACK")):
                    loaded.add(name)
                elif "FAST" in one.opname:  # or else it is `nonlocal`
                    stored.add(name)
        before = one.opname
    return stored, loaded - {None}
