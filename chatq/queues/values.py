"""Values that a message may hold: those that arrive as they were, and nothing else.

Owns which these are, and the words that say where in the data another one is. Must not know: how
data is encoded, stores, sockets.

A value arrives as it was if what arrives is equal to it and of the same type in JSON: bytes for a
`bytearray`, text for an enumeration that is text. A tuple would arrive as a list, which is not
equal to it, and the key 1 as "1".
"""

from __future__ import annotations

import json
import math
from typing import Any

__all__ = ["DEEPEST", "check_values", "is_plain"]

#: The most levels of nesting: more than real data has, and safe for every recursive reader.
DEEPEST = 100
#: Python's clients refuse an integer of more than 100 characters, and its whole packet.
_LEAST, _MOST = -(10**99), 10**100
#: The key by which Socket.IO marks where in a packet an attachment belongs.
_PLACEHOLDER = "_placeholder"
_ATOMS = frozenset({str, float, bool, type(None)})
_LONGEST_PATH = 160  # characters

_KEEPS = "a message's data has to be what JSON can say, or bytes, and to arrive as it is"


def is_plain(data: Any) -> bool:
    """Return whether all of it is of the types that JSON gives back; quick, and for most data.

    False means only that `check_values` has to look. NaN and infinity are left to the encoder.
    """
    kind = type(data)
    if kind is dict:
        for key, value in data.items():
            if type(key) is not str:
                return False
            kind = type(value)
            if kind is str or kind in _ATOMS or (kind is int and _LEAST < value < _MOST):
                continue
            if not is_plain(value):
                return False
        return _PLACEHOLDER not in data
    if kind is list:
        for value in data:
            kind = type(value)
            if kind is str or kind in _ATOMS or (kind is int and _LEAST < value < _MOST):
                continue
            if not is_plain(value):
                return False
        return True
    return kind in _ATOMS or (kind is int and _LEAST < data < _MOST)


def check_values(data: Any) -> None:
    """Raise `TypeError` or `ValueError` if `data` would not arrive as it is, saying which part."""
    try:
        _check(data, 0)
    except _Unfit as unfit:
        raise unfit.error(f"{_KEEPS}: {unfit.path()} {unfit.what}") from None


class _Unfit(Exception):
    """A part that cannot be kept: the error to raise, what is wrong, and, inside out, where."""

    def __init__(self, error: type[Exception], what: str) -> None:
        super().__init__(what)
        self.error, self.what = error, what
        self.where: list[str | int] = []

    def path(self) -> str:
        steps = [
            f"[{json.dumps(step[:40], ensure_ascii=False) if isinstance(step, str) else step}]"
            for step in reversed(self.where)
        ]
        path = "".join(["data", *steps])
        half = _LONGEST_PATH // 2
        return path if len(path) <= _LONGEST_PATH else f"{path[:half]}…{path[-half:]}"


def _check(value: Any, depth: int) -> None:
    match value:
        case None | bool():
            pass
        case str():
            _check_equal(value, str.__str__(value), "the text")
        case int():
            if not _LEAST < value < _MOST:
                raise _Unfit(
                    ValueError, "has more than 100 digits, which clients refuse: give text"
                )
            _check_equal(value, int.__int__(value), "the number")
        case float():
            if not math.isfinite(value):
                raise _Unfit(ValueError, f"is {value!r:.40}, which JSON has not: give None or text")
            _check_equal(value, float.__float__(value), "the number")
        case bytes() | bytearray() | memoryview():
            _check_equal(value, bytes(value), "the bytes")
        case dict() | list() if depth >= DEEPEST:
            raise _Unfit(
                ValueError, f"is nested more than {DEEPEST} levels deep, or contains itself"
            )
        case dict():
            _check_dict(value, depth + 1)
        case list():
            for n, item in enumerate(value):
                _check_item(n, item, depth + 1)
            _check_equal(value, [*value], "the list")
        case tuple():
            how = "a list or a dict" if hasattr(value, "_fields") else "a list"
            raise _Unfit(
                TypeError, f"is a tuple ({type(value).__name__}), and would be a list: give {how}"
            )
        case _:
            raise _Unfit(TypeError, f"is of type {type(value).__name__}: give what it is made of")


def _check_dict(value: dict[Any, Any], depth: int) -> None:
    for key, item in value.items():
        if not isinstance(key, str) or not str.__str__(key) == key:
            raise _Unfit(
                TypeError,
                f"has the key {key!r:.60} of type {type(key).__name__}: keys are text, so give "
                "text, or a list of pairs",
            )
        _check_item(str.__str__(key), item, depth)
    mark = value.get(_PLACEHOLDER)
    if mark or isinstance(mark, (bytes, bytearray, memoryview)):  # all bytes leave a mark behind
        raise _Unfit(
            ValueError, f'has a true "{_PLACEHOLDER}", which marks attachments: rename that key'
        )
    if type(value) is not dict:
        _check_equal(value, dict(value.items()), "the dict")


def _check_item(step: str | int, item: Any, depth: int) -> None:
    try:
        _check(item, depth)
    except _Unfit as unfit:
        unfit.where.append(step)
        raise


def _check_equal(value: Any, arrives: Any, what: str) -> None:
    """Raise if `value`, of a type derived from that of `arrives`, is not equal to it."""
    if type(value) is not type(arrives) and not value == arrives:
        raise _Unfit(
            TypeError,
            f"is of type {type(value).__name__}, and not equal to {what} that it would arrive as",
        )
