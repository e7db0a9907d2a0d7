"""The verdict on an answer from a notebook, in a process in which nothing else of it has run.

Owns what is trusted: all of chatq and python-socketio is imported before the answer, and looked at
while it is tried and afterwards; of what the answer has replaced, no verdict comes. Must not know:
notebooks, other processes.

This holds against an answer that pretends, not against one that takes pains: it runs in the same
process, and Python hides nothing.
"""

from __future__ import annotations

import ast
import asyncio
import functools
import importlib
import inspect
import json
import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from types import CodeType, FunctionType, ModuleType
from typing import Any

from . import check as checking
from .trial import Trial

__all__ = ["Seal", "serve"]

#: What is sealed; and what the check itself replaces for a while, so that it is looked at last.
_ALWAYS = ("chatq", "socketio", "engineio", "builtins")
_AT_LAST = ("asyncio", "sqlite3", "json", "contextlib", "tempfile")
#: Imported before an answer, so that it finds them whole.
_EARLY = ("aiohttp", "cloudpickle", "hypothesis", "chatq.stage.stage", "chatq.course.lives")
#: What Python keeps in classes for itself.
_CACHES = {"__abstractmethods__", "__annotations__", "__annotations_cache__", "__annotate__"}
_CACHES |= {"__annotate_func__", "__annotate_cache__", "__doc__", "_abc_impl"}
_CACHES |= {"__static_attributes__", "__firstlineno__", "__slotnames__"}


class Seal:
    """What modules were like; `look` notes in `broken` what is not any more."""

    def __init__(self, prefixes: tuple[str, ...]) -> None:
        self.broken = ""
        self._modules = {
            name: module
            for name, module in [*sys.modules.items()]
            if isinstance(module, ModuleType) and name.partition(".")[0] in prefixes
        }
        self._was = dict(self._parts())

    def look(self) -> None:
        """Note the first part that was replaced, unless one is noted already."""
        if self.broken:
            return
        for name, module in self._modules.items():
            if sys.modules.get(name) is not module:
                self.broken = name
                return
        now = dict(self._parts())
        for name, was in self._was.items():
            if not _same(was, now.get(name, ())):
                self.broken = name.replace(" ", ".")
                return
        # New in a class is what it would else have inherited.
        new = now.keys() - self._was.keys()
        self.broken = min((name for name in new if " " not in name), default="")

    def _parts(self) -> Iterator[tuple[str, tuple[Any, ...]]]:
        seen: set[int] = set()
        for prefix, module in self._modules.items():
            for name, value in [*vars(module).items()]:
                own = getattr(value, "__module__", None) == prefix
                own = own and prefix != "builtins"  # those cannot be changed
                if isinstance(value, type) and own and id(value) not in seen:
                    seen.add(id(value))
                    for key, part in [*vars(value).items()]:
                        if key not in _CACHES:
                            yield f"{prefix}.{name}.{key}", _print(part)
                constant = name.isupper() or isinstance(value, (type, ModuleType))
                if f"{prefix}.{name}" not in sys.modules and (constant or callable(value)):
                    yield f"{prefix} {name}", _print(value, constant=name.isupper())


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))


def _print(value: Any, *, constant: bool = False) -> tuple[Any, ...]:
    """Return what a part is made of, compared by identity."""
    whole, depth = value, 0
    while isinstance(value, (classmethod, staticmethod, functools.partial)) and depth < 9:
        value = value.func if isinstance(value, functools.partial) else value.__func__
        depth += 1
    if depth:
        return (whole, *_print(value))
    if isinstance(value, property):
        return (value, *_print(value.fget))
    if isinstance(value, FunctionType):
        cells = [_content(cell) for cell in value.__closure__ or ()]
        defaults = (value.__defaults__, *(value.__kwdefaults__ or {}).values())
        return (value, value.__code__, *defaults, *cells)
    if constant and isinstance(value, (list, tuple, set, frozenset)):
        inner = [part for one in value for part in (one, *getattr(one, "__dict__", {}).values())]
        return (value, *inner)
    if constant and isinstance(value, dict):
        return (value, *value.keys(), *value.values())
    return (value,)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # never assigned
        return None


def serve() -> None:
    """Read one request from standard input, try its answer, and write what came of it."""
    request = json.loads(sys.stdin.buffer.readline())
    answers, nothing = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    for name in (*_EARLY, f"chatq.course.lesson_{request['number'].partition('.')[0]}"):
        with suppress(ModuleNotFoundError):  # who needs it says so
            importlib.import_module(name)
    state, why = asyncio.run(_judged(request))
    told = {"token": request["token"], "state": state, "why": why}
    os.write(answers, json.dumps(told).encode() + b"\n")


async def _judged(request: dict[str, str]) -> tuple[str, str]:
    check, own = checking.check, vars(checking)["Verdict"]
    seals: list[Seal] = []
    close, look = Trial.close, Seal.look

    async def closing(trial: Trial) -> None:
        trial.clues.close()  # it has replaced parts itself
        look(seals[0])
        await close(trial)

    setattr(Trial, "close", closing)  # noqa: B010
    seals += [Seal(_ALWAYS), Seal((*_ALWAYS, *_AT_LAST))]
    sys.path.append(os.getcwd())
    try:
        verdict = await check(request["number"], await _answer(request))
    except asyncio.CancelledError:
        return "", "the answer cancelled the task that tries it"
    except BaseException as error:
        return "", f"{type(error).__name__}: {error}"[:500]
    for seal in seals:
        look(seal)
        if seal.broken:
            return "", f"it replaces a part of what tries it: {seal.broken}"
    fields = vars(verdict) if type(verdict) is own else {}
    return str(fields.get("state", "")), ""


async def _answer(request: dict[str, str]) -> Any:
    """Run the statements that the answer needs, and return it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for kind, source in (("exec", request["source"]), ("eval", request["answer"])):
        file = f"<{kind}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        code = compile(source, file, kind, ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        result = eval(code, names)
        if _awaits(code):
            result = await result
    return result


def _awaits(code: CodeType) -> bool:
    return bool(code.co_flags & inspect.CO_COROUTINE)
