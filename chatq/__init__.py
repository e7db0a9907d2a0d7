"""See who got which message: real Socket.IO servers and clients on a stage that keeps a journal."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Refused
    from .consumer import Consumer
    from .explain import Reason
    from .journal import Journal
    from .outbox import Outbox
    from .policy import Rules
    from .queues import Queues
    from .settle import NotSettled
    from .stage import HandlerRaised, Stage
    from .store import QueueFull, StoreError

__all__ = [
    "Consumer",
    "HandlerRaised",
    "Journal",
    "NotSettled",
    "Outbox",
    "QueueFull",
    "Queues",
    "Reason",
    "Refused",
    "Rules",
    "Stage",
    "StoreError",
]
__version__ = "0.1.0"

_HOMES = {
    "Consumer": "consumer",
    "HandlerRaised": "stage",
    "Journal": "journal",
    "NotSettled": "settle",
    "Outbox": "outbox",
    "QueueFull": "store",
    "Queues": "queues",
    "Reason": "explain",
    "Refused": "connection",
    "Rules": "policy",
    "Stage": "stage",
    "StoreError": "store",
}


def __getattr__(name: str) -> object:
    # Imported when first asked for: `python -m chatq doctor` has to run where nothing is installed.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
