"""Wrapping of single methods of single objects, which can be undone; and what is kept on an object.

Owns how a method is replaced and put back, also where somebody else has wrapped it since. Must not
know: what is wrapped, and for what.

Touches python-engineio 4.15 (`handlers` and `on` of its server).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

__all__ = ["Wrapped", "kept_on"]

Kind = TypeVar("Kind")


def kept_on(owner: Any, kind: Callable[[Any], Kind]) -> Kind:
    """Return the one `kind` of `owner`: `kind(owner)`, made when it is first asked for."""
    name = f"chatq {kind.__qualname__}"
    if name not in vars(owner):
        vars(owner)[name] = kind(owner)
    kept: Kind = vars(owner)[name]
    return kept


class Wrapped:
    """The methods and Engine.IO handlers that were wrapped, until `undo`."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], None]] = []

    def method(self, target: Any, name: str, wrapper: Callable[..., Any]) -> None:
        """Call `wrapper(original, *arguments)` in place of the method `name` of `target`."""
        original = getattr(target, name)
        before = vars(target).get(name)

        def undo() -> None:
            if vars(target).get(name) is not wrapped:  # somebody has wrapped it since: it stays
                wrapped.__setstate__((original, (), {}, None))
            elif before is None:
                delattr(target, name)
            else:
                setattr(target, name, before)

        wrapped: Any = partial(wrapper, original)
        setattr(target, name, wrapped)
        self._undo.append(undo)

    def handlers(self, engine: Any, wrappers: dict[str, Callable[..., Any]]) -> None:
        """Call `wrapper(original, *arguments)` in place of the handlers of these events of
        `engine`, an Engine.IO server; also of those that somebody registers later."""

        def wrap(event: str) -> None:
            engine.handlers[event] = partial(wrappers[event], engine.handlers[event])

        def on(original: Callable[..., Any], event: str, handler: Any = None) -> Any:
            if handler is None:  # a decorator
                return lambda function: on(original, event, function) or function
            result = original(event, handler)
            if event in wrappers:
                wrap(event)
            return result

        def undo() -> None:
            for event, wrapper in wrappers.items():
                handler = engine.handlers[event]
                if isinstance(handler, partial) and handler.func == wrapper:
                    engine.handlers[event] = handler.args[0]

        for event in wrappers:
            wrap(event)
        self.method(engine, "on", on)
        self._undo.append(undo)

    def undo(self) -> None:
        """Put everything back, the last wrapped first."""
        while self._undo:
            self._undo.pop()()
