"""What belongs to a lesson, by its name: "03.1" is in the module of lesson 03.

Owns how it is found, and what is said of a name that there is not. Must not know: what it is.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["find"]


def find(name: str, module: str, table: str, kind: str) -> Any:
    """Return the one called `name` of those in `table` of the lesson's `module`, as "lesson_" with
    the number behind it. Raises `LookupError` naming those of the lesson."""
    number = name.partition(".")[0]
    try:
        known = getattr(import_module(f".{module}{number}", __package__), table)
    except ModuleNotFoundError:
        raise LookupError(f"there is no lesson {number!r} with {kind}s") from None
    for one in known:
        if one.name == name:
            return one
    names = ", ".join(one.name for one in known)
    raise LookupError(f"there is no {kind} {name!r}; there are {names}")
