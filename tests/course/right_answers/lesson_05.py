"""Right answers to lesson 05 in other styles."""

from __future__ import annotations

import asyncio
from functools import partial

import socketio

from . import right

Refused = socketio.exceptions.ConnectionRefusedError


def key_in(auth):
    """The key that `auth` holds, or None."""
    return auth.get("key") if isinstance(auth, dict) else None


@right("05.1")
def one_class_twice(sio):
    """A class that knows its namespace."""

    class Place(socketio.AsyncNamespace):
        async def on_say(self, sid, text):
            await self.emit("news", text)

    for place in ("/bar", "/kitchen"):
        sio.register_namespace(Place(place))


@right("05.1")
def one_function_twice(sio):
    """The place is given to the handler beforehand."""

    async def say(place, sid, text):
        await sio.emit("news", text, namespace=place)

    for place in ("/bar", "/kitchen"):
        sio.on("say", partial(say, place), namespace=place)


@right("05.1")
def in_rooms(sio):
    """All in a place are in a room of it; whatever comes is passed on in the background."""

    def serve(place):
        @sio.on("connect", namespace=place)
        async def connect(sid, environ):
            await sio.enter_room(sid, "all", namespace=place)

        @sio.on("*", namespace=place)
        def anything(event, sid, text):
            sio.start_background_task(sio.emit, "news", text, room="all", namespace=place)

    serve("/bar")
    serve("/kitchen")


@right("05.2")
def a_class_with_a_list(sio, who_is):
    """Those who are inside are in a dict, and are told one by one."""

    class Staff(socketio.AsyncNamespace):
        def __init__(self):
            super().__init__("/staff")
            self.inside = {}

        async def on_connect(self, sid, environ, auth):
            if (name := await who_is(key_in(auth))) is None:
                raise Refused("you are not staff")
            self.inside[sid] = name

        def on_disconnect(self, sid, reason):
            self.inside.pop(sid, None)

        async def on_say(self, sid, text):
            for one in [*self.inside]:
                await self.emit("news", f"{self.inside[sid]}: {text}", to=one)

    sio.register_namespace(Staff())


@right("05.2")
def asks_again(sio, who_is):
    """The key is kept, not the name, and is looked up each time."""
    keys = {}

    @sio.on("connect", namespace="/staff")
    async def connect(sid, environ, auth=None):
        key = key_in(auth)
        if await who_is(key) is None:
            raise Refused("you are not staff")
        keys[sid] = key
        await sio.enter_room(sid, "inside", namespace="/staff")

    @sio.on("say", namespace="/staff")
    async def say(sid, text):
        news = f"{await who_is(keys[sid])}: {text}"
        await sio.emit("news", news, room="inside", namespace="/staff")


@right("05.2")
def one_at_a_time(sio, who_is):
    """One after the other at the door, and nobody is asked about twice."""
    door, known = asyncio.Lock(), {}

    async def name_of(auth):
        key = key_in(auth)
        if not isinstance(key, str):
            return None
        if key not in known:
            known[key] = await who_is(key)
        return known[key]

    @sio.on("connect", namespace="/staff")
    async def connect(sid, environ, auth):
        async with door:
            name = await name_of(auth)
        if name is None:
            raise Refused("you are not staff")
        await sio.save_session(sid, {"name": name}, namespace="/staff")
        await sio.enter_room(sid, "staff", namespace="/staff")

    @sio.on("say", namespace="/staff")
    async def say(sid, text):
        async with sio.session(sid, namespace="/staff") as session:
            news = session["name"] + ": " + text
        sio.start_background_task(sio.emit, "news", news, to="staff", namespace="/staff")


@right("05.2")
def leaves_out_who_waits(sio, who_is):
    """Everybody in the namespace is told, but those who wait."""
    names, waiting = {}, set()

    @sio.on("connect", namespace="/staff")
    async def connect(sid, environ, auth):
        waiting.add(sid)
        name = await who_is(key_in(auth))
        if name is None:
            waiting.discard(sid)
            raise Refused("you are not staff")
        names[sid] = name
        waiting.discard(sid)

    @sio.on("say", namespace="/staff")
    async def say(sid, text):
        news = ": ".join([names[sid], text])
        await sio.emit("news", news, skip_sid=[*waiting], namespace="/staff")
