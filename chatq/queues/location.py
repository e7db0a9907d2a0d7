"""URLs of queues: the store and the place that one means, and names that a file may not have.

Owns the forms of these URLs, and the words for those that mean something elsewhere. Must not know:
what is kept there, how.

What follows "sqlite:///" is a path as it is: nothing in it is decoded, and it takes no options. So
a name that SQLite, or another library's URL, would understand as something else is refused: nobody
wants a file that is called ":memory:".
"""

from __future__ import annotations

import re
from typing import Literal

__all__ = ["Engine", "check_file_name", "engine_and_place"]

Engine = Literal["memory", "sqlite", "nats"]

_SQLITE, _MEMORY = "sqlite:///", "memory:"
_NATS = ("nats:", "tls:")
_IN_MEMORY = re.compile(
    r"(sqlite:/*|file:)*(:memory:?|memory:)([/?].*)?|memory|sqlite:(//)?", re.IGNORECASE
)
_LOGIN = re.compile(r"//[^/\s]*@")  # no message quotes it
_OPTIONS = re.compile(r"\?[A-Za-z_]\w*=")


def engine_and_place(url: object) -> tuple[Engine, str]:
    """Return which engine keeps queues at `url`, and where: a path, or the URL itself.

    Raises `TypeError` for what is no text, `ValueError` for another URL, saying what was meant.
    """
    if not isinstance(url, str):
        raise TypeError(f"{_told(url)}: give it as text, like {_SQLITE}packages.db")
    if url == _MEMORY:
        return "memory", url
    if url.startswith(_NATS):
        return "nats", url
    path = url.removeprefix(_SQLITE)
    if _IN_MEMORY.fullmatch(url) or (path != url and ("mode=memory" in url)):
        raise ValueError(f'{_told(url)}: in memory, until the program ends, is "{_MEMORY}"')
    if path in (url, ""):
        raise ValueError(f"{_told(url)}{_meant(url)}")
    check_file_name(path)
    return "sqlite", path


def check_file_name(path: str) -> None:
    """Raise `ValueError` if a file of this name would surprise."""
    if path.lower() == ":memory:":
        raise ValueError(f"{path} would be the name of a file: what is kept in memory is not kept")
    if path.lower().startswith("file:"):
        raise ValueError(f"{path} would be the name of a file: give its path, without 'file:'")
    if options := _OPTIONS.search(path):
        rest = path[options.start() :]
        raise ValueError(f"{path} would be the name of a file, and {rest} no option: leave it away")
    if not path.isprintable() or path != path.strip():
        raise ValueError(
            f"{path!r:.200} would be the name of a file: take one without control characters, and "
            "without spaces at its ends"
        )


def _told(url: object) -> str:
    where = f'"{_SQLITE}FILE", "{_MEMORY}" or "nats://HOST"'
    told = _LOGIN.sub("//…@", str(url))
    return f"queues are kept at {where}, not at {told!r:.200}"


def _meant(url: str) -> str:
    scheme, colon, rest = url.partition(":")
    if not colon:
        return f': did you mean "{_SQLITE}{url}"?' if url else ""
    match scheme.lower().partition("+")[0]:
        case "sqlite" | "sqlite3" | "file" if path := rest.removeprefix("//").removeprefix("/"):
            return f': did you mean "{_SQLITE}{path}"?'
        case "nats" | "tls":
            return f': did you mean "{scheme.lower()}:{rest}"?'
    return ""
