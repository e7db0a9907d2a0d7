"""A panel that drives a scene by hand: when it is drawn, and its static form.

Owns the rate of drawing, and the panel as text and as a static page. Must not know: how widgets are
laid out (`board`), how a line is worded (`composer`).

A click is a line of Python, run by the stage (`Stage.run`); the display is a snapshot of the stage
(`Stage.view`). So two panels of one stage agree, and a panel has no state but the moment it shows.

It cuts: the picture shows the newest 30 rows and the table the newest 12 messages of the newest 500
facts; older ones are on the stage (`diagram`, `deliveries`), and the slider goes back to them.
"""

from __future__ import annotations

import asyncio
import contextlib
import html
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from ..journal.journal import Journal
from ..views.view import View
from ..waiting import detached
from .board import Board
from .cards import NodeLike
from .composer import Cast, Draft
from .line import Outcome

__all__ = ["Panel"]

_log = logging.getLogger("chatq")

_FACTS, _ROWS, _MESSAGES = 500, 30, 12
#: The deadline of a line, in seconds. A reset restarts processes one after the other; queues
#: without a quorum raise after 20.
_WITHIN = 25.0
#: The shortest period of drawing, in seconds, the largest share of the time that it takes, and the
#: longest period: somebody waits for what a click has done.
_PERIOD, _SHARE, _LONGEST = 0.1, 0.05, 1.0


class StageLike(Protocol):
    """The interface of a stage that a panel needs."""

    journal: Journal
    outcomes: deque[Outcome]

    @property
    def closed(self) -> bool:
        """Return whether it is closed."""

    def __getitem__(self, name: str) -> Any:
        """Return a client or a process."""

    def cast(self) -> Cast:
        """Return the names that a line can use."""

    def view(self, upto: int | None = None, keep: int | None = None) -> View:
        """Return a snapshot of one moment."""

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` after each change."""

    async def run(self, line: str, within: float) -> Outcome:
        """Run a line, and keep its outcome."""

    async def stats(self) -> dict[str, Any]:
        """Return the `Stats` of each queue."""


class Panel:
    """Drives the scene of `stage`; see `Stage.panel`."""

    stage: StageLike
    question: str
    draft: Draft

    def __init__(
        self, stage: StageLike, question: str, draft: Draft, nodes: Sequence[NodeLike] = ()
    ) -> None:
        self.stage, self.question, self.draft, self.nodes = stage, question, draft, nodes
        self._board: Board | None = None
        self._drawing: asyncio.TimerHandle | None = None
        self._asking = self._ask_again = False  # what waits in the queues
        self._aging: asyncio.TimerHandle | None = None  # redraws the age of the oldest message
        self._next = 0.0  # the earliest time of the next drawing, by the loop's clock
        self._seen = 0  # facts when it was drawn last

    # -- as text, and as a static page ------------------------------------------------------------

    def __repr__(self) -> str:
        view = self.stage.view(keep=_FACTS)
        parts = [f"panel: {self.question}".rstrip(": "), repr(view.roster())]
        if (queues := view.queues()).rows:
            parts.append(repr(queues))
        parts += [repr(view.deliveries(last=_MESSAGES)), repr(view.diagram(rows=_ROWS))]
        parts += [f"{node.name}: {'runs' if node.runs else 'is off'}" for node in self.nodes]
        return "\n\n".join([*parts, f"the composer says: {self._composed()}"])

    def _composed(self) -> str:
        try:
            return self.draft.line(self.stage.cast())
        except ValueError as error:
            return str(error)

    def _page(self) -> str:
        view = self.stage.view(keep=_FACTS)
        queues = view.queues()
        return (
            f"<p><strong>Panel. {html.escape(self.question)}</strong> Run this cell to drive the "
            "scene by hand; this is how it stands.</p>"
            f"{view.roster()._repr_html_()}"
            f"{queues._repr_html_() if queues.rows else ''}"
            f"<p>{view.diagram(rows=_ROWS).image()}</p>"
            f"{view.deliveries(last=_MESSAGES)._repr_html_()}"
            f"<p>The composer says: <code>{html.escape(self._composed())}</code></p>"
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        page = {"text/plain": repr(self), "text/html": self._page()}
        if self._board is None:
            cast, nodes = self.stage.cast(), self.nodes
            self._board = Board(self.draft, self.question, cast, self._act, self.look, nodes)
            self.stage.listen(self.look)
            for node in nodes:
                node.listen(self.look)
        self.look()
        return {**self._board.bundle(), **page}

    # -- clicks -----------------------------------------------------------------------------------

    def _act(self, line: Callable[[], str]) -> asyncio.Task[None] | None:
        """Run the line of a click; show the error if there is none."""
        assert self._board is not None
        try:
            text = line()
        except ValueError as error:
            self._board.complain(str(error))
            return None
        self._board.complain("")
        self._board.follow()
        return detached(self._run(text))

    async def _run(self, line: str) -> None:
        try:
            await self.stage.run(line, _WITHIN)
        except RuntimeError as error:  # the stage is closed
            if self._board is not None:
                self._board.complain(str(error))
        finally:
            self.look()

    # -- drawing ----------------------------------------------------------------------------------

    def look(self) -> None:
        """Schedule a drawing: there may be something new."""
        if self._drawing is None:
            loop = asyncio.get_running_loop()
            self._drawing = loop.call_at(max(self._next, loop.time()), self._draw)

    def _draw(self) -> None:
        loop = asyncio.get_running_loop()
        self._drawing, began = None, loop.time()
        with self._complaining():
            self._update()
        took = loop.time() - began
        self._next = loop.time() + min(max(_PERIOD, took / _SHARE), _LONGEST)
        if self._ask_again and not self._asking:
            self._asking = True
            detached(self._ask())

    @contextlib.contextmanager
    def _complaining(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            _log.exception("a panel could not be drawn")
            if self._board is not None:
                self._board.complain(
                    f"this panel could not be drawn: {type(error).__name__}: {error}"
                )

    def _update(self) -> None:
        board, stage = self._board, self.stage
        assert board is not None
        journal = stage.journal
        begun = journal.begun  # after a reset, steps count from the beginning of the scene
        step = begun + board.seek(journal.forgotten - begun, journal.written - begun)
        view: View = stage.view(step, _FACTS)
        now = view if step == journal.written else stage.view(keep=_FACTS)
        fresh, self._seen = self._seen, journal.written
        since = fresh if step == journal.written else step - 1
        diagram = view.diagram(rows=_ROWS)
        board.show_picture(
            diagram.heads(), diagram.svg(since, linked=True), view.deliveries(last=_MESSAGES)
        )
        self._ask_again = bool(now.queues().rows)
        board.show_people(now.roster(), stage, stage.cast())
        board.show_outcomes(stage.outcomes)
        if stage.closed:
            board.close()
            board.complain("this stage is closed: run its cells again to open a new one")

    async def _ask(self) -> None:
        """Ask what waits in the queues, and show it. Nothing else waits for the answer: without a
        quorum it takes long."""
        try:
            with self._complaining():
                while self._ask_again:
                    self._ask_again = False
                    await self._update_queues()
        finally:
            self._asking = False

    async def _update_queues(self) -> None:
        board, stage = self._board, self.stage
        assert board is not None
        stats = await stage.stats()
        now = stage.view(keep=_FACTS)
        board.show_queues(now.queues(), stats, now.roster())
        if self._aging is not None:
            self._aging.cancel()
        if not stage.closed and any(one.oldest is not None for one in stats.values()):
            self._aging = asyncio.get_running_loop().call_later(1.0, self.look)
