"""Real Socket.IO servers and clients on a stage that records who got which message, and why."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clients.consumer import Consumer
    from .clients.outbox import Outbox
    from .clients.session import Refused
    from .course.check import check
    from .course.prediction import Prediction
    from .journal.activity import NotSettled
    from .journal.journal import Journal
    from .panel.composer import Draft
    from .queues.nats.client_manager import NatsManager
    from .queues.queues import Queues
    from .queues.rules import Rules
    from .queues.store import QueueFull, StoreError
    from .stage.nats_server import NatsServers
    from .stage.scene import HandlerRaised
    from .stage.stage import Stage
    from .views.explain import Reason

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
    "Consumer": "clients.consumer",
    "Draft": "panel.composer",
    "HandlerRaised": "stage.scene",
    "Journal": "journal.journal",
    "NatsManager": "queues.nats.client_manager",
    "NatsServers": "stage.nats_server",
    "NotSettled": "journal.activity",
    "Outbox": "clients.outbox",
    "Prediction": "course.prediction",
    "QueueFull": "queues.store",
    "Queues": "queues.queues",
    "Reason": "views.explain",
    "Refused": "clients.session",
    "Rules": "queues.rules",
    "Stage": "stage.stage",
    "StoreError": "queues.store",
    "check": "course.check",
}


def __getattr__(name: str) -> object:
    # Imported when first asked for: `python -m chatq doctor` has to run where nothing is installed.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
