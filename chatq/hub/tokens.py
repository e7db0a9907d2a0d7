"""The tokens of a hub: who knows one, and what that permits.

Owns the form of a token file, and how a token is compared. Must not know: clients, events, when a
file is read. No token is kept here, but what it hashes to, so that none can be shown.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

__all__ = ["Holder", "Right", "Tokens", "check_token"]

#: What may be done to a queue: publish to it; consume it; look after it (all else).
Right = Literal["publish", "consume", "manage"]
_RIGHTS: tuple[Right, ...] = get_args(Right)
_FIELDS = {"token", *_RIGHTS}
_TOKEN_WANTED = 'write token = "…", or a list of them, each in quotes'
_KINDS: dict[type, str] = {
    str: "text",
    list: "list",
    dict: "table",
    bool: "boolean",
    int: "number",
    float: "number",
}
#: The most characters of a token, and of a pattern.
_TOKEN, _PATTERN = 1_000, 100


@dataclass(frozen=True)
class Holder:
    """Who knows a token: the `name` that stands above it in the file, and patterns of the queues
    that may be published to, consumed, looked after."""

    name: str = ""
    publish: tuple[str, ...] = ("*",)
    consume: tuple[str, ...] = ("*",)
    manage: tuple[str, ...] = ("*",)
    digest: bytes = field(default=b"", repr=False)

    def may(self, right: Right, queue: str) -> bool:
        """Return whether this is permitted.

        In a pattern `*` stands for any characters, or none, and `?` for one; all else for itself.
        """
        patterns: tuple[str, ...] = getattr(self, right)
        return any(fnmatchcase(queue, pattern.replace("[", "[[]")) for pattern in patterns)

    @property
    def may_all(self) -> bool:
        """Return whether everything is permitted."""
        return all("*" in getattr(self, right) for right in _RIGHTS)


class Tokens:
    """What a hub knows of tokens; `of` makes it of one token, `read` of the text of a file."""

    def __init__(self, holders: Iterable[Holder]) -> None:
        self._holders = [*holders]

    @classmethod
    def of(cls, token: str) -> Tokens:
        """Return one token that permits everything. Raises `ValueError` for what is none."""
        check_token(token)
        return cls([Holder(digest=_digest(token))])

    @classmethod
    def read(cls, text: str, toml: bool) -> Tokens:
        """Return the tokens in the text of a file: one alone, or with `toml` a table for each.

        Raises `ValueError`, which quotes no token.
        """
        text = text.removeprefix("\ufeff")
        if toml:
            return cls(_tables(text))
        lines = [line for line in text.splitlines() if line.strip()]
        if not lines:
            raise ValueError("it is empty")
        if len(lines) > 1:
            raise ValueError(
                "it has several lines: a file of one token has one; one of several is TOML, and "
                "its name ends with .toml"
            )
        return cls.of(lines[0].strip())

    def find(self, given: object) -> Holder | None:
        """Return who knows this token; None: nobody. It takes the same time for all."""
        digest = _digest(given if isinstance(given, str) else "")
        found = None
        for holder in self._holders:
            if hmac.compare_digest(holder.digest, digest):
                found = holder
        return found if isinstance(given, str) else None

    def __contains__(self, holder: object) -> bool:
        """Whether this token is known, and permits what it did."""
        return holder in self._holders

    @property
    def may_all(self) -> bool:
        """Return whether each of them permits everything."""
        return all(holder.may_all for holder in self._holders)

    def __repr__(self) -> str:
        return f"<Tokens: {len(self._holders)}>"


def check_token(token: str) -> None:
    """Raise `ValueError`, which does not quote it, for what is no token."""
    if not token.strip():
        raise ValueError("a token that is empty keeps nobody out")
    if token != token.strip() or not token.isprintable() or len(token) > _TOKEN:
        raise ValueError(
            f"a token has at most {_TOKEN:,} printable characters, and no space at its ends"
        )


def _tables(text: str) -> list[Holder]:
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:  # its text may quote the file
        place = re.search(r"\(at [a-z0-9, ]+\)$", str(problem))
        what = "a name comes twice" if "twice" in str(problem) else "it is no TOML"
        raise ValueError(f"{what} {place[0] if place else ''}".strip()) from None
    if not tables:
        raise ValueError("it is empty")
    holders: dict[bytes, Holder] = {}
    for name, table in tables.items():
        for holder in _holders(name, table):
            if holder.digest in holders:
                raise ValueError(f"{holders[holder.digest].name} and {name} have the same token")
            holders[holder.digest] = holder
    return [*holders.values()]


def _holders(name: str, table: Any) -> list[Holder]:
    if not name.isprintable() or not 0 < len(name) <= _PATTERN:
        raise ValueError(f"a name has 1 to {_PATTERN} printable characters, not {name!r:.60}")
    if not isinstance(table, dict):
        raise ValueError(
            f"{name} is {_kind(table)}, and in no table: above each token stands its name, as "
            "[kitchen]"
        )
    for given in table:
        if given not in _FIELDS:
            known = ", ".join(sorted(_FIELDS))
            raise ValueError(f"[{name}] has {given!r:.60}, which nobody knows: there are {known}")
    tokens = _tokens(name, table)
    rights = {right: _patterns(name, right, table.get(right, [])) for right in _RIGHTS}
    if not any(rights.values()):
        raise ValueError(
            f'[{name}] may do nothing: write publish, consume or manage, as in publish = ["orders"]'
        )
    for token in tokens:
        try:
            check_token(token)
        except ValueError as problem:
            raise ValueError(f"[{name}] token: {problem}") from None
    return [Holder(name, **rights, digest=_digest(token)) for token in tokens]


def _tokens(name: str, table: dict[str, Any]) -> list[str]:
    if "token" not in table:
        raise ValueError(f"[{name}] has no token: {_TOKEN_WANTED}")
    given = table["token"]
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        raise ValueError(f"[{name}] token is {_kind(given)}: {_TOKEN_WANTED}")
    for n, each in enumerate(given, 1):
        if not isinstance(each, str):
            raise ValueError(f"[{name}] token: number {n} is {_kind(each)}: {_TOKEN_WANTED}")
    return given


def _patterns(name: str, right: str, given: Any) -> tuple[str, ...]:
    wanted = f'write a list of queues, or patterns of them, as {right} = ["orders", "shop-*"]'
    if not isinstance(given, list):
        raise ValueError(f"[{name}] {right} is {_kind(given)}: {wanted}")
    for n, each in enumerate(given, 1):
        wrong = None if isinstance(each, str) and each else _kind(each)
        if wrong is None and not (each.isprintable() and len(each) <= _PATTERN):
            wrong = f"no name: at most {_PATTERN} printable characters"
        if wrong is not None:
            raise ValueError(f"[{name}] {right}: number {n} is {wrong}: {wanted}")
    return tuple(given)


def _kind(value: object) -> str:
    """Return what a value of TOML is, without quoting it: it may be a secret."""
    if value in ("", [], {}):
        return f"an empty {_KINDS[type(value)]}"
    return f"a {_KINDS.get(type(value), 'date or a time')}"


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
