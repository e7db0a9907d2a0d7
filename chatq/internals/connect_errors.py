"""Why python-socketio's client could not connect, in words, with what to do about it.

Owns how that is read off the client's `connect_error`. Must not know: who tries to connect, what is
waited for, where the words go.

The client tells least where most would help: over long polling the text of an error is left, over
a websocket the two words "Connection error"; while the event is handled, the error itself is still
there to be looked at. Texts of servers are quoted in one line, cut; URLs without what may be secret
in them.

Touches python-socketio 5.18 (`connection_url`), python-engineio 4.15 and aiohttp 3.14 (the texts of
their errors), OpenSSL's texts, and those of the system's resolvers.
"""

from __future__ import annotations

import re
import sys
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import engineio  # type: ignore[import-untyped]

__all__ = ["NOBODY", "address", "met"]

#: What is met where nothing listens: it may come yet.
NOBODY = "nothing listens there (yet?): is the server running, and is the port right?"
#: What stands in an error, and what is said of it; the first that is found counts.
_WORDS = (
    (
        r"Hostname mismatch|IP address mismatch",
        "its certificate is for another name than was dialled: dial a name that is in it",
    ),
    (
        r"certificate (has expired|is not yet valid)",
        "its certificate {0}: renew it at the server (or is a clock wrong?)",
    ),
    (
        r"certificate verify failed: ([\w -]+)",
        "its certificate is not trusted ({0}): if it is right, {trust}",
    ),
    (
        r"WRONG_VERSION_NUMBER|RECORD_LAYER_FAILURE|HTTP_REQUEST",
        "it does not speak TLS: is it http:// there, and not https://?",
    ),
    (r"\[SSL: (\w+)|\[SSL\] (\w+)", "TLS was not agreed upon ({0})"),
    (
        r"Name or service not known|name resolution|nodename nor servname|getaddrinfo failed|"
        r"No address associated|Name does not resolve|Name has no usable address",
        "the name of its host leads to no address: is it written right, and known to DNS?",
    ),
    (r"Connect call failed|[Cc]onnection refused$|refused the network|Errno (?:61|111)\b", NOBODY),
    (
        r"status code 403",
        "it refused the request (HTTP 403), and its log says why: a hub wants to be told its names "
        "(--allow-host) and the origins of pages (--allow-origin)",
    ),
    (
        r"status code (404|405)",
        "no Socket.IO server answers under that path (HTTP {0}): a hub's is /socket.io/",
    ),
    (r"status code (40[17])", "it wants to know who asks first (HTTP {0}): is there a proxy?"),
    (r"status code (5\d\d)", "the server, or a proxy in front of it, has failed (HTTP {0})"),
    (r"status code (\d+)", "it answered with HTTP {0}, as no Socket.IO server does"),
    (
        r"Server disconnected|[Cc]onnection reset",
        "it ended the connection without an answer: does it want TLS (https://)?",
    ),
    (
        r"OPEN packet|Unexpected response|Unexpected recv",
        "what answers there is no Socket.IO server, or one of an old protocol",
    ),
    (r"by the server$|^$", "it did not answer in time"),  # Engine.IO's words for an empty text
)
_TRUST = (
    "let the client trust it, with http_session=aiohttp.ClientSession(connector="
    'aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile="cert.pem")))'
)
_QUOTED = 300


def address(client: Any) -> str:
    """Return what this client dials: scheme, host and port, without a path, or who asks."""
    url = client.connection_url
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
    except ValueError:
        return "its server"
    if not parts.netloc:
        return "its server"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def met(client: Any, given: tuple[Any, ...], trust: str = _TRUST) -> str:
    """Return what this client met when it could not connect, and what to do.

    `given`: the arguments of its event `connect_error`, which is being handled; `trust`: how it is
    made to trust a certificate.
    """
    error = sys.exception()
    if not isinstance(error, engineio.exceptions.ConnectionError):
        return f"it refused: {_refusal(given[0] if given else None)}"
    url = client.connection_url
    if isinstance(url, str) and not urlsplit(url).netloc:
        return "that is no URL: it begins with http:// or https://"
    text = str(error.args[0] if error.args else "")
    cause = error.__cause__ or error.__context__
    if isinstance(cause, aiohttp.WSServerHandshakeError):
        text = f"status code {cause.status}"
    elif isinstance(cause, (OSError, aiohttp.ClientError)):  # which Engine.IO does not quote
        text = str(cause)
    for pattern, words in _WORDS:
        if found := re.search(pattern, text):
            said = next((group for group in found.groups() if group), "")
            return words.format(said.strip(), trust=trust)
    return _line(text)


def _refusal(answer: Any) -> str:
    """Return the words with which a server has refused a namespace."""
    text = answer.get("message", answer) if isinstance(answer, dict) else answer
    return _line(str(text)) if text else "it does not say why"


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _QUOTED else f"{line[: _QUOTED - 1]}…"
