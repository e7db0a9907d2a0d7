"""Errors as replies to clients: their codes, which PROTOCOL.md lists.

Owns what code an exception has. Must not know: events, clients, the log.
"""

from __future__ import annotations

from typing import Any

from .message import TooLarge
from .store import QueueFull, QueuesClosed, StoreError

__all__ = ["CODES", "AuthorizationFailed", "Limit", "code_of", "error"]

#: All codes, as PROTOCOL.md lists them.
CODES = (
    "malformed",
    "too_large",
    "limit",
    "queue_full",
    "unknown_queue",
    "forbidden",
    "unavailable",
)


class AuthorizationFailed(RuntimeError):
    """The application could not say whether a client may do something."""


class Limit(RuntimeError):
    """A limit of one client, or of the server, is reached."""


def code_of(problem: Exception) -> str | None:
    """Return the code of an exception for the client; None for one that should never happen."""
    match problem:
        case TooLarge():
            return "too_large"
        case Limit():
            return "limit"
        case QueueFull():
            return "queue_full"
        case StoreError() | QueuesClosed() | AuthorizationFailed():
            return "unavailable"
        case PermissionError():
            return "forbidden"
        case TypeError() | ValueError():
            return "malformed"
        case LookupError():
            return "unknown_queue"
    return None


def error(code: str, message: str) -> dict[str, Any]:
    """Return the reply to a request that is refused."""
    return {"error": {"code": code, "message": message}}
