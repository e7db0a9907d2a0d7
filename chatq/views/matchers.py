"""Questions about deliveries with yes or no for an answer, and the answer says why.

Owns the answer, and how each question is decided from the messages. Must not know: how a reason is
found, the table, who asks.

Rules
- What is asked about has to be there: a name that no client has, or an event that nobody emitted,
  is a `LookupError`, never a yes.
- A yes is about all messages of that name. If the journal has dropped facts it cannot be given.
- Each attempt to deliver a message of a queue counts by itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .explain import ARRIVED, Message, Reason, explanation_of
from .sentence import sentence

__all__ = ["Verdict", "got_in_order", "got_once", "nobody_got"]

#: Reasons that leave it open whether the message is, or will be, read at the client.
_MAYBE = (Reason.SENT, Reason.ON_THE_WAY, Reason.FROZEN)


class Verdict:
    """A yes or no, as its truth; its text says why."""

    def __init__(self, holds: bool, why: str) -> None:
        self._holds, self._why = holds, why

    def __bool__(self) -> bool:
        return self._holds

    def __repr__(self) -> str:
        return self._why


def got_in_order(
    messages: Sequence[Message], client: str, events: Sequence[str], cut: str
) -> Verdict:
    """Return whether the handlers of `client` took, of these events, exactly these in this order.

    `messages`: all with these names, attempts to deliver those of queues among them; `cut`: what
    the journal has dropped, in words.
    """
    wanted = [*events]
    taken = [message.emitted.event for message in _taken(messages, client)]
    if taken == wanted:
        return _yes(f"{client} got {_listed(taken)}", cut)
    missing = [event for event in dict.fromkeys(wanted) if event not in taken]
    reasons = [sentence(_last(messages, event), client) for event in missing]
    text = f"{client} got {_listed(taken)}, and not {_listed(wanted)}"
    return Verdict(False, ". ".join([text, *reasons]))


def got_once(messages: Sequence[Message], client: str, event: str, cut: str) -> Verdict:
    """Return whether the handlers of `client` took `event` exactly once; see `got_in_order`."""
    taken = _taken(messages, client)
    if len(taken) == 1:
        return _yes(f"{client} got {event!r} once", cut)
    if not taken:
        return Verdict(False, sentence(_last(messages, event), client))
    numbers = Counter((message.attempt_of or message).emitted.message for message in taken)
    each = [f"{n}" + (f" ({times} attempts)" if times > 1 else "") for n, times in numbers.items()]
    kind = "message" if len(each) == 1 else "messages"
    text = f"{client} got {event!r} {len(taken)} times: {kind} {', '.join(each)} of the table"
    return Verdict(False, text)


def nobody_got(messages: Sequence[Message], event: str, cut: str) -> Verdict:
    """Return whether `event` has arrived at nobody, and is on its way to nobody; see
    `got_in_order`."""
    reached = {
        name: sentence(message, name)
        for message in messages
        for name, explanation in message.explanations.items()
        if explanation.reason in (*ARRIVED, Reason.NOT_UNDERSTOOD, *_MAYBE)
    }
    if not reached:
        return _yes(f"nobody got {event!r}", cut)
    return Verdict(False, " ".join(reached.values()))


def _yes(text: str, cut: str) -> Verdict:
    """Return a yes; if the journal has dropped facts, that it cannot be given."""
    return Verdict(not cut, f"{text}, as far as the journal knows; {cut}" if cut else text)


def _taken(messages: Sequence[Message], client: str) -> list[Message]:
    """Return the messages that the handlers of `client` have taken, in the order of arrival."""
    found = [(explanation_of(m, client), m) for m in messages if not m.life]
    taken = [(e.place, m) for e, m in found if e.reason is Reason.RECEIVED]
    return [message for _, message in sorted(taken, key=lambda each: each[0])]


def _last(messages: Sequence[Message], event: str) -> Message:
    """Return the last message of that name, not an attempt to deliver one."""
    return [m for m in messages if m.emitted.event == event and not m.attempt_of][-1]


def _listed(events: Sequence[str]) -> str:
    return " then ".join(map(repr, events)) or "none of them"
