"""The names that a server on this machine answers to: its defence against DNS rebinding.

Owns how a `Host` header is read, and which hosts are known. Must not know: requests, servers, what
is said to who is refused.

A web page may have its own name lead to 127.0.0.1 once it is loaded; then it is of the same origin
as whatever listens here, and no other check holds it back. But its requests still bear its name.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

__all__ = ["Hosts", "host_in", "host_named", "shown"]

_HEADER = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9._-]+))(?::[0-9]*)?")
#: What no name has: an empty part, or a last part that browsers take for a number of an address.
_NO_NAME = re.compile(r"^\.|\.\.|(^|\.)([0-9]+|0x[0-9a-f]*)$")
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")


class Hosts:
    """Loopback (127.0.0.0/8, ::1, localhost), and `names`: other names and addresses, or "*".

    Raises `ValueError` for what is no name.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        given = [*names]
        self._all = "*" in given
        self._names = {host_named(name) for name in given if name != "*"}

    def know(self, header: str, local: str = "") -> bool:
        """Return whether this `Host` header (or the authority of a URL) is known.

        `local`: the address of this machine on which the connection came: it is known, too, since
        what an attacker can have lead here is a name.
        """
        host = host_in(header)
        if host is None:
            return False
        if self._all or host in self._names or host == "localhost":
            return True
        address = _address(host)
        return address is not None and (address.is_loopback or address == _address(local))

    def refused(self, headers: Iterable[str], target: str, local: str) -> str | None:
        """Return the host for which a request is refused, "" if that is none; None: it is not.

        `headers`: all its `Host` headers, which shall be one; `target`: what it asks for, which may
        be a whole URL, and then names a host, too.
        """
        named = [*headers]
        if len(named) != 1:
            return ""
        if absolute := _AUTHORITY.match(target):
            named.append(absolute[1])
        return next((name for name in named if not self.know(name, local)), None)


def host_in(header: str) -> str | None:
    """Return the host of a `Host` header in one spelling, without its port; None: it is none.

    Lower case, without the dot at the end of a name; addresses as `ipaddress` writes them, an IPv4
    address inside IPv6 as IPv4. Other spellings of addresses (decimal, octal, shortened) are no
    addresses here: browsers write none of them into a header.
    """
    match = _HEADER.fullmatch(header)
    if match is None:
        return None
    text = match[1] or match[2]
    address = _address(text)
    if match[1] or address is not None:
        return str(address) if address is not None else None
    name = text.lower().removesuffix(".")
    return name if name and not name.endswith(".") and _address(name) is None else None


def host_named(name: str) -> str:
    """Return a name or an address that somebody has configured, as `host_in` spells it.

    Case does not count, nor a dot at the end; IPv6 with brackets or without. Raises `ValueError`
    for what is neither, with what may have been meant.
    """
    address = _address(name.removeprefix("[").removesuffix("]"))
    known = str(address) if address is not None else host_in(name)
    if known is None or (address is None and (":" in name or _NO_NAME.search(known))):
        raise ValueError(
            "a host is a name or an address alone, like chat.example, "
            f"not {name!r:.200}{_meant(name)}"
        )
    return known


def _meant(name: str) -> str:
    """Return what somebody may have meant by what is no host."""
    if "*" in name or name.startswith("."):
        return ": there are no patterns; name each host, or give * alone, for all"
    if "," in name or " " in name.strip():
        return ": each is given by itself"
    authority = _AUTHORITY.match(name)
    text = (authority[1] if authority else re.split("[/?#]", name, maxsplit=1)[0]).strip()
    try:
        text = text if text.isascii() else text.encode("idna").decode("ascii")
    except UnicodeError:
        return ""
    host = host_in(text)
    if host is None or (_address(host) is None and _NO_NAME.search(host)):
        return ""
    return f": did you mean {host}? (Its port and scheme do not count.)"


def shown(header: str) -> str:
    """Return the host of a header to be quoted, or words for what is none."""
    return host_in(header[:100]) or "a host that is none"


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if address.version == 6 else None
    return mapped or address
