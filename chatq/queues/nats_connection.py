"""A connection to NATS that is kept: questions are asked until there is an answer, or time is up.

Owns connecting, by the `nats` client, and what is said of a cluster that does not answer. Must not
know: streams, what is asked.
"""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections.abc import Callable
from typing import Any

from ..turn import set_within
from .nats_address import Address
from .store import StoreError

__all__ = ["ATTEMPT", "PATIENCE", "PAUSE", "SOON", "Connection", "Unconfirmed"]

_log = logging.getLogger("chatq")

#: For how many seconds anything may go unconfirmed. NATS needs up to ten to find a new leader.
PATIENCE = 20.0
#: How long one attempt may take before another is made, and the pause before that, in seconds.
ATTEMPT = 2.0
PAUSE = 0.1
#: How long the first attempt may take of what may be asked twice. (While a stream has no leader yet
#: or any more, JetStream does not answer what is asked of it, nor does it afterwards.)
SOON = 0.25
#: For how long to look for a server that answers, in seconds.
_CONNECT = 5.0
#: What JetStream says while it looks for a leader, or has too few nodes: ask again.
_FOR_NOW = {10005, 10008, 10009, 10023}


class Unconfirmed(StoreError):
    """NATS did not confirm in time: what was asked may have been done, or may be done yet."""


class Connection:
    """A connection to the servers of `address`; see `open`.

    `patience`: for how many seconds a question may go unanswered; `client`: the client of `nats`,
    `error` and `no_responders` its errors; `closing`: set when this is to end; `again`: called
    when it is connected again.
    """

    client: Any
    error: type[Exception]
    no_responders: type[Exception]

    def __init__(self, address: Address, patience: float) -> None:
        self.address, self.patience = address, patience
        self.closing = asyncio.Event()
        self.again: Callable[[], None] = lambda: None
        self.client = None
        self._refused = asyncio.Event()  # the login
        self._why = ""  # what the client has last complained of

    async def open(self) -> None:
        """Connect, and from then on again whenever that is lost; `StoreError` if it cannot be."""
        try:
            import nats
            from nats.aio.client import Client
        except ImportError:
            raise StoreError(
                "queues on NATS need its client: `python -m pip install nats-py`"
            ) from None
        self.error, self.no_responders = nats.errors.Error, nats.errors.NoRespondersError
        self.client = Client()
        connecting = asyncio.ensure_future(
            self.client.connect(
                self.address.servers,
                name="chatq",
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=0.1,
                connect_timeout=1,
                ping_interval=2,
                max_outstanding_pings=2,
                error_cb=self._complains,
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

    async def _complains(self, error: Exception) -> None:
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
        self, subject: str, payload: bytes, patience: float, attempt: float = ATTEMPT
    ) -> dict[str, Any]:
        """Ask until there is an answer that is not «for now»; raise `Unconfirmed` after that.

        `attempt`: for how many seconds to wait before it is asked again, doubled each time.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        problem = ""
        while True:
            left = end - loop.time()
            if self.closing.is_set() or left <= 0:
                raise self.unconfirmed(problem, patience)
            try:
                if not self.client.is_connected:  # or else the client would keep it, and every copy
                    raise ConnectionError("not connected")
                reply = await self.client.request(subject, payload, timeout=min(attempt, left))
            except self.no_responders:
                problem = "nobody answers for JetStream"
            except (TimeoutError, OSError, self.error) as error:
                problem = str(error) or type(error).__name__
                attempt = min(2 * attempt, ATTEMPT)
            else:
                answer: dict[str, Any] = json.loads(reply.data)
                error_code = answer.get("error", {}).get("err_code")
                if error_code not in _FOR_NOW:
                    return answer
                problem = answer["error"].get("description", str(error_code))
            await self.pause(min(PAUSE, max(0.0, end - loop.time())))

    async def pause(self, seconds: float) -> None:
        """Wait for so long, or until it is closed."""
        await set_within(self.closing, seconds)

    def unconfirmed(self, problem: str, patience: float) -> Unconfirmed:
        """Return the error for what was not answered."""
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
        """Let go; closing twice is harmless."""
        self.closing.set()
        if self.client is not None and not self.client.is_closed:
            try:
                async with asyncio.timeout(1.0):
                    await self.client.close()
            except (TimeoutError, OSError, self.error):
                pass
