"""The address of a stream on NATS, parsed from a URL.

Owns the form of such a URL. Must not know: connections, streams.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

__all__ = ["Address"]


class Address(NamedTuple):
    """An address: the `servers` as URLs, and the name of the `stream`.

    `told`: the URL without the login, for messages; `patience`: the time-out of a request in
    seconds; None: not given.
    """

    servers: list[str]
    stream: str
    told: str
    patience: float | None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse "nats://[user:password@]host[:port][,host[:port]…][/stream][?patience=seconds]".

        Raises `ValueError` for anything else.
        """
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        stream = _stream(parts.path.strip("/") or "chatq")
        valid = parts.scheme in ("nats", "tls") and all(hosts.split(","))
        query = parse_qs(parts.query, keep_blank_values=True)
        if not valid or parts.fragment or query.keys() - {"patience"}:
            raise ValueError(
                'a NATS address is "nats://host1,host2,host3/STREAM", perhaps with '
                f'"?patience=SECONDS", not {parts._replace(netloc=hosts).geturl()!r}'
            )
        patience = _seconds(query["patience"][0]) if query else None
        login = f"{login}@" if login else ""
        each = [host if _has_port(host) else f"{host}:4222" for host in hosts.split(",")]
        servers = [f"{parts.scheme}://{login}{host}" for host in each]
        return cls(servers, stream, f"{parts.scheme}://{hosts}/{stream}", patience)

    def beside(self, name: str) -> Address:
        """Return the address of the stream "STREAM-`name`" at the same servers.

        Raises `ValueError` for characters that cannot be in a name.
        """
        stream = _stream(f"{self.stream}-{name}")
        return Address(self.servers, stream, f"{self.told}-{name}", self.patience)


def _stream(name: str) -> str:
    if not (name.replace("-", "").replace("_", "").isalnum() and name.isascii()):
        raise ValueError(f"a stream's name has letters, digits, - and _, not {name!r}")
    return name


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ValueError(f"patience is a number of seconds above 0, not {text!r}")
    return seconds


def _has_port(host: str) -> bool:
    return ":" in host.rpartition("]")[2]
