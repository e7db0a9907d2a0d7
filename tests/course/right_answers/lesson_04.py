"""Lesson 04: rooms as a class, as sets of one's own, in a catch-all, by sessions."""

from __future__ import annotations

import hmac
from collections import defaultdict
from functools import partial

import socketio

from . import right

# -- 04.1 ------------------------------------------------------------------------------------------


@right("04.1")
def with_get(sio, words):
    """Asks for the room first, then for its word; enters in a handler without decorator."""

    async def join(sid, room, word):
        if room not in words or words[room] != word:
            return False
        await sio.enter_room(sid, room)
        return True

    sio.on("join", join)


@right("04.1")
def doors_in_a_class(sio, words):
    """A class of handlers; the word is compared in constant time."""

    class Doors(socketio.AsyncNamespace):
        async def on_join(self, sid, room, word):
            good = words.get(room)
            welcome = good is not None and hmac.compare_digest(str(word).encode(), good.encode())
            if welcome:
                await self.enter_room(sid, room)
            return welcome

    sio.register_namespace(Doors("/"))


@right("04.1")
def doors_in_a_catch_all(sio, words):
    """One handler for all events, with what it is given bound to it."""

    async def anything(words, event, sid, room, word):
        welcome = event == "join" and word is not None and words.get(room) == word
        if welcome:
            await sio.enter_room(sid, room)
        return welcome

    sio.on("*", partial(anything, words))


# -- 04.2 ------------------------------------------------------------------------------------------


@right("04.2")
def sets_of_its_own(sio, words):
    """Keeps who is where itself, and emits to a list of clients."""
    inside = defaultdict(set)

    @sio.event
    def join(sid, room, word):
        if room not in words or words[room] != word:
            return False
        inside[room].add(sid)
        return True

    @sio.event
    async def say(sid, room, text):
        if sid in inside.get(room, ()) and (others := inside[room] - {sid}):
            await sio.emit("said", text, to=[*others])

    async def out(sid, room):
        if sid in inside.get(room, ()):
            inside[room].discard(sid)
            if inside[room]:
                await sio.emit("left", room, to=[*inside[room]])

    @sio.event
    async def leave(sid, room):
        await out(sid, room)

    @sio.event
    async def disconnect(sid, reason):
        for room in [*inside]:
            await out(sid, room)


@right("04.2")
def members_in_a_class(sio, words):
    """A class of handlers; `room=` instead of `to=`; the sid's own room is told by its name."""

    class Members(socketio.AsyncNamespace):
        async def on_join(self, sid, room, word):
            if words.get(room, object()) != word:
                return False
            await self.enter_room(sid, room)
            return True

        async def on_say(self, sid, room, text):
            if room in words and room in self.rooms(sid):
                await self.emit("said", text, room=room, skip_sid=sid)

        async def on_leave(self, sid, room):
            if room in words and room in self.rooms(sid):
                await self.leave_room(sid, room)
                await self.emit("left", room, room=room)

        async def on_disconnect(self, sid, reason):
            for room in words:
                await self.on_leave(sid, room)

    sio.register_namespace(Members("/"))


@right("04.2")
def in_sessions_and_the_background(sio, words):
    """Notes the rooms in the session, tells the others in background tasks, and does not believe
    in an event `disconnect` of somebody who is still there."""

    @sio.event
    async def join(sid, room, word):
        if (room, word) not in words.items():
            return False
        async with sio.session(sid) as session:
            session.setdefault("rooms", []).append(room)
        await sio.enter_room(sid, room)
        return True

    @sio.event
    async def say(sid, room, text):
        if room in (await sio.get_session(sid)).get("rooms", []):
            sio.start_background_task(sio.emit, "said", text, to=room, skip_sid=sid)

    @sio.event
    async def leave(sid, room):
        async with sio.session(sid) as session:
            rooms = session.get("rooms", [])
            if room not in rooms:
                return
            session["rooms"] = [one for one in rooms if one != room]
        await sio.leave_room(sid, room)
        sio.start_background_task(sio.emit, "left", room, to=room)

    @sio.event
    async def disconnect(sid, reason):
        if sio.manager.is_connected(sid, "/"):
            return
        for room in {*(await sio.get_session(sid)).get("rooms", [])}:
            sio.start_background_task(sio.emit, "left", room, to=room, skip_sid=sid)
