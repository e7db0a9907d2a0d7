"""The form of a panel in which a message is composed.

Owns its fields, and which of them are shown. Must not know: how a line is worded, who runs it.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from ..journal.facts import SERVER
from ..views.roster import Seat
from .composer import Cast, Draft
from .controls import Act, Soon, button, field, offer, row, widgets

__all__ = ["Form"]


class Form:
    """The fields of a message, and the line that sends it."""

    box: Any

    def __init__(self, soon: Soon, draft: Draft, cast: Cast, act: Act) -> None:
        self._cast = cast
        self._sender = field("Dropdown", "From", draft.sender, options=[draft.sender])
        self._event = field("Text", "Event", draft.event)
        self._data = field("Textarea", "Payload", draft.data, rows=2, placeholder="text, or JSON")
        self._target = field("Dropdown", "To", draft.target, options=[draft.target])
        self._who = field("Combobox", "Which", draft.who, options=[])
        self._namespace = field("Dropdown", "Namespace", draft.namespace, options=[draft.namespace])
        self._rooms: list[str] = []
        self._line = widgets.HTML()
        self._send = button(
            soon, "Run this line", "Run the line beside this button", lambda: act(self.line)
        )
        self._send.button_style = "primary"
        self._fields = (
            self._sender, self._event, self._data, self._target, self._who, self._namespace
        )  # fmt: skip
        for one in self._fields:
            soon.changed(one, self._update)
        self.box = widgets.VBox([row(*self._fields), row(self._send, self._line)])
        self._update()

    def line(self) -> str:
        """Return the line that sends the message. Raises `ValueError` saying what is missing."""
        sender, event, data, target, who, namespace = (one.value for one in self._fields)
        return Draft(sender, event, data, target, who, namespace).line(self._cast)

    def _update(self) -> None:
        whom = {"one client": "Client", "rooms": "Rooms", "a queue": "Queue"}
        target = self._target.value
        process = self._cast.kinds.get(self._sender.value) == "process"
        self._who.layout.display = None if target in whom and not process else "none"
        self._who.description = whom.get(target, "Which")
        self._who.options = [*self._cast.inside] if target == "one client" else self._rooms
        for one in (self._event, self._target):
            one.layout.display = "none" if process else None
        single = len(self._namespace.options) == 1  # no choice, as in a card
        self._namespace.layout.display = "none" if process or single else None
        try:
            text, kind = self.line(), ""
        except ValueError as error:
            text, kind = str(error), "chatq-complaint"
        self._send.disabled = bool(kind)  # the error is shown beside it
        body = html.escape(text)
        shown = f'<span class="{kind}">✗ {body}</span>' if kind else f"<code>{body}</code>"
        note = ""
        if not kind and not process and self._sender.value != SERVER and target != "the server":
            note = (
                f" <small>{html.escape(self._sender.value)} asks, and the server's handler runs "
                "such a line: a client itself emits to the server only.</small>"
            )
        self._line.value = f'<div class="chatq-line">{shown}{note}</div>'

    def show(self, seats: Iterable[Seat], namespaces: list[str], cast: Cast) -> None:
        """Offer these senders, rooms and namespaces."""
        self._cast = cast
        seats = [*seats]
        senders = [seat.name for seat in seats if seat.kind in ("client", "process")]
        offer(self._sender, [SERVER, *senders])
        offer(self._target, [*cast.targets()])
        offer(self._namespace, namespaces or ["/"])
        found = {
            str(room): None for seat in seats for rooms in seat.rooms.values() for room in rooms
        }
        self._rooms = [*found]
        self._update()
