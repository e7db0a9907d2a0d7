"""What is faster where `chatq[fast]` is installed: JSON by orjson, an event loop by uvloop.

Owns what is used of the two, and what takes their place. Must not know: what is encoded, servers.

orjson is used where it says the same as Python's own `json`, and only there. It reads an integer of
more than 64 bits as a float, so it reads only what this package has written itself. It writes text
as it is, so what is not ASCII is encoded again; and NaN as null, so what has a null is read again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from importlib import import_module
from json.encoder import c_make_encoder, encode_basestring_ascii  # type: ignore[attr-defined]
from typing import Any

__all__ = ["dumps", "found", "loads_own", "new_event_loop"]

_encoder = json.JSONEncoder(separators=(",", ":"), allow_nan=False)


def found() -> list[str]:
    """Return the names of the packages that are there."""
    return [name for name in ("orjson", "uvloop") if _imported(name) is not None]


def _imported(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None


def _standard() -> Callable[[Any], str]:
    """Return a function that encodes as `_encoder` does, in half the time where Python has it in C.

    `JSONEncoder.encode` makes a C encoder for each value; one is enough for all. (Without its
    memory of containers, data that contains itself ends in a `RecursionError`.)
    """
    if c_make_encoder is None:
        return _encoder.encode
    pieces = c_make_encoder(
        None, _encoder.default, encode_basestring_ascii, None, ":", ",", False, False, False
    )

    def encode(data: Any) -> str:
        """Encode data as JSON, in ASCII."""
        return "".join(pieces(data, 0))

    return encode


def _quicker(standard: Callable[[Any], str]) -> Callable[[Any], str]:
    """Return a function that encodes as `standard` does, by orjson if that is there."""
    orjson = _imported("orjson")
    if orjson is None:
        return standard
    quick, read = orjson.dumps, orjson.loads

    def encode(data: Any) -> str:
        """Encode data as JSON, in ASCII."""
        try:
            text: str = quick(data).decode()  # at once: bytes are searched more slowly than text
        except TypeError:  # it takes less: no lone surrogates, no large integers
            return standard(data)
        if text.isascii() and ("null" not in text or read(text) == data):
            return text
        return standard(data)

    return encode


def _reader() -> Callable[[str], Any]:
    orjson = _imported("orjson")
    loads: Callable[[str], Any] = (orjson or json).loads
    return loads


#: Encodes data whose types JSON gives back; raises `TypeError`, `ValueError` or `RecursionError`.
dumps: Callable[[Any], str] = _quicker(_standard())
#: Reads JSON whose integers have at most 64 bits.
loads_own: Callable[[str], Any] = _reader()


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop: uvloop's, if that is there."""
    loop: asyncio.AbstractEventLoop = (_imported("uvloop") or asyncio).new_event_loop()
    return loop
