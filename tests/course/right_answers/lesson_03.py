"""Right answers to lesson 03 in other styles."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import socketio

from . import right


@right("03.1")
def in_a_class(sio):
    """A method of a class, with a list of those to leave out."""

    class Line(socketio.AsyncNamespace):
        async def on_say(self, sid, text):
            await self.emit("news", text, skip_sid=[sid])

    sio.register_namespace(Line("/"))


@right("03.1")
def to_each_of_the_others(sio):
    """A list is kept of those who are there, and the others are told one by one."""
    there = {}

    @sio.event
    def connect(sid, environ):
        there[sid] = True

    @sio.event
    def disconnect(sid, reason):
        del there[sid]

    @sio.event
    async def say(sid, text):
        for other in [*there]:
            if other != sid:
                await sio.emit("news", text, to=other)


@right("03.1")
def whatever_comes(sio):
    """One handler for every event, and the work in the background."""

    @sio.on("*")
    def anything(event, sid, *arguments):
        if event == "say":
            sio.start_background_task(sio.emit, "news", *arguments, skip_sid=sid)


@right("03.2")
def a_dict_of_sets(sio):
    """The rooms are the answer's own; the members are told together, if there are any."""
    rooms = defaultdict(set)

    @sio.event
    def here(sid, room):
        rooms[room].add(sid)

    @sio.event
    async def whisper(sid, room, text):
        if others := [*rooms[room] - {sid}]:  # `to=[]` would be everybody
            await sio.emit("news", text, to=others)

    @sio.event
    def disconnect(sid, reason):
        for members in rooms.values():
            members.discard(sid)


@right("03.2")
def rooms_in_a_class(sio):
    """Methods of a class, and `room=`."""

    class Rooms(socketio.AsyncNamespace):
        async def on_here(self, sid, room):
            await self.enter_room(sid, room)

        async def on_whisper(self, sid, *message):
            room, text = message
            await self.emit("news", text, room=room, skip_sid=sid)

    sio.register_namespace(Rooms("/"))


@right("03.2")
def under_names_of_its_own(sio):
    """The server's rooms have other names; the handlers are made by `partial`."""

    async def enters(prefix, sid, room):
        await sio.enter_room(sid, prefix + room)

    async def whispers(prefix, sid, room, text):
        await sio.emit("news", text, to=[prefix + room], skip_sid=sid)

    sio.on("here", partial(enters, "room of "))
    sio.on("whisper", partial(whispers, "room of "))


@right("03.2")
def in_the_session(sio):
    """Each client's session says where it is."""

    @sio.event
    async def here(sid, room):
        async with sio.session(sid) as session:
            session.setdefault("rooms", []).append(room)

    @sio.event
    async def whisper(sid, room, text):
        for other, _ in [*sio.manager.get_participants("/", None)]:
            if other != sid and room in (await sio.get_session(other)).get("rooms", []):
                await sio.emit("news", text, to=other)
