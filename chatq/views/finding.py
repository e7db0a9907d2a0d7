"""Which message is meant by the name of an event, or by a number.

Owns that, and which messages of another server are alike. Must not know: sockets, the stage, how a
reason is found, how anything is drawn.

An emit of the stage's own server is one message, whoever gets it. What another server sends to each
client is a message of its own, since of its emits nothing is seen. So whoever asks about "the last"
of those means all that are like it: the same event with the same data, from the same server in the
same namespace.
"""

from __future__ import annotations

from collections.abc import Sequence

from .explain import Message

__all__ = ["alike", "find"]


def find(messages: Sequence[Message], which: str | int, client: str = "") -> Message:
    """Return the message with this number, or the last one with this event name; of messages that
    are alike, the last to `client`, if there is one.

    Raises `LookupError` naming the events that were emitted.
    """
    for message in reversed(messages):
        if which == message.emitted.event and message.attempt_of:
            continue  # the message that was stored is meant
        if which == message.emitted.message:
            return message
        if which == message.emitted.event:
            same = [m for m in alike(messages, message) if client in m.emitted.recipients]
            return same[-1] if same else message
    known = sorted({m.emitted.event for m in messages})
    raise LookupError(f"no message {which!r} was emitted; emitted so far: {known or 'nothing'}")


def alike(messages: Sequence[Message], message: Message) -> list[Message]:
    """Return the messages that are like `message`, which is one of them; but for those from another
    server, each is like none."""
    if not message.from_other_server:
        return [message]
    kind = _kind(message)
    return [each for each in messages if each.from_other_server and _kind(each) == kind]


def _kind(message: Message) -> tuple[str, ...]:
    emitted = message.emitted
    return emitted.sender, emitted.event, emitted.data, emitted.namespace
