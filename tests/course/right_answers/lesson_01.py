"""Right answers to lesson 01 in other styles."""

from __future__ import annotations

import asyncio
from functools import partial

import socketio

from . import right


@right("01.1")
def in_a_class(sio):
    """The handlers are the methods of a class."""

    class Line(socketio.AsyncNamespace):
        async def on_say(self, sid, text):
            await self.emit("news", text)

    sio.register_namespace(Line("/"))


@right("01.1")
def partly(sio):
    """The handler is made by `partial`."""

    async def passes_on(event, sid, text):
        await sio.emit(event, text)

    sio.on("say", partial(passes_on, "news"))


@right("01.1")
def whatever_comes(sio):
    """One handler for every event, and a room for all."""

    @sio.on("*")
    async def anything(event, sid, *arguments):
        if event == "say":
            await sio.emit("news", *arguments, room="all")

    @sio.event
    async def connect(sid, environ):
        await sio.enter_room(sid, "all")


@right("01.1")
def one_by_one(sio):
    """A list is kept of those who are there; each is told in a task of its own."""
    there = set()
    sio.on("connect", lambda sid, environ: there.add(sid))
    sio.on("disconnect", lambda sid, reason: there.discard(sid))

    @sio.event
    def say(sid, text):
        for one in there:
            sio.start_background_task(sio.emit, "news", text, to=one)


@right("01.2")
def in_a_class_that_remembers(sio):
    """The last word is kept in the object."""

    class Line(socketio.AsyncNamespace):
        last = None

        async def on_connect(self, sid, environ):
            if self.last is not None:
                await self.emit("news", self.last, room=sid)

        async def on_say(self, sid, text):
            self.last = text
            await self.emit("news", text)

    sio.register_namespace(Line("/"))


@right("01.2")
def in_the_background(sio):
    """Whoever dials is told when the handler has returned."""
    said = []

    @sio.event
    def connect(sid, environ, auth):
        for text in said[-1:]:
            sio.start_background_task(sio.emit, "news", text, to=sid)

    @sio.event
    async def say(sid, text):
        said.append(text)
        await sio.emit("news", text)


@right("01.2")
def with_a_lock(sio):
    """One after the other: whoever dials waits until the word is out."""
    lock, last = asyncio.Lock(), {}

    async def connect(sid, environ):
        async with lock:
            if "text" in last:
                await sio.emit("news", last["text"], to=sid)

    async def say(sid, text):
        async with lock:
            await sio.emit("news", text)
            last["text"] = text

    sio.on("connect", connect)
    sio.on("say", say)
