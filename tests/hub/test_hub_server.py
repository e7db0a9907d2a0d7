"""The hub's own part of the wire, with a real connection under it."""

from __future__ import annotations

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web
from engineio.exceptions import QueueEmpty
from engineio.packet import MESSAGE, Packet

from chatq.hub.gate import RateLimit
from chatq.internals.hub_server import POLLED, hub_server


@pytest.fixture
async def polled():
    """The server's end of a client that polls, and has been given all so far."""
    sio = hub_server(RateLimit().may)
    sio.on("connect", lambda sid, environ: None)
    application = web.Application()
    sio.attach(application)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/socket.io/?EIO=4&transport=polling"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200
    (end,) = sio.eio.sockets.values()
    yield end
    await sio.shutdown()
    await runner.cleanup()


def put(end, numbers) -> None:
    for n in numbers:
        end.queue.put_nowait(Packet(MESSAGE, str(n)))


async def test_a_poll_takes_no_more_than_a_client_can_read(polled):
    """Also of what comes between the question and the answer, before which no place is left."""
    poll = asyncio.ensure_future(polled.poll())
    # After the poll has begun, and before it goes on.
    asyncio.get_running_loop().call_soon(put, polled, range(40))
    got = [await poll]
    put(polled, range(40, 50))
    poll = asyncio.ensure_future(polled.poll())
    asyncio.get_running_loop().call_soon(put, polled, range(50, 60))
    got += [await poll, await polled.poll(), await polled.poll()]
    assert [len(packets) for packets in got] == [POLLED] * 3 + [60 - 3 * POLLED]
    assert [int(packet.data) for packets in got for packet in packets] == [*range(60)]
    await polled.queue.join()  # and the hub knows that it has been given all


async def test_the_end_of_a_connection_comes_after_all_that_was_sent(polled):
    put(polled, range(3))
    polled.queue.put_nowait(None)
    assert len(await polled.poll()) == 3
    assert await polled.poll() == []


async def test_a_poll_that_is_given_up_is_an_empty_one(polled):
    poll = asyncio.ensure_future(polled.poll())
    asyncio.get_running_loop().call_soon(poll.cancel)
    with pytest.raises(QueueEmpty):
        await poll
