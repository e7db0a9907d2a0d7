"""Right answers to lesson 02 in other styles."""

from __future__ import annotations

import sqlite3

import socketio

from . import right


@right("02.1")
def in_a_room(sio):
    """All are in a room."""

    @sio.event
    async def connect(sid, environ):
        await sio.enter_room(sid, "all")

    @sio.event
    async def disconnect(sid, reason):
        await sio.emit("gone", reason, room="all")


@right("02.1")
def in_a_class(sio):
    """The handler is a method of a class, and leaves out who has gone."""

    class Root(socketio.AsyncNamespace):
        async def on_disconnect(self, sid, reason):
            await self.emit("gone", reason, skip_sid=sid)

    sio.register_namespace(Root("/"))


@right("02.1")
def to_each_who_stays(sio):
    """A list is kept of those who are there; each is told in a task of its own."""
    there = []

    @sio.event
    def connect(sid, environ):
        there.append(sid)

    @sio.event
    def disconnect(sid, reason):
        there.remove(sid)
        for one in there:
            sio.start_background_task(sio.emit, "gone", reason, to=one)


@right("02.2")
def in_the_session(sio):
    """The name is in the session; the library knows who is there."""

    @sio.event
    async def here(sid, name):
        await sio.save_session(sid, {"name": name})

    @sio.event
    async def who(sid):
        sids = [sid for sid, _ in sio.manager.get_participants("/", None)]
        sessions = [await sio.get_session(sid) for sid in sids]
        return sorted(one["name"] for one in sessions if "name" in one)

    @sio.event
    async def disconnect(sid, reason):
        session = await sio.get_session(sid)
        if "name" in session:
            await sio.emit("left", session["name"], skip_sid=sid)


@right("02.2")
def in_a_catch_all(sio):
    """One handler for every event, and a list of pairs."""
    there = []

    @sio.on("*")
    async def anything(event, sid, *arguments):
        if event == "here":
            there[:] = [one for one in there if one[1] != sid]
            there.append((arguments[0], sid))
        return [name for name, _ in sorted(there)]

    @sio.event
    async def disconnect(sid):  # the old form, without a reason
        for name, other in [one for one in there if one[1] == sid]:
            there.remove((name, other))
            await sio.emit("left", name)


@right("02.2")
def in_a_table(sio):
    """The list is a table, which keeps it in order."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.execute("CREATE TABLE there (sid TEXT PRIMARY KEY, name TEXT)")

    class Root(socketio.AsyncNamespace):
        def on_here(self, sid, name):
            db.execute("REPLACE INTO there VALUES (?, ?)", [sid, name])

        def on_who(self, sid):
            return [name for (name,) in db.execute("SELECT name FROM there ORDER BY name")]

        async def on_disconnect(self, sid, reason):
            for (name,) in db.execute("DELETE FROM there WHERE sid = ? RETURNING name", [sid]):
                await self.emit("left", name)

    sio.register_namespace(Root("/"))


@right("02.2")
def with_a_default(sio):
    """Everybody has an entry from the first moment, which says nothing yet."""
    nobody = object()
    names = {}

    @sio.event
    def connect(sid, environ):
        names[sid] = nobody

    @sio.event
    def here(sid, name):
        names[sid] = name

    @sio.event
    async def who(sid, *anything):
        return sorted(name for name in names.values() if name is not nobody)

    @sio.event
    async def disconnect(sid, reason):
        if (name := names.pop(sid)) is not nobody:
            sio.start_background_task(sio.emit, "left", name)
