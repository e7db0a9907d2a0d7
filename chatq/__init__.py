"""Real Socket.IO servers and clients on a stage that records who got which message, and why."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clients.consumer import Consumer
    from .clients.outbox import Outbox, Rejected
    from .clients.session import Refused
    from .clients.transaction import emit_in_transaction, outbox_insert
    from .course.check import check
    from .course.predict import predict
    from .journal.activity import NotSettled
    from .journal.facts import (
        Died,
        Queued,
        QueueFact,
        Redriven,
        Returned,
        Settled,
        Stored,
        Subscribed,
        Tried,
        Unsubscribed,
    )
    from .journal.journal import Journal
    from .panel.composer import Draft
    from .queues.frame import Delivery
    from .queues.message import TooLarge
    from .queues.nats.client_manager import NatsManager
    from .queues.observers import Observer
    from .queues.queues import DeadMessage, Queues
    from .queues.rules import Rules
    from .queues.store import Kept, NewMessage, QueueFull, QueuesClosed, Stats, StoreError
    from .stage.nats_server import NatsServers
    from .stage.scene import HandlerRaised
    from .stage.stage import Stage
    from .testing.stages import Stages
    from .views.explain import Reason

__all__ = [
    "Consumer",
    "DeadMessage",
    "Delivery",
    "Died",
    "Draft",
    "HandlerRaised",
    "Journal",
    "Kept",
    "NatsManager",
    "NatsServers",
    "NewMessage",
    "NotSettled",
    "Observer",
    "Outbox",
    "QueueFact",
    "QueueFull",
    "Queued",
    "Queues",
    "QueuesClosed",
    "Reason",
    "Redriven",
    "Refused",
    "Rejected",
    "Returned",
    "Rules",
    "Settled",
    "Stage",
    "Stages",
    "Stats",
    "StoreError",
    "Stored",
    "Subscribed",
    "TooLarge",
    "Tried",
    "Unsubscribed",
    "check",
    "emit_in_transaction",
    "outbox_insert",
    "predict",
]
__version__ = "0.1.0"

_HOMES = {
    "Consumer": "clients.consumer",
    "DeadMessage": "queues.queues",
    "Delivery": "queues.frame",
    "Died": "journal.facts",
    "Draft": "panel.composer",
    "HandlerRaised": "stage.scene",
    "Journal": "journal.journal",
    "Kept": "queues.store",
    "NatsManager": "queues.nats.client_manager",
    "NatsServers": "stage.nats_server",
    "NewMessage": "queues.store",
    "NotSettled": "journal.activity",
    "Observer": "queues.observers",
    "Outbox": "clients.outbox",
    "QueueFact": "journal.facts",
    "QueueFull": "queues.store",
    "Queued": "journal.facts",
    "Queues": "queues.queues",
    "QueuesClosed": "queues.store",
    "Reason": "views.explain",
    "Redriven": "journal.facts",
    "Refused": "clients.session",
    "Rejected": "clients.outbox",
    "Returned": "journal.facts",
    "Rules": "queues.rules",
    "Settled": "journal.facts",
    "Stage": "stage.stage",
    "Stages": "testing.stages",
    "Stats": "queues.store",
    "StoreError": "queues.store",
    "Stored": "journal.facts",
    "Subscribed": "journal.facts",
    "TooLarge": "queues.message",
    "Tried": "journal.facts",
    "Unsubscribed": "journal.facts",
    "check": "course.check",
    "emit_in_transaction": "clients.transaction",
    "outbox_insert": "clients.transaction",
    "predict": "course.predict",
}


def __getattr__(name: str) -> object:
    # Imported when first asked for: `python -m chatq doctor` has to run where nothing is installed.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
