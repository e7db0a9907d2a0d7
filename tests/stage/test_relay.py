"""A cable between a client and a server, cut and mended."""

import asyncio
from urllib.parse import urlsplit

import pytest

from chatq.stage.relay import Relay


async def echo(reader, writer):
    while data := await reader.read(100):
        writer.write(data)
    writer.close()


@pytest.fixture
async def relay():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    relay = await Relay.open(lambda: f"http://{host}:{port}")
    yield relay
    await relay.close()
    await relay.close()
    server.close()


async def dial(relay):
    where = urlsplit(relay.url)
    return await asyncio.open_connection(where.hostname, where.port)


async def answer(ends):
    reader, writer = ends
    try:
        writer.write(b"hello")
        async with asyncio.timeout(5):
            return await reader.read(100)
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_bytes_pass_both_ways(relay):
    assert await answer(await dial(relay)) == b"hello"


async def test_a_cut_ends_what_there_is_and_turns_away_what_comes_until_it_is_mended(relay):
    before = await dial(relay)
    before[1].write(b"hello")
    assert await before[0].read(100) == b"hello"
    relay.cut()
    assert await answer(before) == b""
    assert await answer(await dial(relay)) == b""
    relay.mend()
    assert await answer(await dial(relay)) == b"hello"


async def test_an_end_of_writing_is_passed_on(relay):
    reader, writer = await dial(relay)
    writer.write(b"bye")
    writer.write_eof()
    async with asyncio.timeout(5):
        assert await reader.read() == b"bye"
    writer.close()


async def test_where_nobody_listens_the_caller_is_hung_up_on():
    relay = await Relay.open(lambda: "http://127.0.0.1:9")
    assert await answer(await dial(relay)) == b""
    await relay.close()
