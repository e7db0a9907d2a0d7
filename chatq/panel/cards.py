"""The cards of a panel: one for each client, process or node, and a row for each queue.

Owns their buttons, and when these are enabled. Must not know: how a line is worded, who runs it,
when anything is drawn.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable
from typing import Any, Protocol

from ..views.looks import Mark, badge
from ..views.roster import Roster, Seat
from . import composer
from .controls import Act, Soon, button, row, widgets

__all__ = ["Card", "NodeCard", "NodeLike", "QueueRow"]


class Card:
    """One client: its state, and buttons for what can be done to it."""

    box: Any

    def __init__(self, soon: Soon, seat: Seat, act: Act, found: Any) -> None:
        name = seat.name
        self._status = widgets.HTML()
        self._buttons: dict[str, Any] = {}
        self._on, self._frozen = seat.on_a_line, seat.frozen
        parts = [self._status]

        self._busy = False  # a line of this card runs

        def offer(text: str, line: Callable[[], str], tooltip: str = "") -> Any:
            made = button(soon, text, tooltip or line(), lambda: self._begin(act, line))
            self._buttons[text] = made
            return made

        def of_stage(what: str) -> Callable[[], str]:
            return lambda: composer.of_stage(what, name)

        def ice() -> str:
            return composer.of_stage("thaw" if self._frozen else "freeze", name)

        if seat.kind == "client":
            room = widgets.Text(
                description="Room",
                style={"description_width": "38px"},
                layout=widgets.Layout(width="130px", margin="2px"),
            )
            self._where = widgets.Dropdown(
                description="of",
                options=["/"],
                layout=widgets.Layout(width="130px", display="none"),
                style={"description_width": "20px"},
            )

            def hook() -> str:
                client = found[name]
                return composer.hang_up(name) if self._on else composer.dial(name, client.dialled)

            def enter() -> str:
                return composer.enter(name, room.value, self._where.value)

            def leave() -> str:
                return composer.leave(name, room.value, self._where.value)

            self._rooms = row(
                room,
                self._where,
                offer("Join", enter, "sio.enter_room"),
                offer("Leave", leave, "sio.leave_room"),
            )
            parts += [
                offer("Hang up", hook, "disconnect, or connect again"),
                offer("Cut", of_stage("cut")),
                offer("Freeze", ice, "freeze, or thaw"),
                self._rooms,
            ]
        elif seat.kind == "process":
            self._printed = widgets.HTML()
            parts += [
                offer("Start again", of_stage("restart")),
                offer("Kill", of_stage("kill")),
                offer("Freeze", ice, "freeze, or thaw"),
                offer("Cut", of_stage("cut")),
                offer("Mend", of_stage("mend")),
                self._printed,
            ]
        self.box = row(*parts)
        self.box.add_class("chatq-card")

    def show(self, seat: Seat, found: Any, mark: Mark) -> None:
        """Show the client as it is now."""
        state = seat.state
        self._on, self._frozen = seat.on_a_line, seat.frozen
        if seat.kind == "client":
            self._set_button("Hang up" if self._on else "Dial", "Hang up", may=not self._frozen)
            self._set_button("Cut", "Cut", may=self._on or self._frozen)
            for text in ("Join", "Leave"):
                self._set_button(text, text, may=seat.connected)
            self._rooms.layout.display = None if seat.connected else "none"
            self._offer_namespaces([*seat.rooms] or ["/"])
        elif seat.kind == "process":
            process = found[seat.name]
            self._frozen = process.frozen
            if not self._frozen:  # else `state` says so already
                state = f"{state}, {process.state}"
            self._set_button("Start again", "Start again", may=True)
            self._set_button("Kill", "Kill", may=process.code is None)
            for text in ("Cut", "Mend"):  # its own line; of those who dial it, each has its own
                self._set_button(text, text, may=process.code is None and not seat.only_serves)
            lines = [html.escape(line[:120]) for line in process.lines[-3:]]
            printed = f'<div class="chatq-log"><pre>{"<br>".join(lines)}</pre></div>'
            self._printed.value = printed if lines else ""
        if seat.kind in ("client", "process"):
            runs = seat.kind == "process" and found[seat.name].code is None
            self._set_button(
                "Thaw" if self._frozen else "Freeze", "Freeze", may=self._frozen or self._on or runs
            )
        self._status.value = (
            f"{badge(mark)}<strong>{html.escape(seat.name)}</strong> {html.escape(state)} "
            f"<small>{html.escape(seat.places)}</small>"
        )

    def _begin(self, act: Act, line: Callable[[], str]) -> asyncio.Task[None] | None:
        """Run the line, unless one of this card runs: then it is an accidental second click."""
        if self._busy or not (running := act(line)):
            return None
        self._busy = True
        for one in self._buttons.values():
            one.disabled = True
        running.add_done_callback(self._done)
        return running

    def _done(self, _: object) -> None:
        self._busy = False  # the buttons are enabled when the panel is drawn next

    def _set_button(self, text: str, button: str, *, may: bool) -> None:
        """Set a button's text, and enable it if it `may` be clicked."""
        self._buttons[button].description = text
        self._buttons[button].disabled = self._busy or not may

    def _offer_namespaces(self, namespaces: list[str]) -> None:
        if [*self._where.options] != namespaces:
            chosen = self._where.value
            self._where.options = namespaces
            self._where.value = chosen if chosen in namespaces else namespaces[0]
        self._where.layout.display = "none" if namespaces == ["/"] else None


class NodeLike(Protocol):
    """The interface of a node of a cluster that a card needs."""

    name: str

    @property
    def runs(self) -> bool:
        """Return whether it runs."""

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change."""


class NodeCard:
    """One node of the cluster below the queues: whether it runs, and buttons for that."""

    box: Any

    def __init__(self, soon: Soon, number: int, node: NodeLike, act: Act) -> None:
        self._node, self._status = node, widgets.HTML()

        def offer(text: str, what: str) -> Any:
            line = composer.of_node(what, number)
            return button(soon, text, line, lambda: act(lambda: line))

        self._kill, self._start = offer("Kill", "kill"), offer("Start", "start")
        self.box = row(self._status, self._kill, self._start)
        self.box.add_class("chatq-card")

    def show(self) -> None:
        """Show the node as it is now."""
        runs = self._node.runs
        state = "● runs" if runs else "○ is off"
        self._status.value = f"<strong>{html.escape(self._node.name)}</strong> {state}"
        self._kill.disabled, self._start.disabled = not runs, runs


class QueueRow:
    """One queue: buttons for its consumers and its dead letters."""

    box: Any

    def __init__(self, soon: Soon, name: str, act: Act) -> None:
        self._rooms: dict[str, list[str]] = {}
        self._client = widgets.Dropdown(
            description=f"Queue {name}"[:40],
            options=[""],
            style={"description_width": "initial"},
            layout=widgets.Layout(width="auto", margin="2px"),
        )

        def consume(on: bool) -> Callable[[], str]:
            def line() -> str:
                client = self._client.value
                if not client:
                    raise ValueError("no client is connected: let one dial first")
                return composer.consume(client, name, self._rooms.get(client, ["/"])[0], on=on)

            return line

        self.box = row(
            self._client,
            button(soon, "Listen", "queues.subscribe", lambda: act(consume(True))),
            button(soon, "Stop listening", "queues.unsubscribe", lambda: act(consume(False))),
            button(
                soon,
                "Redrive the dead",
                composer.redrive(name),
                lambda: act(lambda: composer.redrive(name)),
            ),
        )

    def show(self, clients: tuple[str, ...], roster: Roster) -> None:
        """Offer the connected clients."""
        self._rooms = {seat.name: [*seat.rooms] or ["/"] for seat in roster.seats}
        if tuple(self._client.options) != clients:
            chosen = self._client.value
            self._client.options = clients
            self._client.value = chosen if chosen in clients else clients[0]
