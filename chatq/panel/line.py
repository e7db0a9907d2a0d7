"""One line of Python, run on a scene as a cell would run it.

Owns its outcome: the output until all is quiet again, and the error. Must not know: the stage,
widgets, where a line comes from.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import inspect
import io
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

__all__ = ["Outcome", "run"]

_KEPT = 4_000  # characters of output


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a line: the output meanwhile (`printed`), and the `error`, "" if none."""

    line: str
    printed: str = ""
    error: str = ""

    def __repr__(self) -> str:
        parts = [f">>> {self.line}", self.printed.rstrip("\n"), self.error]
        return "\n".join(part for part in parts if part)


async def run(
    line: str, names: Mapping[str, Any], settle: Callable[[], Awaitable[object]], within: float
) -> Outcome:
    """Run `line` with these names, wait until `settle` returns, and return the outcome.

    It raises nothing: an exception is the outcome's error. `within`: a deadline for the line, in
    seconds.
    """
    error = ""
    with _captured() as printed:
        try:
            code = compile(line, "<line>", "eval", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, True)
            result = eval(code, dict(names))
            if inspect.isawaitable(result):
                async with asyncio.timeout(within):
                    await result
        except TimeoutError as raised:
            error = str(raised) or f"TimeoutError: not done within {within:g} s"
        except Exception as raised:
            error = _text(raised)
        try:
            await settle()
        except Exception as raised:
            error = "\n".join(filter(None, [error, _text(raised)]))
    return Outcome(line, printed.getvalue()[-_KEPT:], error)


def _text(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _captured() -> Iterator[io.StringIO]:
    """Capture the output, also that of handlers, and pass it on to the present `sys.stdout`."""
    tee = _Tee(sys.stdout)
    with contextlib.redirect_stdout(tee):
        yield tee.captured


class _Tee(io.TextIOBase):
    def __init__(self, out: TextIO) -> None:
        self._out, self.captured = out, io.StringIO()

    def write(self, text: str) -> int:
        self.captured.write(text)
        return self._out.write(text)

    def flush(self) -> None:
        self._out.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._out, name)
