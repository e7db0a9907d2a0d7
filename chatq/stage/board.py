"""The widgets of a panel: where they stand, and which line each of them is for.

Owns the layout. Must not know: who runs a line, how a line is worded, when anything is drawn.

Only ipywidgets, and style sheets, which also say what to do when the kernel is gone. A slider's
handle and the buttons of ipywidgets' `Play` have no names that a screen reader could say: so the
step has a field with a label, the slider is for the mouse, and a labelled button plays.
"""

from __future__ import annotations

import asyncio
import html
from collections.abc import Callable, Iterable, Mapping
from typing import Any

try:
    import ipywidgets as widgets  # type: ignore[import-untyped]
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "a panel is made of widgets: pip install ipywidgets", name=missing.name
    ) from None

from . import composer
from .composer import Cast, Draft
from .driving import Outcome
from .journal import SERVER
from .process import Process
from .roster import Roster, Seat
from .table import Table

__all__ = ["Board"]

_STYLE = """<style>
.chatq-panel{background:#fff;color:#111;border:1px solid #99a;border-radius:8px;padding:10px;
 --jp-widgets-color:#111;--jp-widgets-label-color:#111;--jp-widgets-font-size:13px;
 --jp-widgets-input-color:#111;--jp-widgets-input-background-color:#fff;
 --jp-widgets-input-border-color:#667;--jp-ui-font-color1:#111;--jp-content-font-color1:#111}
.chatq-panel .widget-html-content{color:#111}
.chatq-panel .jupyter-button{background:#e8eef7;color:#111;border:1px solid #667;border-radius:5px}
.chatq-panel .jupyter-button:disabled{opacity:.45}
.chatq-panel .jupyter-button.mod-active{background:#1a4c8b;color:#fff}
.chatq-panel .jupyter-button.mod-primary{background:#1a4c8b;color:#fff}
.chatq-panel :focus-visible{outline:3px solid #1a56c4;outline-offset:1px}
.chatq-card{border:1px solid #99a;border-radius:6px;padding:6px 8px;margin:3px}
.chatq-card .widget-html-content{line-height:1.5}
.chatq-head>*{margin-right:12px}
.chatq-panel{color-scheme:light}
.chatq-scroll{overflow-x:auto;max-width:100%}
.chatq-panel .chatq-scroll>div{border:none!important;padding:8px 0!important}
.chatq-panel svg>rect:first-of-type{stroke:none}
.chatq-scroll td[style*="min-width:11em"]{min-width:8em!important}
.chatq-line code{background:#f1f3f7;color:#111;padding:3px 6px;border-radius:4px;font-size:13px}
.chatq-complaint{color:#8f1414;font-weight:600}
.chatq-log pre{margin:0 0 4px;padding:3px 6px;background:#f6f6f6;color:#111;white-space:pre-wrap;
 font-size:12.5px;line-height:1.4}
.chatq-log[role=log]{max-height:132px;overflow-y:auto}
.chatq-log .bad{border-left:4px solid #a01c1c}
.chatq-projector{font-size:150%;--jp-widgets-font-size:19px;--jp-widgets-inline-height:38px}
.chatq-projector table,.chatq-projector pre,.chatq-projector code{font-size:19px!important}
.chatq-projector svg{width:1020px;max-width:100%;height:auto}
.chatq-projector .widget-label{width:auto!important;min-width:max-content}
.chatq-projector .widget-inline-hbox:not(.widget-slider){width:auto!important;max-width:100%;
 margin-right:12px!important}
.chatq-projector .chatq-scroll>div{font-size:19px!important}
.chatq-projector .widget-inline-hbox>input,.chatq-projector .widget-inline-hbox>select{
 min-width:6em}
.chatq-gone{display:none}
.chatq-panel.jupyter-widgets-disconnected .chatq-gone,
.jp-NotebookPanel:has(.jp-Notebook-ExecutionIndicator:is([data-status=unknown],[data-status=dead]))
 .chatq-gone{display:block;color:#8f1414;font-weight:600}
.chatq-panel.jupyter-widgets-disconnected button,.chatq-panel.jupyter-widgets-disconnected input,
.chatq-panel.jupyter-widgets-disconnected select,.chatq-panel.jupyter-widgets-disconnected textarea,
.chatq-panel.jupyter-widgets-disconnected .noUi-target{visibility:hidden}
.chatq-panel.jupyter-widgets-disconnected .jupyter-widgets-disconnected::before{content:none}
.chatq-panel .noUi-handle{visibility:hidden}
.chatq-panel .noUi-handle::after{content:"";visibility:visible;position:absolute;inset:0;
 display:block;width:auto;height:auto;border:1px solid #667;border-radius:50%;background:#fff;
 transform:none}
</style>
<div class="chatq-gone" role="status">This panel's kernel is gone, and its scene with it: run the
notebook again (Run, then Run All Cells).</div>"""

#: Runs the line that this function words; None: it words none, and why not is said.
Act = Callable[[Callable[[], str]], "asyncio.Task[None] | None"]

_WIDE = {"description_width": "70px"}
_PLAY = ("Play", "play")


def _row(*children: Any, **layout: str) -> Any:
    given = {"flex_flow": "row wrap", "align_items": "center", **layout}
    return widgets.HBox(children, layout=widgets.Layout(**given))


class _Soon:
    """Calls something on the stage's loop, and soon.

    A widget's call-back may run on another thread: JupyterLab names a subshell in its messages, and
    the kernel may answer there. And where a cell is waiting, a widget whose message was not
    answered on its own shell sends no more: so each answers where it was asked.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    def __call__(self, call: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(call)

    def changed(self, widget: Any, call: Callable[[], None]) -> None:
        """Call it when somebody has changed the value of a widget."""
        widget.observe(lambda _: self(call), "value")
        if hasattr(widget.comm, "_reply_subshell_for"):
            widget.comm._reply_subshell_for = None


def _button(
    soon: _Soon, text: str, tooltip: str, click: Callable[[], object], **options: Any
) -> Any:
    button = widgets.Button(
        description=text,
        tooltip=tooltip,
        layout=widgets.Layout(width="auto", margin="2px"),
        **options,
    )
    button.on_click(lambda _: soon(click))
    return button


def _field(kind: str, label: str, value: str, **options: Any) -> Any:
    layout = widgets.Layout(width="245px", margin="2px")
    style = {"description_width": "78px"}
    make = getattr(widgets, kind)
    return make(description=label, value=value, layout=layout, style=style, **options)


def _scrolls(what: str, content: str) -> str:
    """Return content that may be wider than there is room, for the keyboard, too."""
    return (
        f'<div class="chatq-scroll" tabindex="0" role="group" aria-label="{what}">{content}</div>'
    )


class Board:
    """The widgets of one panel.

    `act` is given the function that words a line, when somebody clicks for it; `look` is called
    when somebody wants to see another moment.
    """

    def __init__(
        self,
        draft: Draft,
        question: str,
        cast: Cast,
        act: Act,
        look: Callable[[], None],
    ) -> None:
        self._act = act
        self._soon = soon = _Soon()
        self._cards: dict[str, _Card] = {}
        self._queues: dict[str, _QueueRow] = {}
        self._consumers: tuple[str, ...] = ()
        self._complaint = widgets.HTML()
        self._people = _row(align_items="stretch")
        self._queue_table, self._queue_rows = widgets.HTML(), widgets.VBox()
        self._diagram, self._table = widgets.HTML(), widgets.HTML()
        self._log = widgets.HTML()
        self._time = _Time(soon, look)
        self._composer = _Composer(soon, draft, cast, act)
        for shown in (self._diagram, self._table, self._queue_table):
            shown.layout.max_width = "100%"
        self.box = widgets.VBox(
            [
                widgets.HTML(_STYLE),
                self._head(question),
                self._people,
                self._composer.box,
                self._complaint,
                self._log,  # beside what was clicked: below a long picture nobody would see it
                self._time.box,
                _row(self._diagram, self._table, align_items="flex-start"),
                self._queue_table,
                self._queue_rows,
            ]
        )
        self.box.add_class("chatq-panel")

    def bundle(self) -> dict[str, Any]:
        """Return what Jupyter shows the widgets by."""
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
        self._whole = _row(
            _button(self._soon, "Reset", reset, lambda: self._act(lambda: reset)),
            _button(self._soon, "Close the stage", close, lambda: self._act(lambda: close)),
        )
        title = widgets.HTML(f"<strong>{html.escape(question)}</strong>")
        head = _row(title, projector, self._whole)
        head.add_class("chatq-head")
        return head

    # -- what is shown ----------------------------------------------------------------------------

    def complain(self, text: str) -> None:
        """Say what is wrong with what was clicked; "": nothing is."""
        shown = f'<div class="chatq-complaint" role="alert">✗ {html.escape(text)}</div>'
        self._complaint.value = shown if text else ""

    def close(self) -> None:
        """Offer nothing but to look back: the scene is over."""
        for part in (self._whole, self._people, self._composer.box, self._queue_rows):
            _disable(part)

    def follow(self) -> None:
        """Show what happens last, from now on."""
        self._time.go_to_end()

    def seek(self, oldest: int, newest: int) -> int:
        """Let the slider reach from the oldest to the newest fact; return where it stands."""
        return self._time.seek(oldest, newest)

    def show_picture(self, diagram: str, deliveries: str) -> None:
        """Show what one moment looked like."""
        self._diagram.value = _scrolls("the diagram", diagram)
        self._table.value = _scrolls("the table of deliveries", deliveries)

    def show_people(self, roster: Roster, found: Any, cast: Cast) -> None:
        """Show who is there now; `found[name]` is the client or the process of that name."""
        seats = roster.seats
        if [*self._cards] != [seat.name for seat in seats]:
            for name in [*self._cards]:
                if name not in {seat.name for seat in seats}:
                    self._cards.pop(name).box.close()
            cards = {}
            for seat in seats:
                cards[seat.name] = self._cards.get(seat.name) or _Card(
                    self._soon, seat, self._act, found
                )
            self._cards = cards
            self._people.children = [card.box for card in cards.values()]
        for seat in seats:
            self._cards[seat.name].show(seat, found)
        self._composer.show(seats, roster.namespaces(), cast)

    def show_queues(self, table: Table, stats: Mapping[str, Any], roster: Roster) -> None:
        """Show the queues as they are now: they know how much waits in them, and how long."""
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
        shown = Table(headers, rows)._repr_html_()
        self._queue_table.value = _scrolls("the table of queues", shown)
        there = [seat for seat in roster.seats if seat.kind == "client" and seat.connected]
        clients = tuple(seat.name for seat in there) or ("",)
        names = [row[0] for row in table.rows if row[0] in stats]
        if [*self._queues] != names:
            self._queues = {name: _QueueRow(self._soon, name, self._act) for name in names}
            self._queue_rows.children = [queue.box for queue in self._queues.values()]
        for queue in self._queues.values():
            queue.show(clients, roster)

    def show_outcomes(self, outcomes: Iterable[Outcome]) -> None:
        """Show what came of the lines that were run, the newest first."""
        parts = []
        for outcome in reversed([*outcomes]):
            kind = "bad" if outcome.error else "good"
            parts.append(f'<pre class="{kind}">{html.escape(repr(outcome))}</pre>')
        if parts:
            told = "".join(parts)
            self._log.value = f'<div class="chatq-log" role="log" tabindex="0">{told}</div>'


def _disable(widget: Any) -> None:
    """Disable a widget, with all that is in it."""
    if widget.has_trait("disabled"):
        widget.disabled = True
    for child in getattr(widget, "children", ()):
        _disable(child)


class _Time:
    """Which moment is shown: the newest, unless somebody goes back."""

    def __init__(self, soon: _Soon, look: Callable[[], None]) -> None:
        narrow = widgets.Layout(width="150px")
        self._step = widgets.BoundedIntText(
            description="Step", min=0, max=0, layout=narrow, style=_WIDE
        )
        slider = widgets.IntSlider(
            min=0, max=0, readout=False, layout=widgets.Layout(width="260px")
        )
        play = widgets.Play(min=0, max=0, interval=600, layout=widgets.Layout(display="none"))
        playing = widgets.ToggleButton(
            description=_PLAY[0], icon=_PLAY[1], layout=widgets.Layout(width="auto", margin="2px")
        )
        self._of = widgets.HTML()

        def say() -> None:  # a pressed button differs by its colour alone
            playing.description, playing.icon = ("Pause", "pause") if playing.value else _PLAY

        soon.changed(playing, say)
        widgets.jslink((playing, "value"), (play, "playing"))
        widgets.jslink((play, "value"), (slider, "value"))
        widgets.jslink((slider, "value"), (self._step, "value"))
        self._ends = (self._step, slider, play)
        soon.changed(self._step, look)
        newest = _button(soon, "Newest", "Show what happened last", self.go_to_end)
        first = _button(soon, "First", "Show how it began", self._go_to_begin)
        self.box = _row(self._step, slider, first, playing, newest, self._of, play)

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


class _Composer:
    """A message, and the line that sends it."""

    def __init__(self, soon: _Soon, draft: Draft, cast: Cast, act: Act) -> None:
        self._cast = cast
        self._sender = _field("Dropdown", "From", draft.sender, options=[draft.sender])
        self._event = _field("Text", "Event", draft.event)
        self._data = _field("Textarea", "Payload", draft.data, rows=2, placeholder="text, or JSON")
        self._target = _field("Dropdown", "To", draft.target, options=[draft.target])
        self._who = _field("Combobox", "Which", draft.who, options=[])
        self._namespace = _field(
            "Dropdown", "Namespace", draft.namespace, options=[draft.namespace]
        )
        self._rooms: list[str] = []
        self._line = widgets.HTML()
        self._send = _button(
            soon, "Run this line", "Run the line beside this button", lambda: act(self.line)
        )
        self._send.button_style = "primary"
        self._fields = (
            self._sender, self._event, self._data, self._target, self._who, self._namespace
        )  # fmt: skip
        for field in self._fields:
            soon.changed(field, self._word)
        self.box = widgets.VBox([_row(*self._fields), _row(self._send, self._line)])
        self._word()

    def line(self) -> str:
        """Return the line. Raises `ValueError` saying what is missing."""
        sender, event, data, target, who, namespace = (field.value for field in self._fields)
        return Draft(sender, event, data, target, who, namespace).line(self._cast)

    def _word(self) -> None:
        whom = {"one client": "Client", "rooms": "Rooms", "a queue": "Queue"}
        target = self._target.value
        process = self._cast.kinds.get(self._sender.value) == "process"
        self._who.layout.display = None if target in whom and not process else "none"
        self._who.description = whom.get(target, "Which")
        self._who.options = [*self._cast.inside] if target == "one client" else self._rooms
        for field in (self._event, self._target):
            field.layout.display = "none" if process else None
        single = len(self._namespace.options) == 1  # no choice, as in a card
        self._namespace.layout.display = "none" if process or single else None
        try:
            text, kind = self.line(), ""
        except ValueError as error:
            text, kind = str(error), "chatq-complaint"
        self._send.disabled = bool(kind)  # what is wrong is said beside it
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
        """Offer those who are there."""
        self._cast = cast
        senders = [SERVER, *(name for name, kind in cast.kinds.items() if kind != "guest")]
        _offer(self._sender, senders)
        _offer(self._target, [*cast.targets()])
        _offer(self._namespace, namespaces or ["/"])
        found = {
            str(room): None for seat in seats for rooms in seat.rooms.values() for room in rooms
        }
        self._rooms = [*found]
        self._word()


def _offer(choice: Any, options: list[str]) -> None:
    """Change what can be chosen, and keep what is."""
    chosen = choice.value
    if chosen not in options:
        options = [*options, chosen]
    if [*choice.options] != options:
        choice.options = options
        choice.value = chosen


class _Card:
    """One client: its state, and what can be done to it."""

    def __init__(self, soon: _Soon, seat: Seat, act: Act, found: Any) -> None:
        name = seat.name
        self._told = widgets.HTML()
        self._buttons: dict[str, Any] = {}
        self._on, self._frozen = seat.connected, seat.frozen
        rows = [self._told]

        self._busy = False  # a line of this card runs

        def button(text: str, line: Callable[[], str], tooltip: str = "") -> Any:
            made = _button(soon, text, tooltip or line(), lambda: self._begin(act, line))
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

            self._rooms = _row(
                room,
                self._where,
                button("Join", enter, "sio.enter_room"),
                button("Leave", leave, "sio.leave_room"),
            )
            rows += [
                _row(
                    button("Hang up", hook, "disconnect, or connect again"),
                    button("Cut", of_stage("cut")),
                    button("Freeze", ice, "freeze, or thaw"),
                ),
                self._rooms,
            ]
        elif seat.kind == "process":
            self._printed = widgets.HTML()
            rows += [
                _row(
                    button("Start again", of_stage("restart")),
                    button("Kill", of_stage("kill")),
                    button("Freeze", ice, "freeze, or thaw"),
                    button("Cut", of_stage("cut")),
                    button("Mend", of_stage("mend")),
                ),
                self._printed,
            ]
        self.box = widgets.VBox(rows)
        self.box.add_class("chatq-card")

    def show(self, seat: Seat, found: Any) -> None:
        """Show it as it is now."""
        state = seat.state
        self._on, self._frozen = seat.connected, seat.frozen
        if seat.kind == "client":
            self._say("Hang up" if self._on else "Dial", "Hang up", may=not self._frozen)
            self._say("Cut", "Cut", may=self._on or self._frozen)
            for text in ("Join", "Leave"):
                self._say(text, text, may=self._on)
            self._rooms.layout.display = None if self._on else "none"
            self._offer_namespaces([*seat.rooms] or ["/"])
        elif seat.kind == "process":
            process = found[seat.name]
            assert isinstance(process, Process)
            self._frozen = process.frozen
            if not self._frozen:  # which has been said
                state = f"{state}, {process.state}"
            self._say("Start again", "Start again", may=True)
            for text in ("Kill", "Cut", "Mend"):
                self._say(text, text, may=process.code is None)
            lines = [html.escape(line[:120]) for line in process.lines[-3:]]
            printed = f'<div class="chatq-log"><pre>{"<br>".join(lines)}</pre></div>'
            self._printed.value = printed if lines else ""
        if seat.kind != "guest":
            runs = seat.kind == "process" and found[seat.name].code is None
            self._say(
                "Thaw" if self._frozen else "Freeze", "Freeze", may=self._frozen or self._on or runs
            )
        self._told.value = (
            f"<strong>{html.escape(seat.name)}</strong> {html.escape(state)}"
            f"<br>{html.escape(seat.places)}"
        )

    def _begin(self, act: Act, line: Callable[[], str]) -> None:
        """Run the line, unless one of this card runs: a second click came too soon to be meant."""
        if not self._busy and (running := act(line)):
            self._busy = True
            for button in self._buttons.values():
                button.disabled = True
            running.add_done_callback(self._done)

    def _done(self, _: object) -> None:
        self._busy = False  # what may be clicked now is said when it is drawn next, which is soon

    def _say(self, text: str, button: str, *, may: bool) -> None:
        """Let a button be for this, if it may be clicked at all."""
        self._buttons[button].description = text
        self._buttons[button].disabled = self._busy or not may

    def _offer_namespaces(self, namespaces: list[str]) -> None:
        if [*self._where.options] != namespaces:
            chosen = self._where.value
            self._where.options = namespaces
            self._where.value = chosen if chosen in namespaces else namespaces[0]
        self._where.layout.display = "none" if namespaces == ["/"] else None


class _QueueRow:
    """One queue: who is to consume it, and its dead."""

    def __init__(self, soon: _Soon, name: str, act: Act) -> None:
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

        self.box = _row(
            self._client,
            _button(soon, "Listen", "queues.subscribe", lambda: act(consume(True))),
            _button(soon, "Stop listening", "queues.unsubscribe", lambda: act(consume(False))),
            _button(
                soon,
                "Redrive the dead",
                composer.redrive(name),
                lambda: act(lambda: composer.redrive(name)),
            ),
        )

    def show(self, clients: tuple[str, ...], roster: Roster) -> None:
        """Offer those who are there."""
        self._rooms = {seat.name: [*seat.rooms] or ["/"] for seat in roster.seats}
        if tuple(self._client.options) != clients:
            chosen = self._client.value
            self._client.options = clients
            self._client.value = chosen if chosen in clients else clients[0]
