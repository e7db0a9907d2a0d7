"""An interrupt (Ctrl-C, a kernel's "interrupt"): what runs is ended in order, and two lines say so.

Owns the signal while something runs, and how its exception is shown. Must not know: what runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Any

__all__ = ["ends_when_interrupted"]


@contextlib.contextmanager
def ends_when_interrupted(what: str) -> Iterator[None]:
    """Cancel the current task on an interrupt; then raise `KeyboardInterrupt` saying `what` ended.

    A second interrupt is left to whom it belonged before. Only signals of the main thread are seen.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert task is not None
    interrupted = False

    def interrupt(*given: Any) -> None:
        nonlocal interrupted
        if interrupted:
            signal.signal(signal.SIGINT, before)
            if callable(before):
                before(*given)
            return
        interrupted = True
        loop.call_soon_threadsafe(task.cancel)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except asyncio.CancelledError:
        if not interrupted or task.uncancel():
            raise  # it was cancelled by somebody else
        raise _short(what) from None
    finally:
        signal.signal(signal.SIGINT, before)
    if interrupted:  # it was over before it heard
        task.uncancel()
        raise _short(what)


def _short(what: str) -> KeyboardInterrupt:
    """Return an exception that is shown in two lines: where it went through says nothing."""
    lines = [f"KeyboardInterrupt: {what} was interrupted.", "All that it had begun has ended."]
    error = KeyboardInterrupt("\n".join(lines)[len("KeyboardInterrupt: ") :])
    error._render_traceback_ = lambda: lines  # type: ignore[attr-defined]  # asked by IPython
    earlier = sys.excepthook

    def show(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
        if value is error:
            print("\n".join(lines), file=sys.stderr)
        else:
            earlier(kind, value, trace)

    sys.excepthook = show
    return error
