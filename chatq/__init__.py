"""See who got which message: real Socket.IO servers and clients on a stage that keeps a journal."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .exercises.check import check
    from .hub.nats_manager import NatsManager
    from .peers.connection import Refused
    from .peers.consumer import Consumer
    from .peers.outbox import Outbox
    from .queues.policy import Rules
    from .queues.queues import Queues
    from .queues.store import QueueFull, StoreError
    from .stage.composer import Draft
    from .stage.explain import Reason
    from .stage.journal import Journal
    from .stage.nats_server import NatsServers
    from .stage.prediction import Prediction
    from .stage.settle import NotSettled
    from .stage.stage import HandlerRaised, Stage

__all__ = [
    "Consumer",
    "Draft",
    "HandlerRaised",
    "Journal",
    "NatsManager",
    "NatsServers",
    "NotSettled",
    "Outbox",
    "Prediction",
    "QueueFull",
    "Queues",
    "Reason",
    "Refused",
    "Rules",
    "Stage",
    "StoreError",
    "check",
]
__version__ = "0.1.0"

_HOMES = {
    "Consumer": "peers.consumer",
    "Draft": "stage.composer",
    "HandlerRaised": "stage.stage",
    "Journal": "stage.journal",
    "NatsManager": "hub.nats_manager",
    "NatsServers": "stage.nats_server",
    "NotSettled": "stage.settle",
    "Outbox": "peers.outbox",
    "Prediction": "stage.prediction",
    "QueueFull": "queues.store",
    "Queues": "queues.queues",
    "Reason": "stage.explain",
    "Refused": "peers.connection",
    "Rules": "queues.policy",
    "Stage": "stage.stage",
    "StoreError": "queues.store",
    "check": "exercises.check",
}


def __getattr__(name: str) -> object:
    # Imported when first asked for: `python -m chatq doctor` has to run where nothing is installed.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
