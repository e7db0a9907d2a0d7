"""The handlers of a python-socketio server or client: whether there is one for an event, and which.

Owns python-socketio's order of handlers. Must not know: what events mean, whose handlers they are.

The first that there is gets an event: the function for it in its namespace, the catch-all there,
the function for it in all namespaces, the catch-all of those; then the class of the namespace, and
at last the class of all namespaces.

Touches python-socketio 5.18 (`handlers`, `namespace_handlers`, `trigger_event`,
`_get_event_handler`, `_get_namespace_handler`).
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import socketio  # type: ignore[import-untyped]

__all__ = ["NextHandler", "listens", "next_handler"]

_GENERIC = (socketio.AsyncNamespace.trigger_event, socketio.AsyncClientNamespace.trigger_event)


def listens(side: Any, event: Any, namespace: str) -> bool:
    """Return whether this server or client has a handler for `event`."""
    if not isinstance(event, str):
        return False
    if event in side.handlers.get(namespace, ()):  # the usual case, kept fast
        return True
    if side._get_event_handler(event, namespace, ())[0] is not None:
        return True
    handler = side._get_namespace_handler(namespace, ())[0]
    return handler is not None and _class_handles(handler, event)


def _class_handles(handler: Any, event: str) -> bool:
    """Return whether this object of a class-based namespace does something with `event`."""
    return _sees_all(handler) or hasattr(handler, f"on_{event}")


def _sees_all(handler: Any) -> bool:
    """Return whether it has a `trigger_event` of its own, which gets every event."""
    return type(handler).trigger_event not in _GENERIC or "trigger_event" in vars(handler)


class NextHandler(NamedTuple):
    """A handler: what it is, in words; whether it is meant for this very event (else it is a
    catch-all, for those that have no handler); and how it is called: the function, and what it gets
    before the sid."""

    words: str
    meant: bool
    function: Any
    before: tuple[str, ...]

    async def __call__(self, *arguments: Any) -> Any:
        """Call it with the sid and the arguments of the event, and return what it returns."""
        result = self.function(*self.before, *arguments)
        return await result if inspect.isawaitable(result) else result


def next_handler(sio: Any, event: str, namespace: str, ours: Any = None) -> NextHandler | None:
    """Return the handler that gets `event` in `namespace` unless `ours` does; None: there is none.

    `ours`: a function that is passed over.
    """
    everywhere = "all namespaces"
    for where, name, words, before in (
        (namespace, event, f"a handler of {event!r} in {namespace}", ()),
        (namespace, "*", f"a catch-all in {namespace}", (event,)),
        ("*", event, f"a handler of {event!r} in {everywhere}", (namespace,)),
        ("*", "*", f"a catch-all in {everywhere}", (event, namespace)),
    ):
        function = sio.handlers.get(where, {}).get(name)
        if function is not None and function != ours:
            return NextHandler(words, name == event, function, before)
    for where, words, before in ((namespace, namespace, ()), ("*", everywhere, (namespace,))):
        handler = sio.namespace_handlers.get(where)
        if handler is not None:
            if not _class_handles(handler, event):
                return None
            how = "a class with its own trigger_event" if _sees_all(handler) else "a handler"
            what = f"{how} of {event!r} in {words}"
            return NextHandler(what, True, handler.trigger_event, (event, *before))
    return None
