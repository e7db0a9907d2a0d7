"""A message as an outbox keeps it: checked as its server will check it, with where it is to go.

Owns the form of what is kept. Must not know: where it is kept, how it is sent.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..queues.message import decode, encode, new_message
from ..queues.store import Body

__all__ = ["Envelope", "seal", "unseal"]

_MORE = 10_000  # bytes that names and keys may add to a message's data


class Envelope(NamedTuple):
    """A message with its key; `expires` in seconds since the epoch."""

    key: str
    event: str
    body: Body
    expires: float | None


def seal(
    event: str,
    data: Any,
    to: str | Sequence[str],
    key: str | None,
    ttl: float | None,
    delay: float | None,
    payload: int,
    now: float,
) -> Envelope:
    """Return a message as it is kept; its key is random if none is given.

    `payload`: the limit of its data, in bytes; `ttl`, `delay`: in seconds from `now`. Raises
    `TypeError` or `ValueError` for a message that no server accepts.
    """
    key = uuid.uuid4().hex if key is None else key
    checked = new_message(event, data, to, key, ttl, payload, now, delay)
    content = {"to": to if isinstance(to, str) else list(to), "key": key, "data": data}
    if checked.due is not None:
        content["due"] = checked.due
    return Envelope(key, event, encode(content, payload + _MORE), checked.expires)


def unseal(body: Body) -> dict[str, Any]:
    """Return what is kept: `to`, `key`, `data`, and `due`, the time of delivery in seconds since
    the epoch, 0 for at once.

    Raises `ValueError` if a foreign hand has written something else.
    """
    try:
        content = decode(body)
        return {
            "to": content["to"],
            "key": content["key"],
            "data": content["data"],
            "due": float(content.get("due", 0.0)),
        }
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(
            f"it is no message of an outbox ({type(error).__name__}: {error})"
        ) from None
