"""Where queues on NATS are: an address, read from a URL.

Owns the form of such a URL. Must not know: connections, what is there.
"""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

__all__ = ["Address"]


class Address(NamedTuple):
    """Where the stream is: `servers` as URLs, and its `stream`.

    `told`: all of it, without a password; `patience`: for how many seconds anything may go
    unconfirmed; None: nothing was said of that.
    """

    servers: list[str]
    stream: str
    told: str
    patience: float | None

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read "nats://[user:password@]host[:port][,host[:port]…][/stream][?patience=seconds]".

        Raises `ValueError` for anything else.
        """
        parts = urlsplit(url)
        login, _, hosts = parts.netloc.rpartition("@")
        stream = _stream(parts.path.strip("/") or "chatq")
        good = parts.scheme in ("nats", "tls") and all(hosts.split(","))
        said = parse_qs(parts.query, keep_blank_values=True)
        if not good or parts.fragment or said.keys() - {"patience"}:
            raise ValueError(
                'a NATS address is "nats://host1,host2,host3/STREAM", perhaps with '
                f'"?patience=SECONDS", not {parts._replace(netloc=hosts).geturl()!r}'
            )
        patience = _seconds(said["patience"][0]) if said else None
        login = f"{login}@" if login else ""
        each = [host if _has_port(host) else f"{host}:4222" for host in hosts.split(",")]
        servers = [f"{parts.scheme}://{login}{host}" for host in each]
        return cls(servers, stream, f"{parts.scheme}://{hosts}/{stream}", patience)

    def beside(self, name: str) -> Address:
        """Return the address of another stream, called this one's name and then `name`.

        Raises `ValueError` for what cannot be in a name.
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
