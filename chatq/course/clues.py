"""Clues to mistakes: what is seen of an answer's calls while it is tried.

Owns what is watched of servers, clients and handlers, and what it means in words. Must not know:
scenes, the task of any exercise, verdicts.

Each clue is the answer's own call at a line of its own: what a scene, or a library, calls is none.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import socketio  # type: ignore[import-untyped]

from ..internals.client_tap import Client
from ..internals.dispatch import next_handler
from ..journal.journal import preview
from .blame import called_at, place
from .sandbox import replaced

__all__ = ["Clues"]

#: As many of each kind are kept.
_MOST = 50
_KINDS = (socketio.AsyncServer, socketio.Server, socketio.AsyncClient, socketio.Client)
#: What python-socketio calls handlers of its own events with; other than on a client, after `sid`.
_OWN = {
    ("server", "connect"): ("sid, environ, auth", "; auth may be left out"),
    ("server", "disconnect"): ("sid, reason", "; reason may be left out"),
    ("client", "connect"): ("", ", with nothing"),
    ("client", "disconnect"): ("reason", "; reason may be left out"),
    ("client", "connect_error"): ("data", ""),
}


class _Elsewhere(NamedTuple):
    """A handler that was registered at a server or client which is not the one given."""

    side: Any
    handler: Any
    line: str


class _Sent(NamedTuple):
    """What was given as one argument, or as several: in words, its text as the other."""

    text: str
    other: str
    words: str


class Clues:
    """The clues of one trial; `sides`: the servers and clients with the answer in them."""

    def __init__(self, sides: list[Any]) -> None:
        self._sides = sides
        self.elsewhere: list[_Elsewhere] = []
        #: The lines of lost coroutines that are told of in other words.
        self.told: set[tuple[str, int]] = set()
        #: Whether handlers that were registered elsewhere are the outcome itself.
        self.all_elsewhere = False
        self._always: dict[str, None] = {}
        self._everyone: dict[str, None] = {}
        self._sent: dict[_Sent, None] = {}
        self._errors: list[tuple[BaseException, str]] = []
        self._registers = self._watched = False
        self._stack = ExitStack()

    # -- while the answer registers its handlers

    @contextmanager
    def registering(self, given: Any = None) -> Iterator[None]:
        """Watch the answer's body: where it registers handlers; that it emits; `given`: to it."""
        self._watch_emits()
        with ExitStack() as stack:
            for kind in _KINDS:
                on = self._noting_on(kind.on, given)
                stack.enter_context(replaced(kind, "on", on))
                spaces = self._noting_space(kind.register_namespace, given)
                stack.enter_context(replaced(kind, "register_namespace", spaces))
            self._registers = True
            try:
                yield
            finally:
                self._registers = False

    def _noting_on(self, original: Callable[..., Any], given: Any) -> Callable[..., Any]:
        def on(side: Any, event: Any, handler: Any = None, *more: Any, **options: Any) -> Any:
            if side is given:
                return original(side, event, handler, *more, **options)
            line = called_at()[1]
            if handler is not None:
                self._note_elsewhere(side, handler, line)
                return original(side, event, handler, *more, **options)
            decorate = original(side, event, None, *more, **options)

            def decorator(function: Any) -> Any:
                self._note_elsewhere(side, function, line)
                return decorate(function)

            return decorator

        return on

    def _noting_space(self, original: Callable[..., Any], given: Any) -> Callable[..., Any]:
        def register_namespace(side: Any, handler: Any) -> Any:
            if side is not given:
                self._note_elsewhere(side, handler, called_at()[1])
            return original(side, handler)

        return register_namespace

    def _note_elsewhere(self, side: Any, handler: Any, line: str) -> None:
        if line and len(self.elsewhere) < _MOST:
            self.elsewhere.append(_Elsewhere(side, handler, line))

    def name_of(self, side: Any) -> str:
        """Return the name by which handlers that were registered at `side` know it, or ""."""
        for one in self.elsewhere:
            code = getattr(one.handler, "__code__", None)
            cells = zip(
                getattr(code, "co_freevars", ()),
                getattr(one.handler, "__closure__", None) or (),
                strict=False,
            )
            for name, cell in cells if one.side is side else ():
                try:
                    if cell.cell_contents is side:
                        return str(name)
                except ValueError:  # never assigned
                    continue
        return ""

    # -- emits

    def _watch_emits(self) -> None:
        if not self._watched:
            for kind in (socketio.AsyncServer, socketio.AsyncClient, Client):
                noting = self._noting_emit(kind.emit)
                self._stack.enter_context(replaced(kind, "emit", noting))
            self._watched = True

    def _noting_emit(self, original: Callable[..., Any]) -> Callable[..., Any]:
        # It is no coroutine function: one that is never awaited has to be the library's own.
        def emit(side: Any, event: Any, data: Any = None, *more: Any, **options: Any) -> Any:
            self._note_emit(side, event, data, more, options)
            return original(side, event, data, *more, **options)

        functools.update_wrapper(emit, original)
        # Who asks is told what it stands for; Python 3.11 has no such mark.
        marked: Callable[..., Any] = getattr(inspect, "markcoroutinefunction", _same)(emit)
        return marked

    def _note_emit(
        self, side: Any, event: Any, data: Any, more: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        server = isinstance(side, socketio.AsyncServer)
        to = more[0] if more else options.get("to", ...)
        room = more[1] if len(more) > 1 else options.get("room", ...)
        empty = server and (_is_empty(to) or _is_empty(room))
        stray = server and not self._registers and not any(side is one for one in self._sides)
        several = isinstance(data, (list, tuple)) and bool(data)
        if not (self._registers or empty or stray or several):
            return
        at, line = called_at()
        if not line:
            return
        if self._registers:
            self.told.add(at)
            when = "before anybody is there" if server else "before it has connected"
            self._say(
                self._always,
                f"this emit runs once, {when}: it belongs into a handler ({line})",
            )
        elif stray:
            self._say(
                self._always,
                f"this emits at another server than the one given, where nobody is ({line})",
            )
        if empty:
            self._note_empty(to, room, line)
        if several:
            self._note_several("emit", data, line)

    def _note_empty(self, to: Any, room: Any, line: str) -> None:
        """Note an address that is empty: python-socketio takes `to or room`, and None is all."""
        if to is not ... and not _is_empty(to):
            return  # it is the address
        if room is not ... and not _is_empty(room):
            return
        if isinstance(room, (list, tuple)):
            self._say(
                self._always,
                f"`room={room!r}` names no room, which python-socketio cannot take: emit only if "
                f"there is one ({line})",
            )
        elif room is ... or room is None:
            # Whoever writes None may well mean everyone: it counts where too many get it.
            what = f"room={room!r}" if to is ... else f"to={to!r}"
            say = f"`{what}` names no room, so python-socketio emits to everyone ({line})"
            self._say(self._everyone, say)

    def _note_several(self, how: str, data: Any, line: str) -> None:
        if isinstance(data, list):
            words = f"a list is one argument, a tuple is several: `({_items(data)})` ({line})"
            sent = _Sent(preview((data,)), preview(tuple(data)), words)
        else:
            words = f"a tuple is several arguments, a list is one: `[{_items(data)}]` ({line})"
            sent = _Sent(preview(data), preview(([*data],)), words)
        if len(data) == 1:
            words = f"what is wanted is the value, without a {type(data).__name__} ({line})"
            sent = sent._replace(words=words)
        if len(self._sent) < _MOST:
            self._sent[sent] = None

    # -- handlers

    def misfit(
        self, side: Any, error: TypeError, event: str, namespace: str, given: tuple[Any, ...]
    ) -> None:
        """Note why a handler raised `error`, if it cannot be called with what it was given."""
        if place(error):
            return
        found = next_handler(side, event, namespace)
        if found is None:
            return
        function, arguments = found.function, (*found.before, *given)
        if getattr(function, "__name__", "") == "trigger_event":  # of a class
            function = getattr(function.__self__, f"on_{event}", None)
            arguments = arguments[1:]
        if _fits(function, arguments):
            # For `disconnect`, the library has called it again, without the reason.
            cause = error.__context__
            if cause is not None and (line := place(cause)):
                say = f"before that, it raised {type(cause).__name__}: {cause} ({line})"
                self._errors.append((error, say))
            return
        self._errors.append((error, _called_with(side, function, event, found.before, given)))

    def result(self, event: str, value: Any) -> None:
        """Note what a handler returned, if it does not do what it seems to."""
        if inspect.iscoroutine(value):
            for file, line, _ in value.cr_origin or ():
                self.told.add((file, line))
            name = value.__qualname__.rpartition(".")[2]
            self._say(
                self._always,
                f"the handler of {event!r} returns a coroutine of {name}, which nobody awaits: "
                f"python-socketio awaits handlers that are `async def`, so write one, with "
                f"`await` in it",
            )
        elif isinstance(value, tuple) and len(value) > 1:
            words = "a handler that returns a tuple answers with several values; a list is one"
            if len(self._sent) < _MOST:
                self._sent[_Sent("", repr([*value]), words)] = None

    # -- in words

    def about(self, error: BaseException) -> list[str]:
        """Return what is known of why this error was raised."""
        return [text for one, text in self._errors if one is error]

    def notes(self, lines: tuple[str, ...], *, counter_example: bool) -> list[str]:
        """Return the clues to what is said in these lines of an outcome."""
        notes = [*self._always]
        expected, got = (_field(lines, name) for name in ("expected", "got"))
        if counter_example and _more(expected, got):
            notes += self._everyone
        for one in self._sent:
            if one.other and _says(expected, one.other) and not _says(expected, one.text):
                notes.append(one.words)
        notes += [
            f"a handler is registered at another server than the one given ({one.line})"
            for one in self.elsewhere[:1]
            if not self.all_elsewhere and all(one.side is not side for side in self._sides)
        ]
        return notes

    def _say(self, where: dict[str, None], text: str) -> None:
        if len(where) < _MOST:
            where[text] = None

    def close(self) -> None:
        """Watch no more, and let go what was raised."""
        self._stack.close()
        self._errors.clear()


def _same(one: Any) -> Any:
    return one


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (str, list, tuple, set, dict)) and not value)


def _items(data: Any) -> str:
    return ", ".join(repr(one)[:30] for one in data)[:60]


def _fits(function: Any, arguments: tuple[Any, ...]) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except (TypeError, ValueError):  # it cannot be called so; or nobody can tell
        return False
    return True


def _called_with(
    side: Any, function: Any, event: str, before: tuple[str, ...], given: tuple[Any, ...]
) -> str:
    name = getattr(function, "__name__", event)
    raw = getattr(function, "__func__", None)
    if raw is not None and _fits(raw, given):
        return f"the first parameter of a method is `self`, which is missing: {name}(self, …)"
    kind = "server" if isinstance(side, socketio.AsyncServer) else "client"
    catches = [*before] if name != f"on_{event}" else [*before][1:]
    if (kind, event) in _OWN and not catches:
        shown, more = _OWN[kind, event]
        return f"python-socketio calls it as {name}({shown}){more}"
    values = [_shown(one) for one in given[kind == "server" :]]
    sender = "client" if kind == "server" else "server"
    count = f"{len(values)} value{'s' * (len(values) != 1)}"
    first = [*(repr(one) for one in catches), *(["sid"] if kind == "server" else [])]
    names = [*(["the event"] if catches else []), *(["the sid"] if kind == "server" else [])]
    then = f"{', '.join(names)}, then what" if names else "what"
    return (
        f"python-socketio calls it with {then} the {sender} has sent, here {count}: "
        f"{name}({', '.join([*first, *values])})"
    )


def _shown(value: Any) -> str:
    """Return a value in short; what is in a dict may differ each time."""
    plain = value is None or isinstance(value, (str, int, float))
    return repr(value)[:30] if plain else f"a {type(value).__name__}"


def _field(lines: tuple[str, ...], name: str) -> str:
    return next((line[10:] for line in lines if line.startswith(f"{name:9} ")), "")


def _more(expected: str, got: str) -> bool:
    """Return whether more is got than is expected."""
    if expected.startswith("hears "):
        wanted = [] if expected == "hears nothing" else expected[6:].split(", then ")
        heard = [] if got == "hears nothing" else got[6:].split(", then ")
        return len(heard) > len(wanted)
    return expected == "does not get it"


def _says(line: str, text: str) -> bool:
    """Return whether a line ends with this, or is it."""
    return bool(text) and (line == text or line.endswith(f" {text}"))
