"""Lesson 07: other ways to keep what was given, steps 1 to 5."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sqlite3
from collections import defaultdict, deque
from functools import partial

import socketio

from . import right

READERS = ("ada", "bob")


# -- 07.1 a list ----------------------------------------------------------------------------------


@right("07.1")
def taken_out_all_at_once(sio):
    """The list is replaced by an empty one before anything is sent."""
    waiting = []

    @sio.event
    def pickup(sid, package):
        waiting.append(package)

    @sio.on("get-all")
    async def get_all(sid, *name):
        packages, waiting[:] = waiting[:], []
        for package in packages:
            await sio.emit("pickup", package, room=sid)


@right("07.1")
def a_queue_of_the_library(sio):
    """An `asyncio.Queue`, and a background task that sends."""
    waiting = asyncio.Queue()
    sio.on("pickup", lambda sid, package: waiting.put_nowait(package))

    async def send(sid):
        while not waiting.empty():
            await sio.emit("pickup", waiting.get_nowait(), to=sid)

    @sio.on("get-all")
    async def get_all(sid, name):
        sio.start_background_task(send, sid)


@right("07.1")
def a_class_with_a_deque(sio):
    """A namespace's class, and `trigger_event` for the event whose name is no name of Python's."""

    class Hub(socketio.AsyncNamespace):
        def __init__(self):
            super().__init__("/")
            self.waiting = deque()

        async def trigger_event(self, event, *arguments):
            return await super().trigger_event(event.replace("-", "_"), *arguments)

        async def on_pickup(self, sid, package):
            self.waiting.append(package)

        async def on_get_all(self, sid, name):
            while self.waiting:
                await self.emit("pickup", self.waiting.popleft(), to=sid)

    sio.register_namespace(Hub())


# -- 07.2 a list for each reader ------------------------------------------------------------------


@right("07.2")
def a_log_and_offsets(sio):
    """One log for all, and how far each reader has come."""
    log, offsets = [], {}
    sio.on("pickup", lambda sid, package: log.append(package))

    @sio.on("get-all")
    async def get_all(sid, name):
        while (offset := offsets.get(name, 0)) < len(log):
            offsets[name] = offset + 1
            await sio.emit("pickup", log[offset], to=sid)


@right("07.2")
def in_a_catch_all(sio):
    """One handler for all events."""
    boxes = defaultdict(list)

    @sio.on("*")
    async def anything(event, sid, what):
        if event == "pickup":
            for name in READERS:
                boxes[name].append(what)
        elif event == "get-all":
            for package in boxes.pop(what, []):
                await sio.emit("pickup", package, to=sid)


@right("07.2")
def who_has_not_had_it(sio):
    """Each package knows who has still to get it."""
    packages = []

    async def get_all(sio, sid, name):
        mine = [one for one in packages if name in one["for"]]
        for one in mine:
            one["for"].remove(name)
        for one in mine:
            await sio.emit("pickup", one["package"], to=sid)

    def pickup(sid, package):
        packages.append({"package": package, "for": {*READERS}})

    sio.on("pickup", pickup)
    sio.on("get-all", partial(get_all, sio))


# -- 07.3 delete when it is acknowledged ----------------------------------------------------------


@right("07.3")
def numbered(sio):
    """A dict by a number, which is new for each package."""
    boxes, numbers = {name: {} for name in READERS}, itertools.count()

    @sio.event
    async def pickup(sid, package):
        number = next(numbers)
        for box in boxes.values():
            box[number] = package

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in list(boxes[name].values()):
            await sio.emit("pickup", package, to=sid)

    @sio.event
    async def received(sid, name, package):
        found = [number for number, other in boxes[name].items() if other == package]
        for number in found[:1]:
            del boxes[name][number]


@right("07.3")
def a_class_with_lists(sio):
    """A namespace's class; that something was said twice is an error that is caught."""

    class Hub(socketio.AsyncNamespace):
        def __init__(self):
            super().__init__("/")
            self.boxes = [(name, []) for name in READERS]

        def on_pickup(self, sid, package):
            for _, box in self.boxes:
                box.append(package)

        def on_received(self, sid, name, package):
            try:
                dict(self.boxes)[name].remove(package)
            except ValueError:
                pass

    hub = Hub()
    sio.register_namespace(hub)

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in tuple(dict(hub.boxes)[name]):
            await sio.emit("pickup", package, to=sid)


@right("07.3")
def marked_as_done(sio):
    """Nothing is deleted: what is done has a mark."""
    log = []
    sio.on("pickup", lambda sid, package: log.append({"package": package, "done": set()}))

    @sio.on("get-all")
    async def get_all(sid, name):
        for one in [one for one in log if name not in one["done"]]:
            await sio.emit("pickup", one["package"], to=sid)

    @sio.event
    async def received(sid, name, package):
        left = (one for one in log if one["package"] == package and name not in one["done"])
        if one := next(left, None):
            one["done"].add(name)


# -- 07.4 on disk ---------------------------------------------------------------------------------


@right("07.4")
def all_in_one_file(sio, path):
    """A file of JSON, which is written anew each time, beside the old one."""

    def boxes(change=None):
        kept = json.loads(path.read_text()) if path.exists() else {name: [] for name in READERS}
        if change:
            change(kept)
            new = path.with_suffix(".new")
            with open(new, "w") as file:
                json.dump(kept, file)
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
        return kept

    @sio.event
    async def pickup(sid, package):
        boxes(lambda kept: [packages.append(package) for packages in kept.values()])

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in boxes()[name]:
            await sio.emit("pickup", package, to=sid)

    @sio.event
    def received(sid, name, package):
        boxes(lambda kept: package in kept[name] and kept[name].remove(package))


@right("07.4")
def a_log_that_is_read_at_the_start(sio, path):
    """What was told is a line of a file, and everything is done once more at the start."""
    boxes = {name: [] for name in READERS}

    def happens(event, *what):
        if event == "pickup":
            for box in boxes.values():
                box.extend(what)
        elif what[1] in boxes[what[0]]:
            boxes[what[0]].remove(what[1])

    log = open(path, "a+")  # noqa: SIM115 (until the program ends)
    log.seek(0)
    for line in log:
        happens(*json.loads(line))

    def told(event, sid, *what):
        print(json.dumps([event, *what]), file=log, flush=True)
        os.fsync(log.fileno())
        happens(event, *what)

    sio.on("pickup", partial(told, "pickup"))
    sio.on("received", partial(told, "received"))

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in [*boxes[name]]:
            await sio.emit("pickup", package, to=sid)


@right("07.4")
def packages_and_who_has_them(sio, path):
    """Two tables, in another thread, and a namespace's class."""
    db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    db.executescript(
        """
        PRAGMA journal_mode = wal;
        CREATE TABLE IF NOT EXISTS package (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT);
        CREATE TABLE IF NOT EXISTS done (name TEXT, id INTEGER);
        """
    )
    left = "SELECT id, text FROM package WHERE id NOT IN (SELECT id FROM done WHERE name = ?)"
    lock = asyncio.Lock()

    async def run(statement, *values):
        async with lock:
            return await asyncio.to_thread(lambda: db.execute(statement, values).fetchall())

    class Hub(socketio.AsyncNamespace):
        async def on_pickup(self, sid, package):
            await run("INSERT INTO package (text) VALUES (?)", package)

        async def on_received(self, sid, name, package):
            oldest = f"SELECT ?, min(id) FROM ({left}) WHERE text = ? HAVING min(id) NOT NULL"
            await run(f"INSERT INTO done {oldest}", name, name, package)

    sio.register_namespace(Hub("/"))

    @sio.on("get-all")
    async def get_all(sid, name):
        for _, package in await run(f"{left} ORDER BY id", name):
            await sio.emit("pickup", package, to=sid)


# -- 07.5 leases ----------------------------------------------------------------------------------


@right("07.5")
def row_by_row(sio, path, clock):
    """When it was sent, not until when it is out; and each statement commits itself."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("CREATE TABLE IF NOT EXISTS box (name, package, sent, tries)")

    @sio.event
    async def pickup(sid, package):
        db.executemany(
            "INSERT INTO box VALUES (?, ?, NULL, 0)", [(name, package) for name in READERS]
        )

    @sio.on("get-all")
    async def get_all(sid, name):
        free = "name = ? AND (sent IS NULL OR sent <= ?)"
        find = f"SELECT rowid, package, tries FROM box WHERE {free} ORDER BY rowid LIMIT 1"
        while row := db.execute(find, [name, clock() - 30]).fetchone():
            number, package, tries = row
            lease = "UPDATE box SET sent = ?, tries = tries + 1 WHERE rowid = ?"
            db.execute(lease, [clock(), number])
            await sio.emit("pickup", (package, tries + 1), to=sid)

    @sio.event
    async def received(sid, name, package):
        find = "SELECT min(rowid) FROM box WHERE name = ? AND package = ?"
        db.execute(f"DELETE FROM box WHERE rowid = ({find})", [name, package])


@right("07.5")
def claimed_first_then_sent(sio, path, clock):
    """All that is free is claimed in one transaction, and sent after it by a background task."""
    db = sqlite3.connect(path)
    db.row_factory = sqlite3.Row
    with db:
        db.execute("CREATE TABLE IF NOT EXISTS box (id INTEGER PRIMARY KEY, name, package)")
        db.execute("CREATE TABLE IF NOT EXISTS lease (id INTEGER PRIMARY KEY, until, attempt)")

    @sio.event
    async def pickup(sid, package):
        with db:
            for name in READERS:
                db.execute("INSERT INTO box (name, package) VALUES (?, ?)", [name, package])

    async def send(sid, rows):
        for row in rows:
            await sio.emit("pickup", (row["package"], row["attempt"] + 1), to=sid)

    @sio.on("get-all")
    async def get_all(sid, name):
        joined = "SELECT id, package, coalesce(attempt, 0) AS attempt FROM box LEFT JOIN lease"
        free = "USING (id) WHERE name = ? AND coalesce(until, 0) <= ? ORDER BY id"
        with db:
            rows = db.execute(f"{joined} {free}", [name, clock()]).fetchall()
            for row in rows:
                lease = (row["id"], clock() + 30, row["attempt"] + 1)
                db.execute("REPLACE INTO lease VALUES (?, ?, ?)", lease)
        sio.start_background_task(send, sid, rows)

    @sio.event
    async def received(sid, name, package):
        find = "SELECT min(id) AS id FROM box WHERE name = ? AND package = ?"
        with db:
            (number,) = db.execute(find, [name, package]).fetchone()
            for table in ("box", "lease"):
                db.execute(f"DELETE FROM {table} WHERE id = ?", [number])


@right("07.5")
def lists_in_a_file(sio, path, clock):
    """Lists of JSON, written anew before anything is sent."""

    class Hub(socketio.AsyncNamespace):
        def __init__(self):
            super().__init__("/")
            self.boxes = json.loads(path.read_bytes() if path.exists() else "{}")

        def write(self):
            new = path.with_name("new.json")
            new.write_text(json.dumps(self.boxes))
            os.replace(new, path)

        async def on_pickup(self, sid, package):
            for name in READERS:
                self.boxes.setdefault(name, []).append([package, 0, 0])
            self.write()

        async def on_received(self, sid, name, package):
            box = self.boxes.get(name, [])
            for one in box:
                if one[0] == package:
                    box.remove(one)
                    break
            self.write()

    hub = Hub()
    sio.register_namespace(hub)

    @sio.on("get-all")
    async def get_all(sid, name):
        out = [one for one in hub.boxes.get(name, []) if one[1] <= clock()]
        for one in out:
            one[1:] = [clock() + 30, one[2] + 1]
        hub.write()
        for package, _, attempt in [tuple(one) for one in out]:
            await sio.emit("pickup", (package, attempt), room=sid)
