"""A fact in words: what happened, in one line.

Owns the words. Must not know: the stage, sockets, why a message did not arrive, pictures.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..journal.facts import (
    SERVER,
    Acknowledged,
    Connected,
    Died,
    Disconnected,
    Emitted,
    Ended,
    Fact,
    Froze,
    HungUp,
    Joined,
    Killed,
    Left,
    MessageRef,
    NotUnderstood,
    Raised,
    Received,
    Redriven,
    Rejected,
    Returned,
    Settled,
    Subscribed,
    Thawed,
    Tried,
    Unsubscribed,
)
from .deliveries import label
from .explain import Message
from .sentence import target

__all__ = ["told"]


def told(fact: Fact, messages: Mapping[int, Message]) -> str:
    """Return what happened; `messages`: those that the facts so far are about, by number."""
    match fact:
        case Connected() | Rejected() | Disconnected() if fact.server != SERVER:
            return _outside(fact)
        case Connected(client, namespace):
            return f"{client} connects{_namespace('to', namespace)}"
        case Rejected(client, namespace, reason):
            return f"{client} is refused{_namespace('to', namespace)}: {reason}"
        case Disconnected(client, namespace, reason):
            return f"{client} is gone{_namespace('from', namespace)}: {reason}"
        case Joined(client, namespace, room):
            return f"{client} joins room {room!r}{_namespace('of', namespace)}"
        case Left(client, namespace, room, gone):
            since = ", since it is gone" if gone else ""
            return f"{client} leaves room {room!r}{_namespace('of', namespace)}{since}"
        case HungUp(client):
            return f"{client} hangs up"
        case Ended(client):
            return f"{client} closes its end of the connection"
        case Froze(client):
            return f"{client} freezes"
        case Thawed(client):
            return f"{client} thaws"
        case Killed(client):
            return f"{client} is killed"
        case Subscribed(client, queue):
            return f"{client} consumes queue {queue!r}"
        case Unsubscribed(client, queue):
            return f"{client} no longer consumes queue {queue!r}"
        case Raised(client, event, error):
            return f"{client}'s handler of {event!r} raised {error}"
        case Emitted():
            return _emitted(fact, messages.get(fact.message))
    message = messages.get(fact.message) if isinstance(fact.message, int) else None
    outside = message is not None and message.from_other_server
    return _of_a_message(fact, _name(fact.message, messages), outside)


def _outside(fact: Connected | Rejected | Disconnected) -> str:
    client, server = fact.client, fact.server
    place = server if fact.namespace == "/" else f"{fact.namespace} of {server}"
    match fact:
        case Connected():
            return f"{client} connects to {place}"
        case Rejected(reason=reason):
            return f"{client} is refused by {place}: {reason}"
    return f"{client} is no longer connected to {place}: {fact.reason}"


def _of_a_message(fact: Fact, event: str, outside: bool) -> str:
    match fact:
        case Acknowledged(client=client, data=data) if outside:
            return f"{client} acknowledges {event}, with {data or 'nothing'}"
        case Received(client=client, handled=True):
            return f"{client} gets {event}"
        case Received(client=client):
            return f"{event} arrives at {client}, where no handler listens to it"
        case NotUnderstood(client=client, error=error):
            return f"{event} arrives at {client}, which cannot take it in: {error}"
        case Acknowledged(client=client, data=data):
            return f"{client}'s acknowledgement of {event} comes back, with {data or 'nothing'}"
        case Tried(client=client, attempt=attempt):
            return f"attempt {attempt} of {event} begins, with {client}"
        case Settled(client=client):
            return f"{client} answers with the receipt of {event}: it is settled, and deleted"
        case Returned(client=client, reason=reason):
            return f"{event} of {client} is back in its queue: {reason}"
        case Died(reason=reason):
            return f"{event} is dead: {reason}"
        case Redriven():
            return f"{event} is back in its queue: redriven"
    raise AssertionError(f"a fact without words: {fact}")


def _emitted(emitted: Emitted, message: Message | None) -> str:
    if message is None:
        return f"{emitted.sender} emits {emitted.event!r}"
    where = "" if emitted.queue else _namespace("in", emitted.namespace)
    if stored := message.attempt_of:
        recipients = ", ".join(emitted.recipients) or "nobody"
        return f"{label(message)} is sent to {recipients}, from {target(stored.emitted)}"
    if message.from_other_server:
        return f"{label(message)} comes from {emitted.sender} to {target(emitted)}{where}"
    nobody = ": nobody is there" if message.reached_nobody else ""
    return f"{emitted.sender} emits {label(message)} to {target(emitted)}{where}{nobody}"


def _name(number: MessageRef, messages: Mapping[int, Message]) -> str:
    message = messages.get(number) if isinstance(number, int) else None
    return f"message {number}" if message is None else repr(message.emitted.event)


def _namespace(preposition: str, namespace: str) -> str:
    return "" if namespace == "/" else f" {preposition} {namespace}"
