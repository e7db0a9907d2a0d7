"""The widgets of a panel, and their layout.

Owns the layout. Must not know: who runs a line, how a line is worded, when anything is drawn.

Only ipywidgets, and style sheets, which also show a notice when the kernel is gone. A slider's
handle and the buttons of ipywidgets' `Play` have no names for a screen reader: so the step has a
field with a label, the slider is for the mouse, and a labelled button plays.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..views.deliveries import Deliveries
from ..views.links import BELOW, linked, sheet
from ..views.looks import PANEL
from ..views.roster import Roster
from ..views.table import Table
from . import composer
from .cards import Card, NodeCard, NodeLike, QueueRow
from .composer import Cast, Draft
from .controls import WIDE, Act, Soon, button, disable, row, scrolls, widgets
from .form import Form
from .line import Outcome

__all__ = ["Board"]

#: Style sheets, and the notice for when the kernel is gone.
_STYLE = Path(__file__).with_name("panel.html").read_text("utf-8")
_PLAY = ("Play", "play")


class Board:
    """The widgets of one panel.

    `act` is called on a click, with the function that returns its line; `look` is called when
    another moment is to be shown.
    """

    box: Any

    def __init__(
        self,
        draft: Draft,
        question: str,
        cast: Cast,
        act: Act,
        look: Callable[[], None],
        nodes: Sequence[NodeLike] = (),
    ) -> None:
        self._act = act
        self._soon = soon = Soon()
        self._cards: dict[str, Card] = {}
        self._queues: dict[str, QueueRow] = {}
        self._consumers: tuple[str, ...] = ()
        self._complaint = widgets.HTML()
        self._people = row(align_items="stretch")
        self._nodes = [NodeCard(soon, n, node, act) for n, node in enumerate(nodes)]
        self._queue_table, self._queue_rows = widgets.HTML(), widgets.VBox()
        self._diagram, self._table = widgets.HTML(), widgets.HTML()
        self._log = widgets.HTML()
        self._time = _Time(soon, look)
        self._composer = Form(soon, draft, cast, act)
        self._pictures = row(self._diagram, self._table, align_items="flex-start")
        self._pictures.add_class("chatq-pictures")
        self.box = widgets.VBox(
            [
                widgets.HTML(_STYLE.replace("/* looks */", PANEL)),
                self._head(question),
                self._people,
                row(*(node.box for node in self._nodes)),
                # What a click changes is beside the controls: between them, its newest rows in
                # sight, and what happened before is scrolled to.
                self._pictures,
                self._queue_table,
                self._time.box,
                self._composer.box,
                self._complaint,
                self._log,
                self._queue_rows,
            ]
        )
        self.box.add_class("chatq-panel")
        self.box.add_class("chatq")

    def bundle(self) -> dict[str, Any]:
        """Return the MIME bundle of the widgets, for Jupyter."""
        bundle: dict[str, Any] = self.box._repr_mimebundle_()
        return bundle

    def _head(self, question: str) -> Any:
        projector = widgets.Checkbox(
            description="Projector size", indent=False, layout=widgets.Layout(width="auto")
        )

        def resize() -> None:
            (self.box.add_class if projector.value else self.box.remove_class)("chatq-projector")

        self._soon.changed(projector, resize)
        reset, close = composer.of_stage("reset"), composer.of_stage("close")
        self._whole = row(
            button(self._soon, "Reset", reset, lambda: self._act(lambda: reset)),
            button(self._soon, "Close the stage", close, lambda: self._act(lambda: close)),
        )
        title = widgets.HTML(f"<strong>{html.escape(question)}</strong>")
        head = row(title, projector, self._whole)
        head.add_class("chatq-head")
        return head

    # -- display ----------------------------------------------------------------------------------

    def complain(self, text: str) -> None:
        """Show an error of the last click; "": remove it."""
        shown = f'<div class="chatq-complaint" role="alert">✗ {html.escape(text)}</div>'
        self._complaint.value = shown if text else ""

    def close(self) -> None:
        """Disable all controls but those of time: the scene is over."""
        nodes = [node.box for node in self._nodes]
        for part in (self._whole, self._people, *nodes, self._composer.box, self._queue_rows):
            disable(part)

    def follow(self) -> None:
        """Show the newest moment from now on."""
        self._time.go_to_end()

    def seek(self, oldest: int, newest: int) -> int:
        """Set the range of the slider to these facts; return its position."""
        return self._time.seek(oldest, newest)

    def show_picture(self, heads: str, diagram: str, deliveries: Deliveries) -> None:
        """Show the diagram, which is linked, its heads, and the deliveries of one moment."""
        shown = linked(deliveries)
        table = scrolls("the table of deliveries", shown.markup(), newest=True) + shown.below()
        links = sheet(".chatq-panel", deliveries.messages)
        picture = f'<div class="chatq-above">{heads}</div>{diagram}'
        self._diagram.value = scrolls("the diagram", picture, newest=True)
        self._table.value = f'<style>{links}</style><div class="chatq-linked">{table}{BELOW}</div>'

    def show_people(self, roster: Roster, found: Any, cast: Cast) -> None:
        """Show the clients as they are now; `found[name]`: the client or process of that name."""
        # Who has never dialled this server is not in its scene, such as a server of its own.
        seats = [seat for seat in roster.seats if not seat.stranger or seat.name in self._cards]
        marks = roster.marks
        if [*self._cards] != [seat.name for seat in seats]:
            for name in [*self._cards]:
                if name not in {seat.name for seat in seats}:
                    self._cards.pop(name).box.close()
            cards = {}
            for seat in seats:
                cards[seat.name] = self._cards.get(seat.name) or Card(
                    self._soon, seat, self._act, found
                )
            self._cards = cards
            self._people.children = [card.box for card in cards.values()]
        for node in self._nodes:
            node.show()
        for seat in seats:
            self._cards[seat.name].show(seat, found, marks[seat.name])
        self._composer.show(seats, roster.namespaces(), cast)

    def show_queues(self, table: Table, stats: Mapping[str, Any], roster: Roster) -> None:
        """Show the queues as they are now; `stats`: the `Stats` of each, by name."""
        if not table.rows:
            return
        rows = []
        for name, *counts, settled, dead, who in table.rows:
            age, known = "", stats.get(name)
            if known is not None:
                counts, dead = [known.ready + known.delayed, known.leased], known.dead
                age = "" if known.oldest is None else f"{known.oldest:.0f} s"
            rows.append([name, *map(str, counts), settled, str(dead), who, age])
        headers = (*table.headers, "oldest")
        shown = Table(headers, rows).markup()
        self._queue_table.value = scrolls("the table of queues", shown)
        there = [seat for seat in roster.seats if seat.kind == "client" and seat.connected]
        clients = tuple(seat.name for seat in there) or ("",)
        names = [row[0] for row in table.rows if row[0] in stats]
        if [*self._queues] != names:
            self._queues = {name: QueueRow(self._soon, name, self._act) for name in names}
            self._queue_rows.children = [queue.box for queue in self._queues.values()]
        for queue in self._queues.values():
            queue.show(clients, roster)

    def show_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Show the outcomes of the lines that were run, the newest first."""
        parts = []
        for outcome in reversed([*outcomes]):
            kind = "bad" if outcome.error else "good"
            parts.append(f'<pre class="{kind}">{html.escape(repr(outcome))}</pre>')
        if parts:
            log = "".join(parts)
            self._log.value = f'<div class="chatq-log" role="log" tabindex="0">{log}</div>'


class _Time:
    """The controls of the moment that is shown: the newest, unless the reader goes back."""

    def __init__(self, soon: Soon, look: Callable[[], None]) -> None:
        narrow = widgets.Layout(width="150px")
        self._step = widgets.BoundedIntText(
            description="Step", min=0, max=0, layout=narrow, style=WIDE
        )
        slider = widgets.IntSlider(
            min=0, max=0, readout=False, layout=widgets.Layout(width="180px")
        )
        play = widgets.Play(min=0, max=0, interval=600, layout=widgets.Layout(display="none"))
        playing = widgets.ToggleButton(
            description=_PLAY[0], icon=_PLAY[1], layout=widgets.Layout(width="auto", margin="2px")
        )
        self._of = widgets.HTML()

        def relabel() -> None:  # else a pressed button would differ by its colour alone
            playing.description, playing.icon = ("Pause", "pause") if playing.value else _PLAY

        soon.changed(playing, relabel)
        widgets.jslink((playing, "value"), (play, "playing"))
        widgets.jslink((play, "value"), (slider, "value"))
        widgets.jslink((slider, "value"), (self._step, "value"))
        self._ends = (self._step, slider, play)
        soon.changed(self._step, look)
        newest = button(soon, "Newest", "Show what happened last", self.go_to_end)
        first = button(soon, "First", "Show how it began", self._go_to_begin)
        self.box = row(self._step, slider, first, playing, newest, self._of, play)

    def go_to_end(self) -> None:
        """Show the newest moment."""
        self._step.value = self._step.max

    def _go_to_begin(self) -> None:
        self._step.value = self._step.min

    def seek(self, oldest: int, newest: int) -> int:
        follows = self._step.value >= self._step.max
        if (self._step.min, self._step.max) != (oldest, newest):
            for end in self._ends:
                with end.hold_trait_notifications():
                    end.max, end.min = newest, min(oldest, newest)
            if follows:
                self._step.value = newest
            self._of.value = f"of {newest} facts"
        return int(self._step.value)
