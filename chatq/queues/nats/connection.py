"""A connection to NATS that reconnects, and retries a request until its reply or its time-out.

Owns connecting, by the `nats` client, and the errors for a cluster that does not answer. Must not
know: streams, what a request means.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ...waiting import set_within
from ..store import StoreError
from .address import Address

__all__ = ["ATTEMPT", "PATIENCE", "PAUSE", "SOON", "Connection", "Unconfirmed"]

_log = logging.getLogger("chatq")

#: The time-out of a request, in seconds. NATS needs up to ten to elect a leader.
PATIENCE = 20.0
#: The time-out of one attempt, and the pause before the next, in seconds.
ATTEMPT = 2.0
PAUSE = 0.1
#: The time-out of the first attempt of an idempotent request. (JetStream never answers a request
#: that came while the stream had no leader.)
SOON = 0.25
#: The time-out of connecting, in seconds.
_CONNECT = 5.0
#: JetStream's error codes while it elects a leader, or has too few nodes: retry.
_RETRY_CODES = {10005, 10008, 10009, 10023}


class Unconfirmed(StoreError):
    """NATS did not confirm in time: the request may have been executed, or may yet be."""


class Connection:
    """A connection to the servers of `address`; see `open`.

    `patience`: the time-out of a request in seconds; `client`: the client of `nats`, `error` and
    `no_responders` its errors; `closing`: set when this is to end; `again`: called after a
    reconnection.
    """

    address: Address
    patience: float
    closing: asyncio.Event

    client: Any
    error: type[Exception]
    no_responders: type[Exception]

    def __init__(self, address: Address, patience: float) -> None:
        self.address, self.patience = address, patience
        self.closing = asyncio.Event()
        self.again: Callable[[], None] = lambda: None
        self.client = None
        self._refused = asyncio.Event()  # the login
        self._why = ""  # the client's last error

    async def open(self) -> None:
        """Connect, and from then on reconnect; raises `StoreError` if no server is reached."""
        try:
            import nats
            from nats.aio.client import Client
        except ImportError:
            raise StoreError(
                "queues on NATS need its client: `python -m pip install nats-py`"
            ) from None
        self.error, self.no_responders = nats.errors.Error, nats.errors.NoRespondersError
        self.client = Client()
        servers, login = self._login()
        connecting = asyncio.ensure_future(
            self.client.connect(
                servers,
                **login,
                name="chatq",
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.1,
                connect_timeout=1,
                ping_interval=2,
                max_outstanding_pings=2,
                error_cb=self._failed,
                disconnected_cb=self._disconnected,
                reconnected_cb=self._reconnected,
            )
        )
        refused = asyncio.ensure_future(self._refused.wait())
        try:
            first: set[asyncio.Future[Any]] = {connecting, refused}
            await asyncio.wait(
                first,
                timeout=min(_CONNECT, self.patience),
                return_when=asyncio.FIRST_COMPLETED,
            )
            if not connecting.done():
                raise TimeoutError
            connecting.result()
        except (TimeoutError, OSError, ssl.SSLError, self.error) as error:
            self._why = self._why or str(error)
            raise StoreError(self._unreachable()) from None
        finally:
            refused.cancel()
            connecting.cancel()
            await asyncio.wait({connecting, refused})

    def _login(self) -> tuple[list[str], dict[str, str]]:
        """Return the servers without the login, and that as options of the client: it would not use
        one of a URL for servers of which it only hears from others."""
        parts = [urlsplit(server) for server in self.address.servers]
        plain = [part._replace(netloc=part.netloc.rpartition("@")[2]).geturl() for part in parts]
        user, password = parts[0].username, parts[0].password
        if user is None:
            return plain, {}
        return plain, {"token": user} if password is None else {"user": user, "password": password}

    def _unreachable(self) -> str:
        if self._refused.is_set():
            return (
                f"NATS at {self.address.told} refuses the login ({self._why}): give the right one, "
                "as nats://USER:PASSWORD@HOST"
            )
        return (
            f"no NATS server answers at {self.address.told} ({self._why or 'no answer'}): start "
            "one, or mend the address"
        )

    async def _failed(self, error: Exception) -> None:
        self._why = str(error) or type(error).__name__
        if "auth" in self._why.lower():
            self._refused.set()

    async def _disconnected(self) -> None:
        if not self.closing.is_set():
            _log.warning("lost the connection to NATS at %s; connecting again", self.address.told)

    async def _reconnected(self) -> None:
        _log.warning("connected to NATS at %s again", self.address.told)
        self.again()

    async def request(
        self,
        subject: str,
        payload: bytes,
        patience: float,
        attempt: float = ATTEMPT,
        headers: dict[str, str] | None = None,
        within: float | None = None,
    ) -> dict[str, Any]:
        """Send a request, and again until it is answered; return the reply, errors included.

        `patience`: the time-out in seconds, `attempt`: that of the first attempt, doubled each
        time; `headers`: of the request; `within`: the time-out of the whole of which this is a
        part, for the error. Raises `Unconfirmed`.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        problem = ""
        while True:
            left = end - loop.time()
            if self.closing.is_set() or left <= 0:
                raise self.unconfirmed(problem, within or patience)
            try:
                if not self.client.is_connected:  # else the client would queue every attempt
                    raise ConnectionError("not connected")
                reply = await self.client.request(
                    subject, payload, timeout=min(attempt, left), headers=headers
                )
            except self.no_responders:
                problem = "nobody answers for JetStream"
            except (TimeoutError, OSError, self.error) as error:
                problem = str(error) or type(error).__name__
                attempt = min(2 * attempt, ATTEMPT)
            else:
                answer: dict[str, Any] = json.loads(reply.data)
                error_code = answer.get("error", {}).get("err_code")
                if error_code not in _RETRY_CODES:
                    return answer
                problem = answer["error"].get("description", str(error_code))
            await self.pause(min(PAUSE, max(0.0, end - loop.time())))

    async def pause(self, seconds: float) -> None:
        """Wait for so many seconds, or until it is closed."""
        await set_within(self.closing, seconds)

    def unconfirmed(self, problem: str, patience: float) -> Unconfirmed:
        """Return the error for a request that was not answered."""
        if self.client.is_connected:
            what = (
                f"{problem or 'no answer'}: there is no quorum of its nodes for now, or no "
                "JetStream; start the nodes that are missing"
            )
        else:
            what = f"not connected ({self._why or 'no answer'}): start a node, or mend the address"
        return Unconfirmed(
            f"NATS at {self.address.told} has not confirmed this within {patience:.2g} s; {what}. "
            "It may still be done later"
        )

    async def close(self) -> None:
        """Close the connection; closing twice is harmless."""
        self.closing.set()
        if self.client is not None and not self.client.is_closed:
            try:
                async with asyncio.timeout(1.0):
                    await self.client.close()
            except (TimeoutError, OSError, self.error):
                pass
