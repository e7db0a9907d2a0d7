"""Which web pages may talk to a hub, by their origin, and under which names it is reached.

Owns that choice, and the words for who is refused: to the page, and to whoever runs the hub. Must
not know: servers, tokens, how requests are read.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable

from ..hosts import Hosts, host_in, shown
from ..internals.front import Asked, Refusal

__all__ = ["Origins", "origin_named"]

_log = logging.getLogger("chatq.hub")

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@\s,\\]+)")
_PORTS = {"http": "80", "https": "443"}


class Origins:
    """The checks of each request to a hub, before anything else is done with it.

    `hosts`: the names that it answers to; `origins`: of other pages that may connect, as
    `origin_named` spells them, or "*": those of the hub's own origin always may. `behind_proxy`:
    whether `X-Forwarded-Host` and `X-Forwarded-Proto` are believed: then the hub's own origin is
    what they say, and such a host has to be known, too. `may_log`: asked before each line.
    """

    def __init__(
        self,
        hosts: Hosts,
        origins: Iterable[str] = (),
        behind_proxy: bool = False,
        may_log: Callable[[], bool] = lambda: True,
    ) -> None:
        self._hosts, self._origins = hosts, {*origins}
        self._behind_proxy, self._may_log = behind_proxy, may_log

    def check(self, asked: Asked) -> Refusal | None:
        """Return why a request is refused; None: it is not."""
        names = asked.headers.get("host", [])
        wrong = self._hosts.refused(names, asked.target, asked.local)
        if wrong is None:
            wrong = next(
                (name for name in self._forwarded(asked) if not self._hosts.know(name)), None
            )
        if wrong is not None:
            return self._refuse_host(wrong)
        origins = asked.headers.get("origin", [])
        wrong = next((origin for origin in origins if not self._permits(origin, asked)), None)
        return None if wrong is None else self._refuse_origin(wrong)

    def _permits(self, origin: str, asked: Asked) -> bool:
        known = _spelled(origin)
        return "*" in self._origins or (
            known is not None and (known in self._origins or known in self._own(asked))
        )

    def _own(self, asked: Asked) -> set[str | None]:
        """Return the origin of the hub itself, as this request came to it."""
        scheme = "https" if asked.secure else "http"
        if not (names := self._forwarded(asked)):
            names = [asked.header("host")]
        if self._behind_proxy and (told := asked.header("x-forwarded-proto")):
            scheme = told.partition(",")[0].strip().lower()
        return {_spelled(f"{scheme}://{name}") for name in names} - {None}

    def _forwarded(self, asked: Asked) -> list[str]:
        """Return the names under which a proxy was reached, if proxies are believed."""
        return asked.forwarded() if self._behind_proxy else []

    def _refuse_host(self, header: str) -> Refusal:
        name = shown(header)
        how = f"--allow-host {name}" if host_in(header) else "--allow-host NAME"
        if self._may_log():
            _log.warning("refused a request for the host %s: if that is this hub, %s", name, how)
        return Refusal(
            403, f"This hub does not answer to {name}. If that is its name, start it with {how}.\n"
        )

    def _refuse_origin(self, origin: str) -> Refusal:
        name = _spelled(origin) or "an origin that is none"
        name, how = (name, name) if len(name) <= 100 else (f"{name[:99]}…", "ORIGIN")
        if self._may_log():
            _log.warning("refused a page of %s: if it is yours, --allow-origin %s", name, how)
        return Refusal(
            403,
            f"Pages of {name} may not connect to this hub. If it is to serve them, start it with "
            f"--allow-origin {how}.\n",
            # So that the page's own script can read this, and nothing else.
            {"Access-Control-Allow-Origin": origin, "Vary": "Origin"},
        )


def origin_named(text: str) -> str:
    """Return an origin that somebody has configured, in one spelling.

    Raises `ValueError` for what is none.
    """
    origin = text if text == "*" else _spelled(text)
    if origin is None:
        raise ValueError(
            f"an origin is like https://shop.example or http://localhost:8000, without a path (or "
            f"null, or *), not {text!r}"
        )
    return origin


def _spelled(origin: str) -> str | None:
    """Return an origin in lower case and without the usual port of its scheme; None: it is none."""
    lower = origin.lower()
    if lower == "null":
        return lower
    match = _ORIGIN.fullmatch(lower)
    if match is None or not lower.isascii():
        return None
    scheme, where = match[1], match[2]
    if scheme not in _PORTS:
        return lower  # of an application, which has names of its own
    host = host_in(where)
    if host is None:
        return None
    port = where.rpartition(":")[2] if re.search(r":[0-9]+$", where) else _PORTS[scheme]
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}" + ("" if port == _PORTS[scheme] else f":{port}")
