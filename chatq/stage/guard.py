"""Who may reach the server of a stage: under which names, and with which secret.

Owns both checks, the words for who is refused, and how clients present the secret. Must not know:
how the server is served, clients, what they ask.

Of jupyter-server-proxy a stage gets the `Host` of Jupyter, which may be anything where Jupyter is
on another machine. That is let in all the same, in a kernel of Jupyter alone: a page whose name is
made to lead here can say anything, but not another port than the stage's, since a name has none.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, urlsplit

from ..hosts import Hosts, host_in, shown
from ..internals.front import Asked, Refusal

__all__ = ["HOSTS", "Guard"]

#: The variable of the environment that names further hosts, with spaces between them.
HOSTS = "CHATQ_ALLOW_HOST"
_HEADER = "X-Chatq-Secret"
#: What Jupyter sets for its kernels.
_KERNEL = "JPY_PARENT_PID"


class Guard:
    """Lets in requests to a host that is known, with the secret, if there is one ("": none).

    `names`: hosts besides those of this machine, and those that the environment names.
    """

    def __init__(
        self, names: Iterable[str], secret: str | None, environ: Mapping[str, str]
    ) -> None:
        if isinstance(names, str):
            raise TypeError(f"hosts are a list of names, like [{names!r}]")
        self._hosts = Hosts([*names, *environ.get(HOSTS, "").replace(",", " ").split()])
        self._in_jupyter = _KERNEL in environ
        self._secret = secret or ""
        good = secret is None or (secret.isascii() and secret.isprintable() and secret.split())
        if not good or self._secret != self._secret.strip():
            raise ValueError(
                "a secret has printable ASCII characters, and no space at its ends: "
                "secret=secrets.token_urlsafe() makes one"
            )

    def check(self, asked: Asked) -> Refusal | None:
        """Return why a request is refused; None: it is not."""
        wrong = self._hosts.refused(asked.headers.get("host", []), asked.target, asked.local)
        if wrong is None:  # Engine.IO believes this: a page of such an origin would be let in
            wrong = next((name for name in asked.forwarded() if not self._hosts.know(name)), None)
        if wrong is not None and not (self._in_jupyter and _by_jupyters_proxy(asked)):
            name = shown(wrong)
            told = name if host_in(wrong) else "NAME"
            return Refusal(
                403,
                f"This stage does not answer to {name}, but to names of this machine (localhost, "
                "127.0.0.1). If you came here by a proxy, name it before "
                f"the stage is opened: Stage(sio, hosts=[{told!r}]), or set {HOSTS}={told} in the "
                "environment (in a notebook: %env).\n",
            )
        if self._secret and not self._presented(asked):
            return Refusal(
                401,
                "This stage wants a secret: give it as the password, with any name.\n",
                {"WWW-Authenticate": 'Basic realm="chatq"'},
            )
        return None

    def _presented(self, asked: Asked) -> bool:
        given = asked.header(_HEADER.lower()) or _password(asked.header("authorization"))
        return hmac.compare_digest(given.encode(), self._secret.encode())

    def headers(self) -> dict[str, str]:
        """Return the headers of a client of the stage."""
        return {_HEADER: self._secret} if self._secret else {}

    def address(self, url: str) -> str:
        """Return an address of the stage with the secret in it, for a process of its own."""
        if not self._secret:
            return url
        where = urlsplit(url)
        return where._replace(
            netloc=f"chatq:{quote(self._secret, safe='')}@{where.netloc}"
        ).geturl()


def _by_jupyters_proxy(asked: Asked) -> bool:
    """Return whether jupyter-server-proxy hands this on: it says so of all but websockets, of which
    a page cannot say anything."""
    host = asked.header("host")
    port = re.search(r":([0-9]+)$", host)
    if host_in(host) is None or not asked.port or (port and int(port[1][:9]) == asked.port):
        return False
    path = asked.header("x-proxycontextpath").rstrip("/")
    return asked.header("upgrade").lower() == "websocket" or bool(
        re.search(rf"/proxy/(absolute/)?([^/]*:)?{asked.port}$", path)
    )


def _password(header: str) -> str:
    scheme, _, given = header.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
