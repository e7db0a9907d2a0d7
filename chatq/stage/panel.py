"""A scene that is driven by hand: what a panel shows, when it draws it, and its text.

Owns the rhythm of drawing, and the panel as a page that runs nothing shows it. Must not know: how
widgets are laid out (`board`), how a line is worded (`composer`).

What is done is a line of Python, run by the stage (`Stage.run`); what is shown is read off the
stage (`Stage.view`). So two panels of one stage agree, and a panel has nothing to remember but
where in the story it looks.

It cuts: the picture shows the newest 30 rows and the table the newest 12 messages of the newest 500
facts; what is older is on the stage (`diagram`, `deliveries`), and the slider goes back to it.
"""

from __future__ import annotations

import asyncio
import contextvars
import html
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Protocol
from urllib.parse import quote

from .board import Board
from .composer import Cast, Draft
from .drawing import Diagram
from .driving import Outcome
from .journal import Journal
from .view import View

__all__ = ["Panel"]

_log = logging.getLogger("chatq")

_FACTS, _ROWS, _MESSAGES = 500, 30, 12
#: Seconds for a line. A reset starts processes one after the other; queues without a quorum say so
#: after 20.
_WITHIN = 25.0
#: It draws at most so often, in seconds, and takes at most this share of the time.
_PERIOD, _SHARE = 0.1, 0.05


class Scene(Protocol):
    """What a panel asks of a stage."""

    journal: Journal
    outcomes: deque[Outcome]

    @property
    def closed(self) -> bool:
        """Whether it is over."""

    def __getitem__(self, name: str) -> Any:
        """A client or a process."""

    def cast(self) -> Cast:
        """Whom a line can name."""

    def view(self, upto: int | None = None, keep: int | None = None) -> View:
        """It as it was at one moment."""

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever there is something new."""

    async def run(self, line: str, within: float) -> Outcome:
        """Run a line, and keep what came of it."""

    async def stats(self) -> dict[str, Any]:
        """What queues know of themselves."""


class Panel:
    """Drives the scene of `stage`; see `Stage.panel`."""

    def __init__(self, stage: Scene, question: str, draft: Draft) -> None:
        self.stage, self.question, self.draft = stage, question, draft
        self._board: Board | None = None
        self._drawing: asyncio.TimerHandle | asyncio.Task[None] | None = None
        self._again = False
        self._aging: asyncio.TimerHandle | None = None  # what waits gets older, and is drawn so
        self._next = 0.0  # when it may be drawn again, by the loop's clock
        self._seen = 0  # facts that were there when it was drawn last

    # -- as text, and as a page that runs nothing -------------------------------------------------

    def __repr__(self) -> str:
        view = self.stage.view(keep=_FACTS)
        parts = [f"panel: {self.question}".rstrip(": "), repr(view.roster())]
        if (queues := view.queues()).rows:
            parts.append(repr(queues))
        parts += [repr(view.deliveries(last=_MESSAGES)), repr(view.diagram(rows=_ROWS))]
        return "\n\n".join([*parts, f"the composer says: {self._says()}"])

    def _says(self) -> str:
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
            f"{_image(view.diagram(rows=_ROWS))}"
            f"{view.deliveries(last=_MESSAGES)._repr_html_()}"
            f"<p>The composer says: <code>{html.escape(self._says())}</code></p>"
        )

    def _repr_mimebundle_(self, **_: object) -> dict[str, Any]:
        page = {"text/plain": repr(self), "text/html": self._page()}
        if self._board is None:
            self._board = Board(self.draft, self.question, self.stage.cast(), self._act, self.look)
            self.stage.listen(self.look)
        self.look()
        return {**self._board.bundle(), **page}

    # -- what is done -----------------------------------------------------------------------------

    def _act(self, line: Callable[[], str]) -> asyncio.Task[None] | None:
        """Run the line that somebody has clicked for; say so if there is none."""
        assert self._board is not None
        try:
            text = line()
        except ValueError as error:
            self._board.complain(str(error))
            return None
        self._board.complain("")
        self._board.follow()
        return self._begin(self._run(text))

    async def _run(self, line: str) -> None:
        try:
            await self.stage.run(line, _WITHIN)
        except RuntimeError as error:  # the stage is closed
            if self._board is not None:
                self._board.complain(str(error))
        finally:
            self.look()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # In an empty context: what it prints is of no cell.
        return asyncio.create_task(work, context=contextvars.Context())

    # -- what is shown ----------------------------------------------------------------------------

    def look(self) -> None:
        """There may be something new to draw; it is drawn soon."""
        if self._drawing is not None:
            self._again = True
        else:
            loop = asyncio.get_running_loop()
            self._drawing = loop.call_at(max(self._next, loop.time()), self._draw_now)

    def _draw_now(self) -> None:
        self._again = False
        self._drawing = self._begin(self._draw())

    async def _draw(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            await self._drawn()
        except Exception as error:
            _log.exception("a panel could not be drawn")
            if self._board is not None:
                self._board.complain(
                    f"this panel could not be drawn: {type(error).__name__}: {error}"
                )
        took = loop.time() - began
        self._next = loop.time() + max(_PERIOD, took / _SHARE)
        self._drawing = None
        if self._again:
            self.look()

    async def _drawn(self) -> None:
        board, stage = self._board, self.stage
        assert board is not None
        journal = stage.journal
        begun = journal.begun  # a scene that begins again is told from its own first step
        step = begun + board.seek(journal.forgotten - begun, journal.written - begun)
        view: View = stage.view(step, _FACTS)
        now = view if step == journal.written else stage.view(keep=_FACTS)
        fresh, self._seen = self._seen, journal.written
        board.show_picture(
            view.diagram(rows=_ROWS).svg(fresh if step == journal.written else step - 1),
            view.deliveries(last=_MESSAGES)._repr_html_(),
        )
        queues = now.queues()
        board.show_people(now.roster(), stage, stage.cast())
        stats = await stage.stats() if queues.rows else {}
        board.show_queues(queues, stats, now.roster())
        if self._aging is not None:
            self._aging.cancel()
        if not stage.closed and any(one.oldest is not None for one in stats.values()):
            self._aging = asyncio.get_running_loop().call_later(1.0, self.look)
        board.show_outcomes(stage.outcomes)
        if stage.closed:
            board.close()
            board.complain("this stage is closed: run its cells again to open a new one")


def _image(diagram: Diagram) -> str:
    """Return a diagram as an image: a page that does not trust a notebook strips an inline SVG of
    all but its texts."""
    source = quote(diagram.svg(), safe=" /:;,=()'")
    alt = html.escape(repr(diagram))
    return f'<p><img src="data:image/svg+xml;charset=utf-8,{source}" alt="{alt}"></p>'
