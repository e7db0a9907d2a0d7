"""An explanation in one sentence.

Owns the words. Must not know: how a reason is found, tables, pictures.
"""

from __future__ import annotations

from ..journal.facts import SERVER, Emitted
from .explain import Explanation, Message, Reason, explanation_of

__all__ = ["sentence", "target"]


def target(emitted: Emitted) -> str:
    """Return the addressees of a message, in words."""
    if emitted.queue:
        return f"queue {emitted.queue!r}"
    if emitted.sender != SERVER and not emitted.clients:
        return emitted.server
    parts = [*emitted.clients, *(f"room {room!r}" for room in emitted.rooms)]
    whom = " and ".join(parts) or "everyone"
    if emitted.skipped:
        whom += f" but {', '.join(emitted.skipped)}"
    return whom


def sentence(message: Message, client: str) -> str:
    """Return one sentence that says why `client` did, or did not, get `message`.

    Raises `LookupError` if there is no client of that name.
    """
    explanation = explanation_of(message, client)
    emitted, reason, detail = message.emitted, explanation.reason, explanation.detail
    event = repr(emitted.event)
    not_got = f"{client} did not get {event}"
    rooms = " or ".join(repr(room) for room in emitted.rooms)
    sender = "was the sender that skip_sid left out"
    skipped = sender if message.cause_sender == client else "was left out by skip_sid"
    text = {
        Reason.RECEIVED: f"{client} got {event}",
        Reason.SENT: f"{event} was sent to {client}; whether it arrived, only {client} knows",
        Reason.NO_HANDLER: f"{event} arrived at {client}, but no handler listens to that name",
        Reason.RAISED: f"{client} got {event}, but its handler raised {detail}",
        Reason.NOT_UNDERSTOOD: f"{event} arrived at {client}, which could not take it in: {detail}",
        Reason.SENDER: f"{client} sent {event} itself",
        Reason.TO_SERVER: f"{not_got}: {_between_others(message, explanation)}",
        Reason.ON_THE_WAY: f"{event} is still on its way to {client}: settle first",
        Reason.FROZEN: f"{event} waits before {client}, which is frozen and reads nothing",
        Reason.NOT_YET: f"{not_got}: it was not connected yet",
        Reason.LEFT: f"{not_got}: it had already left ({detail})",
        Reason.CUT_OFF: f"{not_got}: its connection was already lost ({detail})",
        Reason.REFUSED: f"{not_got}: {emitted.namespace} had refused it ({detail})",
        Reason.OTHER_NAMESPACE: f"{not_got}: it is connected, but not to {emitted.namespace}",
        Reason.OTHER_SERVER: f"{not_got}: it was connected to {detail}",
        Reason.NOT_ADDRESSED: f"{not_got}: it was sent to {target(emitted)} alone",
        Reason.NOT_IN_ROOM: f"{not_got}: it was not in room {rooms}",
        Reason.LEFT_ROOM: f"{not_got}: it {detail}",
        Reason.SKIPPED: f"{not_got}: it {skipped}",
        Reason.LOST: f"{not_got}: the connection ended before it arrived",
        Reason.WAITING: f"{not_got}: it waits in {target(emitted)}",
        Reason.OTHER_CONSUMER: f"{not_got}: it {_went(message)} {detail}, from {target(emitted)}",
        Reason.EXPIRED: f"{not_got}: it expired in {target(emitted)}",
        Reason.DEAD: f"{not_got}: it is dead in {target(emitted)} ({detail})",
    }[reason]
    if explanation.early:
        text += f", though {emitted.namespace} had not let it in"
    if explanation.late:
        text += ", late: the server had given it up"
    if explanation.attempt:
        text += f" ({explanation.attempt}{_whereabouts(message)})"
    if explanation.acknowledged is not None:
        acknowledged = f"acknowledged it with {explanation.acknowledged or 'nothing'}"
        if reason is Reason.SENT and not explanation.attempt:  # so it has arrived
            text = f"{event} was sent to {client}, which {acknowledged}"
        else:
            text += f" and {acknowledged}"
    if message.reached_nobody:
        text += "; the emit reached nobody at all"
    return f"{text}."


def _between_others(message: Message, explanation: Explanation) -> str:
    """Return between whom a message is that is none of a client's, or of a server's, business."""
    emitted = message.emitted
    if message.from_other_server:
        to = target(emitted)
        return f"this one came from {emitted.sender} to {to}; each client's is a message of its own"
    if explanation.outside and emitted.server == SERVER:
        return "it is a server itself, and no client of this one"
    server = "the server" if emitted.server == SERVER else emitted.server
    return f"{emitted.sender} sent it to {server}, and only there"


def _went(message: Message) -> str:
    return "is out to" if message.life and message.life.state == "out" else "went to"


def _whereabouts(message: Message) -> str:
    """Return the state of a message of a queue in words, if its last attempt does not say it."""
    life = message.life
    if life is None or life.state in ("out", "settled"):
        return ""
    where = f"now it {life.state} in" if life.state == "waits" else f"now it is {life.state} in"
    return f"; {where} {target(message.emitted)}" + (f": {life.detail}" if life.detail else "")
