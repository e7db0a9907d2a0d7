"""A server made for ASGI, in whatever application it is."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import asynccontextmanager
from functools import partial

import aiohttp
import pytest
import socketio
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Router

from chatq import Reason, Stage


@pytest.fixture
def sio():
    return socketio.AsyncServer(async_mode="asgi")


def chat(sio):
    """Return an application with a route that emits `news`."""
    app = FastAPI()

    @app.get("/shout/{text}")
    async def shout(text: str):
        await sio.emit("news", text)
        return "shouted"

    return app


async def say(sio, sid, text):
    await sio.emit("news", text, skip_sid=sid)


async def get(url):
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


def mounted(sio, at, path):
    app = chat(sio)
    app.mount(at, socketio.ASGIApp(sio, socketio_path=path))
    return app


def mounted_twice(sio):
    inside = Mount("/ws", socketio.ASGIApp(sio, socketio_path=None))
    return Router([Mount("/v1", routes=[inside])])


def in_a_function(sio):
    inside = socketio.ASGIApp(sio, chat(sio), socketio_path="deep/down")

    async def app(scope, receive, send):
        await inside(scope, receive, send)

    return app


#: Where the Socket.IO server is in an application, and the path that its clients then need.
PLACES = {
    "in none": (lambda sio: None, "socket.io"),
    "beside it": (chat, "socket.io"),
    "around it": (lambda sio: socketio.ASGIApp(sio, chat(sio)), "socket.io"),
    "around it, at a path": (lambda sio: socketio.ASGIApp(sio, chat(sio), None, "/a/b/"), "a/b"),
    "mounted": (lambda sio: mounted(sio, "/", "socket.io"), "socket.io"),
    "mounted at a path": (lambda sio: mounted(sio, "/ws", "/ws/socket.io"), "ws/socket.io"),
    "mounted, and all is its": (lambda sio: mounted(sio, "/ws", None), "ws/socket.io"),
    "mounted, with no path": (lambda sio: mounted(sio, "/ws", ""), "ws/socket.io"),
    "mounted twice": (mounted_twice, "v1/ws/socket.io"),
    "in a middleware": (
        lambda sio: CORSMiddleware(socketio.ASGIApp(sio, chat(sio), None, "x"), ["*"]),
        "x",
    ),
    "in a function": (in_a_function, "deep/down"),
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
async def test_clients_find_the_server_wherever_it_is(sio, place):
    make, path = PLACES[place]
    sio.on("say", partial(say, sio))
    app = make(sio)
    async with Stage(sio, app) as stage:
        ada, bob = await stage.clients("ada", "bob")
        cy = await stage.client("cy", transports=["polling"])
        for client in (ada, bob, cy):
            client.on("news", lambda text: text)
        await ada.emit("say", "hello")
        await stage.settle()
        assert stage.deliveries().who_got("news") == {"bob", "cy"}
        other = socketio.AsyncClient(handle_sigint=False)  # as of somebody else's
        await other.connect(stage.url, socketio_path=path)
        await other.disconnect()
        if place not in ("in none", "mounted twice"):
            assert await get(f"{stage.url}/shout/hi") == (200, '"shouted"')
            await stage.settle()
            assert stage.reason("cy", "news") is Reason.RECEIVED
            assert len(stage.deliveries("news").messages) == 2


async def test_the_application_lives_as_long_as_the_stage(sio):
    lived = []

    @asynccontextmanager
    async def lifespan(app):
        lived.append("began")
        yield
        lived.append("ended")

    async with Stage(sio, FastAPI(lifespan=lifespan)) as stage:
        assert lived == ["began"]
        assert (await get(f"{stage.url}/nowhere"))[0] == 404
    assert lived == ["began", "ended"]


async def test_an_application_that_does_not_start_says_so_and_leaves_nothing_behind(sio):
    @asynccontextmanager
    async def lifespan(app):
        raise OSError("no database")
        yield

    for _ in range(2):
        with pytest.raises(RuntimeError, match="did not start: OSError: no database"):
            await Stage.open(sio, FastAPI(lifespan=lifespan))

    def broken():
        raise OSError

    with pytest.raises(RuntimeError, match="did not start: it does not say why"):
        await Stage.open(sio, socketio.ASGIApp(sio, on_startup=broken))
    sio.on("ask", lambda sid: "answer")
    async with Stage(sio, chat(sio)) as stage:
        assert await (await stage.client("ada")).call("ask") == "answer"


async def test_an_application_may_know_nothing_of_its_life(sio):
    async def app(scope, receive, send):
        assert scope["type"] == "http", "what else?"
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"my page"})

    async with Stage(sio, app) as stage:
        assert await get(stage.url) == (200, "my page")
        await stage.client("ada")


async def test_a_response_that_never_ends_does_not_hold_up_closing(sio, caplog):
    app, ended = chat(sio), []

    @app.get("/stream")
    async def stream():
        async def forever():
            try:
                while True:
                    yield "more"
                    await asyncio.Event().wait()
            finally:
                ended.append("stream")

        return StreamingResponse(forever())

    @app.get("/hangs")
    async def hangs():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hangs")

    async with Stage(sio, app) as stage, aiohttp.ClientSession() as session:
        streaming = await session.get(f"{stage.url}/stream")
        assert await streaming.content.readany() == b"more"
        hanging = asyncio.create_task(session.get(f"{stage.url}/hangs"))
        await stage.until(lambda: any("hangs" in task for task in stage.tasks()), "the route")
        async with asyncio.timeout(5):
            await stage.close()
        assert (await hanging).status == 500
    assert sorted(ended) == ["hangs", "stream"]
    assert "Cancelled" not in caplog.text


async def test_the_process_keeps_its_signals_and_its_logging(sio):
    signals = [signal.SIGINT, signal.SIGTERM]
    before = [signal.getsignal(each) for each in signals]
    async with Stage(sio) as stage:
        await stage.client("ada")
        assert [signal.getsignal(each) for each in signals] == before
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        assert logging.getLogger(name).handlers == []


async def test_without_uvicorn_it_says_what_to_install(sio, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ModuleNotFoundError, match=r"python -m pip install 'chatq\[asgi\]'"):
        Stage(sio)
