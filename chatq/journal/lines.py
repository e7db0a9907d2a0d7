"""A journal as JSON lines: one line for what it is, one for each fact.

Owns the form of these lines, and what is said of one that has another form. Must not know: what a
journal does with them, files, reasons, pictures.

Rules
- The first line is the head, under "journal" the version of the form. A file without one is of an
  older chatq, and has facts alone.
- A fact has its kind under "fact", and its fields by their names. A fact that was dropped and of
  which the state still stands is marked `"standing": true`, and comes before those that were kept.
- A text may hold half of a character, as a stranger can send it ("\\ud800"). UTF-8 cannot, so it is
  written as an escape; two halves that make a character are read as that character.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from dataclasses import MISSING, dataclass, field
from typing import Any, get_args

from .facts import Fact

__all__ = ["KINDS", "Head", "fact_line", "head_line", "read_line"]

_VERSION = 1
KINDS: dict[str, type[Fact]] = {kind.__name__: kind for kind in get_args(Fact)}
_WHAT_THERE_IS = ("client", "process", "guest", "server")


@dataclass(frozen=True, slots=True)
class Head:
    """What a journal is beside its facts; see `Journal` for the counts.

    `kinds`: by name, "client", "process", "guest" or "server" (another one).
    """

    keep: int
    messages: int = 0
    begun: int = 0
    forgotten: int = 0
    kinds: dict[str, str] = field(default_factory=dict)


def head_line(head: Head) -> str:
    """Return the first line."""
    return _line({"journal": _VERSION, **dataclasses.asdict(head)})


def fact_line(fact: Fact, *, standing: bool = False) -> str:
    """Return the line of a fact; `standing`: it was dropped, and its state still stands."""
    mark = {"standing": True} if standing else {}
    return _line({"fact": type(fact).__name__, **dataclasses.asdict(fact), **mark})


def _line(values: dict[str, Any]) -> str:
    text = json.dumps(values, ensure_ascii=False)
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text) + "\n"


def read_line(text: str) -> Head | tuple[Fact, bool]:
    """Return the head, or a fact and whether it is a standing one.

    Raises `ValueError` that says what was met and what to do.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        if not text.endswith("\n"):
            raise ValueError(
                "the file ends in the middle of this line, as if its writer had been killed: "
                "delete the line, and what was written before it can be read"
            ) from None
        raise ValueError(f"it is not JSON but {_short(text)}: {_ONLY}") from None
    if not isinstance(values, dict) or not values.keys() & {"fact", "journal"}:
        raise ValueError(f"it is no fact but {_short(text)}: {_ONLY}")
    if "journal" in values:
        return _head(values)
    standing = values.pop("standing", False)
    if type(standing) is not bool:
        raise ValueError(f"'standing' is true or false, not {_short(standing)}: {_ONLY}")
    name = values.pop("fact")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError(f"chatq knows no fact {_short(name)}: is it of a newer version?")
    return kind(**_checked(name, _FIELDS[kind], values)), standing


_ONLY = "a journal is read as Journal.write wrote it"


def _head(values: dict[str, Any]) -> Head:
    version = values.pop("journal")
    if version != _VERSION:
        raise ValueError(
            f"the journal has the form {_short(version)}, and this chatq reads {_VERSION}: "
            "read it with the version of chatq that wrote it, or a newer one"
        )
    found = Head(**_checked("head", _HEAD, values))
    if not 0 <= found.begun <= found.forgotten or found.keep < 1 or found.messages < 0:
        raise ValueError(f"its counts cannot be those of a journal: {_ONLY}")
    return found


def _short(value: object) -> str:
    text = repr(value.rstrip("\n") if isinstance(value, str) else value)
    return text if len(text) <= 60 else f"{text[:59]}…"


# -- fields ---------------------------------------------------------------------------------------


def _text(value: Any) -> bool:
    return type(value) is str


def _number(value: Any) -> bool:
    return type(value) is int  # true and false are numbers to `isinstance`


def _room(value: Any) -> bool:
    return _text(value) or _number(value)


def _list(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(of, value))


def _kinds(value: Any) -> bool:
    return isinstance(value, dict) and all(kind in _WHAT_THERE_IS for kind in value.values())


#: By the type that a field has in its class: what it is in words, and whether a value is one.
_FORMS: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "str": ("a text", _text),
    "int": ("a whole number", _number),
    "bool": ("true or false", lambda value: type(value) is bool),
    "str | int": ("a text or a whole number", _room),
    "int | None": ("a whole number or null", lambda value: value is None or _number(value)),
    "MessageRef": ("the number of a message", _number),
    "tuple[str, ...]": ("a list of texts", _list(_text)),
    "tuple[str | int, ...]": ("a list of texts and whole numbers", _list(_room)),
    "dict[str, str]": (f"an object of names, each one of {', '.join(_WHAT_THERE_IS)}", _kinds),
}


@dataclass(frozen=True, slots=True)
class _Field:
    form: str
    required: bool


def _fields(kind: type[Any]) -> dict[str, _Field]:
    return {
        one.name: _Field(str(one.type), one.default is MISSING and one.default_factory is MISSING)
        for one in dataclasses.fields(kind)
    }


_HEAD = _fields(Head)
_FIELDS = {kind: _fields(kind) for kind in KINDS.values()}


def _checked(what: str, fields: dict[str, _Field], values: dict[str, Any]) -> dict[str, Any]:
    """Return values that fit these fields, or raise `ValueError`."""
    for name in values.keys() - fields.keys():
        raise ValueError(f"{what} has no field {_short(name)}: is it of a newer version?")
    for name, one in fields.items():
        if name not in values:
            if one.required:
                raise ValueError(f"{what} has no {name!r}: {_ONLY}")
            continue
        words, fits = _FORMS[one.form]
        if not fits(values[name]):
            raise ValueError(f"{name!r} of {what} is {words}, not {_short(values[name])}: {_ONLY}")
        if isinstance(values[name], list):
            values[name] = tuple(values[name])
    return values
