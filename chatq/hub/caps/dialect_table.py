"""The table of the lab's dialect: `caps.toml`, and what a class's own table says otherwise.

Owns how a table is read, checked and merged. Pure but for reading files. Must not know: clients,
what the hub does with it.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["PACKAGES", "BadTable", "Table", "plain", "read_table"]

#: The events that carry a package.
PACKAGES = ("pickup", "in-transit", "delivered")
_OWN = Path(__file__).with_name("caps.toml")
_WORDS = ("events", "fields", "names.drivers", "names.stores")
_CHOICES = {
    **{f"hears.{event}": ("all", "others") for event in PACKAGES},
    "receipts.without-id": ("oldest", "all", "none"),
    "receipts.delivered": ("settles", "nothing"),
}
_NUMBERS = {
    "names.most": (1, 1_000),
    "give-up.attempts": (1, 1_000),
    "give-up.within": (1, 60),
    "unasked.after": (0, 60),
}
_TEXTS = ("$message", "$event", "$id", "$store", "$client")
_Settings = dict[str, Any]


class BadTable(ValueError):
    """A table has something that no table may have: says where, what, and what is permitted."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the dialect, its words in the form of `plain`.

    `events`, `fields`: by word; `answers`: the (shape, event) by asking word; `settings`: the rest,
    by its place, as in "give-up.attempts".
    """

    events: dict[str, str]
    fields: dict[str, list[str]]
    drivers: frozenset[str]
    stores: frozenset[str]
    answers: dict[str, tuple[str, str]]
    shapes: dict[str, _Settings]
    settings: _Settings

    def __getitem__(self, place: str) -> Any:
        return self.settings[place]


def plain(text: str) -> str:
    """Return a word without case, and without what stands between its letters."""
    return re.sub(r"[\W_]+", "", text).casefold()


def read_table(path: str | Path | None = None) -> Table:
    """Return the lab's table, with what the file `path` says otherwise.

    Raises `BadTable`, and `OSError` if the file cannot be read.
    """
    own = tomllib.loads(_OWN.read_text("utf-8"))
    theirs: _Settings = {}
    if path is not None:
        try:
            theirs = tomllib.loads(Path(path).read_text("utf-8"))
        except ValueError as problem:  # not TOML, or not text
            raise BadTable(f"{path} is no TOML: {problem}") from None
        try:
            _check(theirs, own)
        except BadTable as problem:
            raise BadTable(f"{path}: {problem}") from None
    return _merged(own, theirs)


def _check(theirs: _Settings, own: _Settings) -> None:
    shapes = ["plain", *own["shapes"], *_table("shapes", theirs.get("shapes", {}))]
    for section, content in theirs.items():
        _known(section, section, own)
        for key, value in _table(section, content).items():
            place = f"{section}.{key}"
            if section not in ("answers", "shapes"):
                _known(place, key, own[section])
            if section in _WORDS or place in _WORDS:
                good = isinstance(value, list) and all(
                    isinstance(w, str) and plain(w) for w in value
                )
                _must(good, place, value, 'a list of words, as in ["get-all", "catch-up"]')
            elif place in _CHOICES:
                _must(value in _CHOICES[place], place, value, _or(_CHOICES[place]))
            elif place in _NUMBERS:
                least, most = _NUMBERS[place]
                good = isinstance(value, int) and not isinstance(value, bool)
                good = good and least <= value <= most
                _must(good, place, value, f"a whole number from {least} to {most}")
            elif section == "also":
                good = isinstance(value, str) and bool(plain(value) or not value)
                _must(good, place, value, 'the name of an event, or ""')
            elif section == "wrapping":
                _must(value in shapes, place, value, _or(shapes))
            elif section == "answers":
                how = "shape, event, or both: a word that only asks is one of [events] get-all"
                _must(value != {}, place, value, how)
                for part, chosen in _table(place, value).items():
                    _known(f"{place}.{part}", part, {"shape": 0, "event": 0})
                    good = isinstance(chosen, str) and (part == "event" or chosen in shapes)
                    _must(good and bool(chosen), f"{place}.{part}", chosen,
                          _or(shapes) if part == "shape" else "the name of an event")  # fmt: skip
            else:
                _must(key != "plain", place, value, "another name: plain is the message alone")
                _must(value != {}, place, value, 'some fields, as in { id = "$id" }')
                for name, text in _table(place, value).items():
                    permitted = _TEXTS[:1] if name == "..." else _TEXTS
                    good = text in permitted or (name != "..." and not str(text).startswith("$"))
                    _must(good and isinstance(text, str), f"{place}.{name}", text,
                          f"{_or(permitted)}, or another text")  # fmt: skip
    met: dict[str, str] = {}
    for kind, words in theirs.get("events", {}).items():
        for word in words:
            if met.setdefault(plain(word), kind) != kind:
                raise BadTable(f"[events] has {word!r} in {met[plain(word)]} and in {kind}")


def _table(place: str, value: Any) -> _Settings:
    if not isinstance(value, dict):
        raise BadTable(f"[{place}] has to be a table, not {value!r:.60}")
    return value


def _known(place: str, key: str, permitted: _Settings) -> None:
    if key not in permitted:
        raise BadTable(f"[{place}] is unknown; there are {', '.join(permitted)}")


def _must(good: bool, place: str, value: Any, wanted: str) -> None:
    if not good:
        raise BadTable(f"[{place}] has to be {wanted}, not {value!r:.60}")


def _or(texts: Any) -> str:
    return " or ".join(f'"{text}"' for text in texts)


def _merged(own: _Settings, theirs: _Settings) -> Table:
    events = {plain(word): kind for kind, words in own["events"].items() for word in words}
    for kind, words in theirs.get("events", {}).items():
        events |= {plain(word): kind for word in words}
    fields = {}
    for name, words in own["fields"].items():
        fields[name] = [plain(word) for word in (*theirs.get("fields", {}).get(name, ()), *words)]
    names = {
        who: frozenset(map(plain, (*own["names"][who], *theirs.get("names", {}).get(who, ()))))
        for who in ("drivers", "stores")
    }
    answers = {
        plain(word): (how.get("shape", ""), how.get("event", ""))
        for word, how in {**own["answers"], **theirs.get("answers", {})}.items()
    }
    for word in answers:
        events[word] = "get-all"
    settings = {}
    for section in ("names", "hears", "also", "receipts", "unasked", "give-up", "wrapping"):
        for key, value in {**own[section], **theirs.get(section, {})}.items():
            settings[f"{section}.{key}"] = value
    return Table(
        events,
        fields,
        names["drivers"],
        names["stores"],
        answers,
        {"plain": {}, **own["shapes"], **theirs.get("shapes", {})},
        settings,
    )
