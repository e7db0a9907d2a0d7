"""Validation and encoding of messages: JSON, with bytes as attachments.

Owns the limits of names, keys and data, and the encoding. Must not know: how a message is kept, how
it is sent.

A body of text is JSON. If there are bytes anywhere in the data, the body is bytes: a line of JSON
that holds the sizes of the attachments and the data with a place-holder for each, then the
attachments.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from typing import Any

from ..fast import dumps
from .store import Body, NewMessage
from .values import DEEPEST, check_values, is_plain

__all__ = [
    "TooLarge",
    "attachments",
    "check_event",
    "check_queue",
    "decode",
    "encode",
    "new_message",
    "plain_body",
]

_RESERVED = {"connect", "disconnect", "connect_error", "deliveries"}
_LONGEST_NAME = 100  # characters
_LONGEST_KEY = 500
#: Names that were checked before, so many at most.
_MOST_NAMES = 10_000
_known_events: set[str] = set()
_known_queues: set[str] = set()


class TooLarge(ValueError):
    """The data of a message is larger than a message may be."""


def new_message(
    event: str,
    data: Any,
    to: str | Sequence[str],
    key: str | None,
    ttl: float | None,
    longest: int,
    now: float,
    delay: float | None = None,
) -> NewMessage:
    """Return the message with these parts, each of them checked.

    `longest`: the limit of its data, in bytes; `ttl`, `delay`: in seconds from `now`. Raises
    `TypeError` or `ValueError`, saying which part is wrong.
    """
    check_event(event)
    _check_one(data)
    queues = (to,) if isinstance(to, str) else tuple(to) if isinstance(to, (list, tuple)) else ()
    for name in queues:
        _check_queue_once(name)
    if not queues or len(set(queues)) < len(queues):
        raise ValueError(f"a message goes to one queue or several different ones, not {to!r:.120}")
    if key is not None:
        _check_text("a key", key, _LONGEST_KEY)
    expires, due = _later("ttl", ttl, now), _later("delay", delay, now)
    if expires is not None and due is not None and expires <= due:
        raise ValueError(
            f"a message with delay={delay!r} and ttl={ttl!r} would have expired before it is "
            "delivered: give a ttl, from now, that is longer than the delay"
        )
    return NewMessage(event, encode(data, longest), queues, key, expires, due)


def plain_body(event: str, data: Any, queue: str, longest: int) -> Body:
    """Return the body of a message that has only these parts, each of them checked as by
    `new_message`, quickly if its names, which are text, have been seen before."""
    if event not in _known_events:
        check_event(event)
        _remember(_known_events, event)
    if queue not in _known_queues:
        check_queue(queue)
        _remember(_known_queues, queue)
    if type(data) is not dict:
        _check_one(data)
    return encode(data, longest)


def _check_queue_once(name: str) -> None:
    if type(name) is not str or name not in _known_queues:  # what has no hash is no name
        check_queue(name)
        _remember(_known_queues, name)


def _remember(names: set[str], name: str) -> None:
    if len(names) >= _MOST_NAMES:
        names.clear()
    names.add(name)


def _check_one(data: Any) -> None:
    if isinstance(data, tuple):  # python-socketio makes several arguments of one
        raise TypeError("a message has one value: give a list or a dict instead of a tuple")


def _later(what: str, seconds: object, now: float) -> float | None:
    if seconds is None:
        return None
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds < 1e10:  # type: ignore[operator]
        raise ValueError(f"{what} is a number of seconds above 0, not {seconds!r:.120}")
    return now + seconds  # type: ignore[operator]


def check_queue(name: object) -> None:
    """Raise `TypeError` or `ValueError` if `name` cannot be the name of a queue."""
    _check_text("a queue's name", name, _LONGEST_NAME)


def check_name(name: object) -> None:
    """Raise `TypeError` or `ValueError` if `name` cannot be the name of a consumer."""
    _check_text("a consumer's name", name, _LONGEST_NAME)


def check_event(event: object) -> None:
    """Raise `TypeError` or `ValueError` if `event` cannot be the event of a message."""
    _check_text("an event's name", event, _LONGEST_NAME)
    if event in _RESERVED:
        raise ValueError(f"the event {event!r} is the protocol's own: take another name")


def _check_text(what: str, text: object, longest: int) -> None:
    if not isinstance(text, str):
        raise TypeError(f"{what} is text, not {type(text).__name__}")
    if not 0 < len(text) <= longest or not text.isprintable():
        raise ValueError(f"{what} has 1 to {longest} printable characters, not {text!r:.120}")


def encode(data: Any, longest: int) -> Body:
    """Return the body for `data`.

    `longest`: its limit in bytes. Raises `TypeError` or `ValueError` for a value that would not
    arrive as it is, with its place in the data; `TooLarge` for a body above the limit.
    """
    try:
        body = _shallow(dumps(data)) if is_plain(data) else _encode(data)
    except (TypeError, ValueError, RecursionError):
        check_values(data)  # it says more
        raise
    if len(body) > longest:
        raise TooLarge(f"a message's data may have {longest} bytes as JSON, not {len(body)}")
    return body


def _encode(data: Any) -> Body:
    """Return the body for data that holds bytes, or types derived from those of JSON."""
    check_values(data)
    # Random, so that no data is mistaken for a place-holder.
    name = f"bytes {os.urandom(8).hex()}"
    found: list[bytes] = []

    def place(value: Any) -> dict[str, int]:
        found.append(bytes(value))
        return {name: len(found) - 1}

    text = json.dumps(data, separators=(",", ":"), allow_nan=False, default=place)
    if not found:
        return text
    sizes = json.dumps([len(attachment) for attachment in found])
    head = f'{{"sizes":{sizes},"place":"{name}","data":{text}}}\n'
    return b"".join([head.encode("ascii"), *found])


def decode(body: Body) -> Any:
    """Return the data of a body."""
    if isinstance(body, str):
        return json.loads(body)
    head, _, rest = body.partition(b"\n")
    read = json.loads(head)
    found = []
    for size in read["sizes"]:
        found.append(rest[:size])
        rest = rest[size:]
    return _put_back(read["data"], read["place"], found)


def attachments(body: Body) -> int:
    """Return the number of binary attachments of a body."""
    return 0 if isinstance(body, str) else len(json.loads(body.partition(b"\n")[0])["sizes"])


def _put_back(value: Any, place: str, found: list[bytes]) -> Any:
    if isinstance(value, list):
        return [_put_back(item, place, found) for item in value]
    if isinstance(value, dict):
        if place in value:
            return found[value[place]]
        return {key: _put_back(item, place, found) for key, item in value.items()}
    return value


def _shallow(text: str) -> str:
    """Return a JSON text; raise `ValueError` if it is nested too deeply."""
    # A short one has not room enough for that.
    if len(text) > 2 * DEEPEST and text.count("[") + text.count("{") > DEEPEST:
        depth = 0
        for mark in re.findall(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
            if mark[0] != '"':
                depth += 1 if mark in "[{" else -1
                if depth > DEEPEST:
                    raise ValueError(f"nested more than {DEEPEST} levels deep")
    return text
