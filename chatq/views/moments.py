"""A scene step by step: each sign of the diagram and each cell of the table, as long as it stands.

Owns which of them stands from which step to which. Must not know: how a reason is found, pages.

A step is a number of facts; after the last one the scene stands as it is. What a step shows is what
the scene's views show of the facts so far. Rows are only added, and keep their text, so one drawing
of the end is enough: at a step, some of its rows are there, and of each sign one form.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ..journal.journal import Journal
from .deliveries import Deliveries, cell, kept, legend
from .explain import Explanation, Message
from .links import reason
from .rows import Layout, Sign, lay_out, queue_key
from .story import told
from .table import one_line

__all__ = ["Cell", "Moments", "Snapshot", "moments"]

_Value = TypeVar("_Value")


class Snapshot(Protocol):
    """The interface of a `View` that this needs."""

    journal: Journal
    kinds: dict[str, str]
    cut: str

    @property
    def messages(self) -> list[Message]:
        """All messages, with an explanation for each client."""

    def strangers(self) -> list[str]:
        """Return the processes that have never connected."""

    def deliveries(self) -> Deliveries:
        """Return the table."""

    def at(self, step: int, keep: int | None = None) -> Snapshot:
        """Return the snapshot of another moment."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of the table while it stands, as a `Sign` does: its mark, and the reason."""

    mark: str
    reason: str
    begin: int | None
    end: int | None


@dataclass(frozen=True, slots=True)
class Moments:
    """All steps of a scene, from `first` (before the facts that are kept) to `last`."""

    first: int
    last: int
    #: The step from which on facts are counted for a reader.
    begun: int
    #: What happened at each step after the first, in words.
    words: Sequence[str]
    #: The diagram of the end; its rows have the history of each sign.
    layout: Layout
    #: The table of the end; for each message the step at which it is emitted.
    deliveries: Deliveries
    begins: Mapping[int, int]
    #: By message, and by name, or queue as in `Layout.keys`: the history of a cell.
    cells: Mapping[tuple[int, str], Sequence[Cell]]
    #: The legend of all that the table ever shows.
    legend: Sequence[str]
    cut: str


class _Spans(Generic[_Value]):
    """Values by key, each from the step at which it was first seen."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str], list[tuple[int, _Value]]] = {}

    def see(self, step: int, key: tuple[int, str], value: _Value) -> None:
        spans = self._found.setdefault(key, [])
        if not spans or spans[-1][1] != value:
            spans.append((step, value))

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter(self._found)

    def of(self, key: tuple[int, str], whole: int) -> list[tuple[_Value, int | None, int | None]]:
        """Return each value, its begin and its end; None: at `whole` already, and to the last."""
        spans = self._found.get(key, [])
        ends = [*(begin for begin, _ in spans[1:]), None]
        return [
            (value, None if begin <= whole else begin, end)
            for (begin, value), end in zip(spans, ends, strict=True)
        ]


class _Cells:
    """The cells of the table, and all explanations that were ever in them."""

    def __init__(self) -> None:
        self.spans = _Spans[tuple[str, str]]()
        self.explanations: set[Explanation] = set()
        #: What each cell was made of last: most are at a step what they were before.
        self._last: dict[tuple[int, str], object] = {}

    def see(self, step: int, message: Message, strangers: Collection[str]) -> None:
        if message.attempt_of:  # it is shown in the cells of its message
            return
        number, life = message.emitted.message, message.life
        if life is not None:
            self.spans.see(step, (number, queue_key(life.queue)), (kept(message, life.queue), ""))
        for name, explanation in message.explanations.items():
            made_of = (explanation, life and (life.state, life.detail))
            if name not in strangers and self._last.get((number, name)) != made_of:
                self._last[number, name] = made_of
                self.explanations.add(explanation)
                self.spans.see(step, (number, name), (cell(explanation), reason(message, name)))

    def all(self, begins: Mapping[int, int]) -> dict[tuple[int, str], list[Cell]]:
        return {
            key: [Cell(*shown, *when) for shown, *when in self.spans.of(key, begins[key[0]])]
            for key in self.spans
        }


def moments(view: Snapshot, facts: int) -> Moments:
    """Return the steps of a scene through its newest `facts` facts."""
    if facts < 1:
        raise ValueError(f"a replay tells at least 1 fact, not {facts}")
    end = view.at(view.journal.written, facts)
    first, last = end.journal.forgotten, end.journal.written
    signs, cells = _Spans[tuple[str, str]](), _Cells()
    words: list[str] = []
    begins: dict[int, int] = {}
    for step in range(first, last + 1):
        now = end if step == last else end.at(step)
        layout, strangers = _layout(now), {*now.strangers()}
        for place, row in enumerate(layout.rows):
            for column, sign in row.signs.items():
                shown = (sign, row.tips.get(column, row.text))
                signs.see(step, (place, layout.keys[column]), shown)
        for message in now.messages:
            begins.setdefault(message.emitted.message, step)
            cells.see(step, message, strangers)
        if step > first:
            *_, fact = now.journal
            by_number = {message.emitted.message: message for message in now.messages}
            words.append(one_line(told(fact, by_number), 240))
    for place, row in enumerate(layout.rows):
        row.history = {}
        for column in row.signs:
            spans = signs.of((place, layout.keys[column]), row.number)
            row.history[column] = [Sign(*shown, *when) for shown, *when in spans]
    legends, shown_cells = legend(cells.explanations), cells.all(begins)
    begun = end.journal.begun
    return Moments(
        first, last, begun, words, layout, end.deliveries(), begins, shown_cells, legends, end.cut
    )


def _layout(view: Snapshot) -> Layout:
    journal, names = view.journal, [*view.kinds]
    strangers, facts = view.strangers(), [*journal]
    return lay_out(facts, view.messages, names, journal.forgotten, strangers, all_rows=True)
