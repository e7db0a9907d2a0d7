"""Lesson 06: other ways to know who is there, and to keep a few messages."""

from __future__ import annotations

import asyncio
from functools import partial

import socketio

from . import right

# -- 06.1 a hub that says how many were there -----------------------------------------------------


@right("06.1")
def a_room_of_drivers(sio):
    """A room, which the library empties itself, and its members are counted."""

    @sio.event
    async def drive(sid):
        await sio.enter_room(sid, "drivers")

    @sio.event
    async def pickup(sid, package):
        there = [*sio.manager.get_participants("/", "drivers")]
        await sio.emit("pickup", package, room="drivers")
        return len(there)


@right("06.1")
def a_class_of_handlers(sio):
    """A namespace's class, and each driver is sent it by itself."""

    class Hub(socketio.AsyncNamespace):
        def __init__(self):
            super().__init__("/")
            self.drivers = []

        async def on_drive(self, sid):
            if sid not in self.drivers:
                self.drivers.append(sid)

        async def on_disconnect(self, sid, reason):
            if sid in self.drivers:
                self.drivers.remove(sid)

        async def on_pickup(self, sid, package):
            there = [*self.drivers]
            for driver in there:
                await self.emit("pickup", package, to=driver)
            return len(there)

    sio.register_namespace(Hub())


@right("06.1")
def in_the_sessions(sio):
    """Whether somebody drives is in the session, and plain functions are bound with `partial`."""

    async def drive(sio, sid):
        async with sio.session(sid) as session:
            session["drives"] = True

    async def pickup(sio, sid, package):
        everybody = [sid for sid, _ in sio.manager.get_participants("/", None)]
        drivers = [one for one in everybody if (await sio.get_session(one)).get("drives")]
        for one in drivers:
            await sio.emit("pickup", package, to=one)
        return len(drivers)

    sio.on("drive", partial(drive, sio))
    sio.on("pickup", partial(pickup, sio))


@right("06.1")
def in_a_catch_all(sio):
    """One handler for all events, and a background task that sends."""
    drivers = {}

    @sio.on("*")
    async def anything(event, sid, *arguments):
        if event == "drive":
            drivers[sid] = True
        elif event == "pickup" and drivers:
            sio.start_background_task(sio.emit, "pickup", *arguments, to=[*drivers])
        return len(drivers)

    @sio.event
    def disconnect(sid):
        drivers.pop(sid, None)


# -- 06.2 a hub that remembers the last three -----------------------------------------------------


@right("06.2")
def all_of_them_in_a_list(sio):
    """A list of all, of which only the last three are looked at, and a set of drivers."""
    packages, drivers = [], set()

    @sio.event
    async def pickup(sid, package):
        packages.append(package)
        number = len(packages)
        if drivers:
            await sio.emit("pickup", (number, package), to=[*drivers])

    @sio.event
    async def drive(sid, last):
        drivers.add(sid)
        first = max(last, len(packages) - 3)
        missed = [*enumerate(packages, 1)][first:]
        lost = first - last
        for one in missed:
            await sio.emit("pickup", one, to=sid)
        return lost

    @sio.event
    def disconnect(sid, reason):
        drivers.discard(sid)


@right("06.2")
def one_at_a_time(sio):
    """A lock, so that nothing comes while a driver is sent what it has missed."""
    lock, kept, counted = asyncio.Lock(), {}, [0]

    @sio.event
    async def pickup(sid, package):
        async with lock:
            counted[0] += 1
            kept[counted[0]] = package
            kept.pop(counted[0] - 3, None)
            await sio.emit("pickup", (counted[0], package), room="drivers")

    @sio.event
    async def drive(sid, last):
        async with lock:
            for number in sorted(kept):
                if number > last:
                    await sio.emit("pickup", (number, kept[number]), to=sid)
            await sio.enter_room(sid, "drivers")
            return max(0, min(kept, default=1) - 1 - last)


@right("06.2")
def a_class_and_background_tasks(sio):
    """A namespace's class, whose handlers leave the sending to the background."""

    class Hub(socketio.AsyncNamespace):
        count, kept = 0, ()

        async def on_pickup(self, sid, package):
            self.count += 1
            self.kept = (*self.kept, (self.count, package))[-3:]
            self.server.start_background_task(self.emit, "pickup", self.kept[-1], room="drivers")

        async def on_drive(self, sid, last):
            missed = [one for one in self.kept if one[0] > last]
            self.server.start_background_task(self.catches_up, sid, missed)
            return self.count - last - len(missed)

        async def catches_up(self, sid, missed):
            for one in missed:
                await self.emit("pickup", one, to=sid)

    hub = Hub("/")
    drive = hub.on_drive

    async def on_drive(sid, last):
        lost = await drive(sid, last)
        await sio.enter_room(sid, "drivers")
        return lost

    hub.on_drive = on_drive
    sio.register_namespace(hub)
