"""Lesson 07: misunderstandings of how a queue keeps what it was given."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time

import socketio

from . import wrong

READERS = ("ada", "bob")


# -- 07.1 a list ----------------------------------------------------------------------------------


@wrong("07.1", client="ada", says="'O-1'")
def sent_at_once(sio):
    """The hub passes on what comes, as in lesson 06: whoever is not there has lost it."""

    @sio.event
    async def pickup(sid, package):
        await sio.emit("pickup", package, skip_sid=sid)

    @sio.on("get-all")
    async def get_all(sid, name):
        pass


@wrong("07.1", client="ada", says="ada has not asked again yet: 'O-4'")
def kept_and_sent_at_once(sio):
    """It is kept, and sent to everybody as well."""
    waiting = []

    @sio.event
    async def pickup(sid, package):
        waiting.append(package)
        await sio.emit("pickup", package, skip_sid=sid)

    @sio.on("get-all")
    async def get_all(sid, name):
        while waiting:
            await sio.emit("pickup", waiting.pop(0), to=sid)


@wrong("07.1", client="ada", says="'O-1'")
def the_newest_only(sio):
    """A variable instead of a list: each package takes the place of the one before."""
    waiting = []

    @sio.event
    async def pickup(sid, package):
        waiting[:] = [package]

    @sio.on("get-all")
    async def get_all(sid, name):
        while waiting:
            await sio.emit("pickup", waiting.pop(0), to=sid)


@wrong("07.1", client="ada", says="gets it as number 1")
def the_last_first(sio):
    """`pop()` takes the newest: a pile, not a queue."""
    waiting = []

    @sio.event
    async def pickup(sid, package):
        waiting.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        while waiting:
            await sio.emit("pickup", waiting.pop(), to=sid)


@wrong("07.1", client="ada", says="nothing new has come: 'O-1'")
def never_taken_out(sio):
    """What was sent stays in the list, and is sent at each question."""
    waiting = []

    @sio.event
    async def pickup(sid, package):
        waiting.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in waiting:
            await sio.emit("pickup", package, to=sid)


@wrong("07.1", client="ada", says="'O-2'")
def taken_out_while_walking(sio):
    """A list that is changed while a loop walks it: every second package is passed over."""
    waiting = []

    @sio.event
    async def pickup(sid, package):
        waiting.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in waiting:
            waiting.remove(package)
            await sio.emit("pickup", package, to=sid)


@wrong("07.1", client="vendor", says="the vendor has asked for nothing: 'O-1'")
def to_everybody(sio):
    """Without `to=`, what one reader asked for goes to everybody."""
    waiting = []

    @sio.event
    async def pickup(sid, package):
        waiting.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        while waiting:
            await sio.emit("pickup", waiting.pop(0))


@wrong("07.1", client="ada", says="no handler listens to 'get-all'")
def named_as_the_function(sio):
    """`@sio.event` takes the function's name, `get_all`; the event is called `get-all`."""
    waiting = []

    @sio.event
    async def pickup(sid, package):
        waiting.append(package)

    @sio.event
    async def get_all(sid, name):
        while waiting:
            await sio.emit("pickup", waiting.pop(0), to=sid)


@wrong("07.1", client="ada", says="hears pickup")
def emptied_after_sending(sio):
    """All is sent, and then the list is emptied: also of what came meanwhile."""
    waiting = []

    @sio.event
    async def pickup(sid, package):
        waiting.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in [*waiting]:
            await sio.emit("pickup", package, to=sid)
        waiting.clear()


@wrong("07.1", client="ada", says="hears pickup 'O-1', then pickup 'O-1'")
def equal_ones_are_one(sio):
    """A dict, so that each is sent once: two equal orders become one."""
    waiting = {}

    @sio.event
    async def pickup(sid, package):
        waiting[package] = True

    @sio.on("get-all")
    async def get_all(sid, name):
        packages = [*waiting]
        waiting.clear()
        for package in packages:
            await sio.emit("pickup", package, to=sid)


@wrong("07.1", client="ada", says="hears pickup ''")
def ends_at_an_empty_one(sio):
    """`while package := …`: an empty text ends the loop, and is lost."""
    waiting = []

    @sio.event
    async def pickup(sid, package):
        waiting.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        while waiting and (package := waiting.pop(0)):
            await sio.emit("pickup", package, to=sid)


@wrong("07.1", says="raised IndexError")
def taken_out_after_it_was_sent(sio):
    """It is taken out when it has been sent: who asks meanwhile gets it as well."""
    waiting = []

    @sio.event
    async def pickup(sid, package):
        waiting.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        while waiting:
            await sio.emit("pickup", waiting[0], to=sid)
            waiting.remove(waiting[0])


# -- 07.2 a list for each reader ------------------------------------------------------------------


def listed(sio, waiting, box, boxes):
    """Handlers with lists in `waiting`; `box(sid, name)`: whose, `boxes()`: all there are."""

    @sio.event
    async def pickup(sid, package):
        for key in boxes():
            waiting.setdefault(key, []).append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        packages = waiting.setdefault(box(sid, name), [])
        while packages:
            await sio.emit("pickup", packages.pop(0), to=sid)


@wrong("07.2", client="bob", says="bob asks after ada: 'O-1'")
def one_list_for_all(sio):
    """One shared list: whoever asks first empties it."""
    listed(sio, {}, lambda sid, name: "all", lambda: ["all"])


@wrong("07.2", client="ada", says="ada asks first: 'O-1'")
def one_list_under_two_names(sio):
    """`dict.fromkeys(names, [])` puts the *same* list under each name."""
    waiting = dict.fromkeys(READERS, [])  # noqa: RUF024 (the mistake)
    listed(sio, waiting, lambda sid, name: name, lambda: READERS)


@wrong("07.2", client="ada", says="ada asks first: 'O-1'")
def a_list_for_each_sid(sio):
    """A list for each connection, under its sid: who comes later, or comes again, has a new one."""
    waiting = {}
    sio.on("connect", lambda sid, environ: waiting.update({sid: []}))
    listed(sio, waiting, lambda sid, name: sid, lambda: [*waiting])


@wrong("07.2", client="bob", says="bob is back, on a new connection, and asks: 'O-3'")
def the_sid_of_the_first_time(sio):
    """The list is found by the sid that the reader had when it first asked."""
    waiting, owners = {name: [] for name in READERS}, {}

    @sio.event
    async def pickup(sid, package):
        for packages in waiting.values():
            packages.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        owner = owners.setdefault(name, sid)
        while waiting[name]:
            await sio.emit("pickup", waiting[name].pop(0), to=owner)


@wrong("07.2", client="ada", says="ada asks first: 'O-1'")
def a_list_when_it_first_asks(sio):
    """A reader gets its list when it asks for the first time: what came before is lost to it."""
    waiting = {}
    listed(sio, waiting, lambda sid, name: name, lambda: [*waiting])


@wrong("07.2", client="bob", says="bob is back, on a new connection, and asks: 'O-3'")
def only_for_who_is_there(sio):
    """A package is put into the lists of those who are connected; the others had their chance."""
    waiting, here = {name: [] for name in READERS}, {}
    sio.on("disconnect", lambda sid, reason: here.pop(sid, None))

    @sio.event
    async def pickup(sid, package):
        for name in here.values() if here else READERS:
            waiting[name].append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        here[sid] = name
        while waiting[name]:
            await sio.emit("pickup", waiting[name].pop(0), to=sid)


@wrong("07.2", client="ada", says="nothing new has come: 'O-1'")
def cleared_for_the_other(sio):
    """The lists are kept apart, and nobody's is ever emptied."""
    waiting = {name: [] for name in READERS}

    @sio.event
    async def pickup(sid, package):
        for packages in waiting.values():
            packages.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in waiting[name]:
            await sio.emit("pickup", package, to=sid)


@wrong("07.2", client="ada", says="hears pickup 'O-1', then pickup 'O-1'")
def equal_ones_are_one_for_each(sio):
    """A dict under each name: two equal orders become one."""
    waiting = {name: {} for name in READERS}

    @sio.event
    async def pickup(sid, package):
        for packages in waiting.values():
            packages[package] = True

    @sio.on("get-all")
    async def get_all(sid, name):
        packages, waiting[name] = waiting[name], {}
        for package in packages:
            await sio.emit("pickup", package, to=sid)


@wrong("07.2", client="ada", says="hears pickup")
def each_list_emptied_after_sending(sio):
    """All is sent, and then the reader's list is a new one: without what came meanwhile."""
    waiting = {name: [] for name in READERS}

    @sio.event
    async def pickup(sid, package):
        for packages in waiting.values():
            packages.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in [*waiting[name]]:
            await sio.emit("pickup", package, to=sid)
        waiting[name] = []


@wrong("07.2", client="ada", says="hears nothing")
def a_mark_at_each_text(sio):
    """Who has had it is kept for the text of a package: the same text once more was had already."""
    log, had = [], set()
    sio.on("pickup", lambda sid, package: log.append(package))

    @sio.on("get-all")
    async def get_all(sid, name):
        new = [package for package in log if (name, package) not in had]
        had.update((name, package) for package in new)
        for package in new:
            await sio.emit("pickup", package, to=sid)


@wrong("07.2", client="bob", says="never got it")
def when_all_have_had_it(sio):
    """One log, which is emptied when everybody has asked: the offsets are not begun anew."""
    log, offsets = [], dict.fromkeys(READERS, 0)
    sio.on("pickup", lambda sid, package: log.append(package))

    @sio.on("get-all")
    async def get_all(sid, name):
        new, offsets[name] = log[offsets[name] :], len(log)
        if all(offset == len(log) for offset in offsets.values()):
            log.clear()
        for package in new:
            await sio.emit("pickup", package, to=sid)


# -- 07.3 delete when it is acknowledged ----------------------------------------------------------


def answered(sio, forget, sends=None):
    """A list for each reader; `forget(waiting, name, package)` is what `received` does."""
    waiting = {name: [] for name in READERS}

    @sio.event
    async def pickup(sid, package):
        for packages in waiting.values():
            packages.append(package)

    async def sends_all(sid, packages):
        for package in [*packages]:
            await sio.emit("pickup", package, to=sid)

    @sio.on("get-all")
    async def get_all(sid, name):
        await (sends or sends_all)(sid, waiting[name])

    @sio.event
    async def received(sid, name, package):
        forget(waiting, name, package)


def drop(packages, package):
    if package in packages:
        packages.remove(package)


@wrong("07.3", client="ada", says="ada's computer died before it read them; she is back")
def deleted_when_sent(sio):
    """To send is taken for to arrive: what was sent is deleted."""

    async def sends(sid, packages):
        while packages:
            await sio.emit("pickup", packages.pop(0), to=sid)

    answered(sio, lambda waiting, name, package: drop(waiting[name], package), sends)


@wrong("07.3", client="ada", says="it is not the reader's answer")
def packet_acknowledged(sio):
    """The acknowledgement of the packet, which comes by itself, is taken for the answer."""

    async def sends(sid, packages):
        for package in [*packages]:
            try:
                await sio.call("pickup", package, to=sid, timeout=2)
            except socketio.exceptions.TimeoutError:
                break
            packages.remove(package)

    answered(sio, lambda waiting, name, package: drop(waiting[name], package), sends)


@wrong("07.3", client="ada", says="ada has answered for O-2 only, and asks again: 'O-1'")
def all_up_to_it(sio):
    """An answer is taken for an offset: all that came before it counts as done."""

    def forget(waiting, name, package):
        if package in waiting[name]:
            del waiting[name][: waiting[name].index(package) + 1]

    answered(sio, forget)


@wrong("07.3", client="ada", says="ada has answered for O-2 only, and asks again: 'O-1'")
def the_oldest_whatever_was_said(sio):
    """Each answer takes out the oldest, as if readers answered in order."""
    answered(sio, lambda waiting, name, package: waiting[name] and waiting[name].pop(0))


@wrong("07.3", client="bob", says="'O-1'")
def answered_for_everybody(sio):
    """The name is not looked at: what one reader has done is taken from all."""

    def forget(waiting, name, package):
        for packages in waiting.values():
            drop(packages, package)

    answered(sio, forget)


@wrong("07.3", client="ada", says="ada has answered for O-2 only, and asks again: 'O-1'")
def one_answer_for_all(sio):
    """An answer is taken for "I am ready": the list is emptied."""
    answered(sio, lambda waiting, name, package: waiting[name].clear())


@wrong("07.3", client="ada", says="ada has answered for O-2 only, and asks again: 'O-2'")
def answers_are_not_heard(sio):
    """Nothing is ever deleted: at least nothing is lost."""
    answered(sio, lambda waiting, name, package: None)


@wrong("07.3", says="server's handler of 'received' raised ValueError")
def said_only_once(sio):
    """An answer that comes a second time is not thought of."""
    answered(sio, lambda waiting, name, package: waiting[name].remove(package))


@wrong("07.3", client="ada", says="she is back, and asks again: 'O-1'")
def deleted_at_the_goodbye(sio):
    """A reader that disconnects is taken to have finished."""
    waiting, names = {name: [] for name in READERS}, {}

    @sio.event
    async def pickup(sid, package):
        for packages in waiting.values():
            packages.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        names[sid] = name
        for package in waiting[name]:
            await sio.emit("pickup", package, to=sid)

    @sio.event
    async def received(sid, name, package):
        drop(waiting[name], package)

    @sio.event
    async def disconnect(sid, reason):
        waiting[names.pop(sid, "")] = []


@wrong("07.3", client="ada", says="it waits until the packet is acknowledged")
def as_version_3(sio):
    """The version of the lesson, which calls, and gives up a reader that is too late."""

    async def sends(sid, packages):
        for package in [*packages]:
            await sio.call("pickup", package, to=sid, timeout=0.3)
            packages.remove(package)

    answered(sio, lambda waiting, name, package: drop(waiting[name], package), sends)


@wrong("07.3", client="ada", says="it waits until the packet is acknowledged")
def called_without_a_deadline(sio):
    """The same with the library's own deadline, a minute: all that time the handler waits."""

    async def sends(sid, packages):
        for package in [*packages]:
            await sio.call("pickup", package, to=sid)
            packages.remove(package)

    answered(sio, lambda waiting, name, package: drop(waiting[name], package), sends)


@wrong("07.3", client="ada", says="it is not the reader's answer")
def called_back(sio):
    """A call-back deletes: it is called by the packet's acknowledgement, not by `received`."""

    async def sends(sid, packages):
        for package in [*packages]:

            def forget(*_, package=package):
                drop(packages, package)

            await sio.emit("pickup", package, to=sid, callback=forget)

    answered(sio, lambda waiting, name, package: drop(waiting[name], package), sends)


@wrong("07.3", client="ada", says="hears pickup 'O-1', then pickup 'O-1'")
def equal_ones_are_one_key(sio):
    """Packages are keys of a dict: two equal orders are one."""
    waiting = {name: {} for name in READERS}

    @sio.event
    async def pickup(sid, package):
        for packages in waiting.values():
            packages[package] = True

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in [*waiting[name]]:
            await sio.emit("pickup", package, to=sid)

    @sio.event
    async def received(sid, name, package):
        waiting[name].pop(package, None)


@wrong("07.3", client="ada", says="answers for the first")
def all_that_are_equal(sio):
    """All equal packages are deleted by one answer, and one of two orders was never done."""

    def forget(waiting, name, package):
        waiting[name] = [other for other in waiting[name] if other != package]

    answered(sio, forget)


@wrong("07.3", client="ada", says="hears pickup")
def sent_while_it_changes(sio):
    """The list itself is walked: an answer that comes meanwhile makes it pass one over."""

    async def sends(sid, packages):
        for package in packages:
            await sio.emit("pickup", package, to=sid)

    answered(sio, lambda waiting, name, package: drop(waiting[name], package), sends)


@wrong("07.3", client="ada", says="hears nothing")
def done_once_and_for_all(sio):
    """What was answered for is noted by its text: the same order once more is taken for done."""
    log, done = [], set()
    sio.on("pickup", lambda sid, package: log.append(package))
    sio.on("received", lambda sid, name, package: done.add((name, package)))

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in [one for one in log if (name, one) not in done]:
            await sio.emit("pickup", package, to=sid)


# -- 07.4 on disk ---------------------------------------------------------------------------------

BOX = "CREATE TABLE IF NOT EXISTS box (id INTEGER PRIMARY KEY, name, package)"
DELETE = "DELETE FROM box WHERE id = (SELECT min(id) FROM box WHERE name = ? AND package = ?)"
DELETE_ALL = "DELETE FROM box WHERE name = ? AND package = ?"


def stored(sio, db, put=None, delete=None):
    """A table instead of the lists; `put(package)`, `delete(name, package)`: what is wrong."""
    db.execute(BOX)

    def insert(package):
        with db:
            rows = [(name, package) for name in READERS]
            db.executemany("INSERT INTO box (name, package) VALUES (?, ?)", rows)

    def remove(name, package):
        with db:
            db.execute(DELETE, [name, package])

    @sio.event
    async def pickup(sid, package):
        (put or insert)(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        rows = db.execute("SELECT package FROM box WHERE name = ? ORDER BY id", [name])
        for (package,) in rows.fetchall():
            await sio.emit("pickup", package, to=sid)

    @sio.event
    async def received(sid, name, package):
        (delete or remove)(name, package)


@wrong("07.4", says="ProgrammingError: Cannot operate on a closed database")
def closes_when_answered(sio, path):
    """The database is closed when one package is done, as if no other would come."""
    stored(sio, db := sqlite3.connect(path), delete=lambda *values: close_after(db, *values))


def close_after(db, *values):
    _commit(db, DELETE, *values)
    db.close()


@wrong("07.4", says="there is no such file")
def in_another_file(sio, path):
    """A name of one's own for the file, beside the one that was given."""
    stored(sio, sqlite3.connect(f"{path}.mine"))


@wrong("07.4", client="ada", says="a new hub, with a new file of its own: 'O-2'")
def always_in_the_same_file(sio, path):
    """The file that was given is opened, and the packages are in one that has always this name."""
    path.touch()
    stored(sio, sqlite3.connect(path.parent / "queue.db"))


@wrong("07.4", client="ada", says="the hub was stopped and started again: 'O-1'")
def in_memory_only(sio, path):
    """The path is not used: a variable lives as long as its program."""
    answered(sio, lambda waiting, name, package: drop(waiting[name], package))


@wrong("07.4", client="ada", says="the hub was stopped and started again: 'O-1'")
def a_database_in_memory(sio, path):
    """`:memory:` is a database, and it is gone with the program as well."""
    stored(sio, sqlite3.connect(":memory:"))


@wrong("07.4", client="ada", says="the hub was stopped and started again: 'O-1'")
def not_committed(sio, path):
    """Without a commit nothing of it is in the file, whatever the same program reads back."""
    db = sqlite3.connect(path)

    def put(package):
        for name in READERS:
            db.execute("INSERT INTO box (name, package) VALUES (?, ?)", [name, package])

    stored(sio, db, put)


@wrong("07.4", client="ada", says="the hub was stopped and started again: 'O-2'")
def written_with_the_next(sio, path):
    """The handler returns first; what it was given is written when the next package comes."""
    db, late = sqlite3.connect(path), []

    def put(package):
        with db:
            rows = [(name, before) for before in late for name in READERS]
            db.executemany("INSERT INTO box (name, package) VALUES (?, ?)", rows)
        late[:] = [package]

    stored(sio, db, put)


@wrong("07.4", client="ada", says="ada has answered for O-1, and the hub was started again: 'O-1'")
def deleted_in_memory_only(sio, path):
    """What was answered is remembered by the program, and the file is not told."""
    db, gone = sqlite3.connect(path), set()
    db.execute(BOX)

    @sio.event
    async def pickup(sid, package):
        with db:
            rows = [(name, package) for name in READERS]
            db.executemany("INSERT INTO box (name, package) VALUES (?, ?)", rows)

    @sio.on("get-all")
    async def get_all(sid, name):
        rows = db.execute("SELECT package FROM box WHERE name = ? ORDER BY id", [name])
        for (package,) in rows.fetchall():
            if (name, package) not in gone:
                await sio.emit("pickup", package, to=sid)

    @sio.event
    async def received(sid, name, package):
        gone.add((name, package))


@wrong("07.4", client="ada", says="the hub was stopped and started again: 'O-1'")
def begins_with_a_clean_table(sio, path):
    """The table is made anew at each start, so that there is no error that it exists."""
    db = sqlite3.connect(path)
    db.execute("DROP TABLE IF EXISTS box")
    stored(sio, db)


@wrong("07.4", client="bob", says="bob comes late, after two restarts of the hub: 'O-1'")
def one_row_for_all(sio, path):
    """One row for each package, without a name: who answers first deletes it for all."""
    stored(
        sio,
        db := sqlite3.connect(path),
        delete=lambda name, package: _commit(db, "DELETE FROM box WHERE package = ?", package),
    )


def _commit(db, statement, *values):
    with db:
        db.execute(statement, values)


@wrong("07.4", client="ada", says="ada has answered for O-1, and the hub was started again: 'O-2'")
def emptied_when_read(sio, path):
    """The file is read into memory at the start, and emptied: the next start finds nothing."""
    db = sqlite3.connect(path)
    db.execute(BOX)
    loaded = db.execute("SELECT name, package FROM box ORDER BY id").fetchall()
    _commit(db, "DELETE FROM box")
    stored(sio, db)
    waiting = {name: [package for owner, package in loaded if owner == name] for name in READERS}

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in waiting[name]:
            await sio.emit("pickup", package, to=sid)

    @sio.event
    async def received(sid, name, package):
        drop(waiting[name], package)


@wrong("07.4", client="ada", says="the hub is killed")
def in_a_buffer(sio, path):
    """A file that is open: what is written to it is in the program's buffer until it is closed."""
    lines(sio, path, flush=False)


def lines(sio, path, flush=True):
    """A line for each package and each answer, and what is wrong with it in the arguments."""
    boxes = {name: [] for name in READERS}

    def happens(package, *names, done=False):
        for name in names or READERS:
            if done:
                drop(boxes[name], package)
            else:
                boxes[name].append(package)

    file = open(path, "a+")  # noqa: SIM115
    file.seek(0)
    for line in file:
        happens(*(told := json.loads(line)), done=len(told) > 1)

    def note(*told):
        file.write(json.dumps(told) + "\n")
        if flush:
            file.flush()
        happens(*told, done=len(told) > 1)

    sio.on("pickup", lambda sid, package: note(package))
    sio.on("received", lambda sid, name, package: note(package, name))

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in [*boxes[name]]:
            await sio.emit("pickup", package, to=sid)


@wrong("07.4", client="ada", says="answers for the")
def equal_rows_deleted(sio, path):
    """`DELETE … WHERE package = ?` deletes every row with that package: both of two orders."""
    db = sqlite3.connect(path)
    stored(sio, db, delete=lambda name, package: _commit(db, DELETE_ALL, name, package))


@wrong("07.4", client="ada", says="hears pickup '007'")
def a_column_of_strings(sio, path):
    """SQLite knows no type STRING: it takes it for a number, and makes one of each text it can."""
    db = sqlite3.connect(path)
    table = "CREATE TABLE IF NOT EXISTS box (id INTEGER PRIMARY KEY, name STRING, package STRING)"
    db.execute(table)
    stored(sio, db)


@wrong("07.4", client="ada", says="the hub is killed")
def written_in_the_background(sio, path):
    """The handler returns, and a task writes soon after: the hub may be killed in between."""
    db = sqlite3.connect(path)

    def put(package):
        async def later():
            await asyncio.to_thread(int)  # something else comes first
            for name in READERS:
                _commit(db, "INSERT INTO box (name, package) VALUES (?, ?)", name, package)

        sio.start_background_task(later)

    stored(sio, db, put)


@wrong("07.4", client="ada", says="the hub is killed")
def saved_at_the_goodbye(sio, path):
    """Everything is in memory, and written when a client disconnects: who is killed does not."""
    boxes = {name: [] for name in READERS}
    if path.exists():
        boxes = json.loads(path.read_text())

    @sio.event
    async def pickup(sid, package):
        for packages in boxes.values():
            packages.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in [*boxes[name]]:
            await sio.emit("pickup", package, to=sid)

    @sio.event
    async def received(sid, name, package):
        drop(boxes[name], package)

    @sio.event
    async def disconnect(sid, reason):
        path.write_text(json.dumps(boxes))


# -- 07.5 leases ----------------------------------------------------------------------------------

LEASED = "CREATE TABLE IF NOT EXISTS box (id INTEGER PRIMARY KEY, name, package, until, attempt)"
CLAIM = """
UPDATE box SET until = :until, attempt = {attempt}
WHERE id = (SELECT min(id) FROM box WHERE name = :name AND until <= :now)
RETURNING package, attempt
"""


def leased(sio, path, clock, lease=30, attempt="attempt + 1", get_all=None, goodbye=""):
    """A hub with leases, and what is wrong with it in its arguments; returns its database.

    `get_all(sid, name)` instead of claims; `goodbye`: SQL for the name of who disconnects.
    """
    db, names = sqlite3.connect(path), {}
    db.execute(LEASED)

    def claim(name):
        with db:
            values = {"until": clock() + lease, "now": clock(), "name": name}
            return db.execute(CLAIM.format(attempt=attempt), values).fetchone()

    async def claims(sid, name):
        names[sid] = name
        while row := claim(name):
            await sio.emit("pickup", row, to=sid)

    sio.on("get-all", get_all or claims)

    @sio.event
    async def pickup(sid, package):
        with db:
            rows = [(name, package) for name in READERS]
            db.executemany("INSERT INTO box VALUES (NULL, ?, ?, 0, 0)", rows)

    @sio.event
    async def received(sid, name, package):
        _commit(db, DELETE, name, package)

    @sio.event
    async def disconnect(sid, reason):
        if goodbye:
            _commit(db, goodbye, names.pop(sid, ""))

    return db


def box(db, name):
    statement = "SELECT id, package, until, attempt FROM box WHERE name = ? ORDER BY id"
    return db.execute(statement, [name]).fetchall()


@wrong("07.5", client="helper", says="while both packages are out to ada: 'O-1'")
def nothing_is_out(sio, path, clock):
    """What is not answered is there for whoever asks: two programs work on it at once."""

    async def get_all(sid, name):
        for _, package, _, _ in box(db, name):
            await sio.emit("pickup", (package, 1), to=sid)

    db = leased(sio, path, clock, get_all=get_all)


@wrong("07.5", client="helper", says="ada was cut off with O-1, 29 seconds after it was sent")
def lease_ends_with_the_connection(sio, path, clock):
    """Who is cut off is taken for dead; it may be at work, with its cable cut."""
    leased(sio, path, clock, goodbye="UPDATE box SET until = 0 WHERE name = ?")


@wrong("07.5", client="helper", says="31 seconds after O-1 was sent, and no answer came: 'O-1'")
def out_for_ever(sio, path, clock):
    """A mark "is out" without an end, like a lock that a dead worker holds."""
    leased(sio, path, clock, lease=10**9)


@wrong("07.5", client="helper", says="still 29 seconds, and the hub was started again: 'O-1'")
def leases_in_memory(sio, path, clock):
    """Who has what is in a variable: a hub that is started again gives everything out again."""
    db = leased(sio, path, clock)
    _commit(db, "UPDATE box SET until = 0")


@wrong("07.5", client="helper", says="31 seconds after O-1 was sent, and no answer came: 'O-1'")
def the_clock_on_the_wall(sio, path, clock):
    """`time.time()` instead of the clock that is given."""
    leased(sio, path, time.time)


@wrong("07.5", client="helper", says="the attempt of O-1")
def attempts_are_not_counted(sio, path, clock):
    """Every attempt is called the first: nobody can see that this may have been done before."""
    leased(sio, path, clock, attempt="1")


@wrong("07.5", client="helper", says="O-3 is new, and not out: 'O-3'")
def the_whole_box_is_out(sio, path, clock):
    """One lease for a box: while one package of it is out, nobody gets any other."""

    async def get_all(sid, name):
        packages = box(db, name)
        if any(until > clock() for _, _, until, _ in packages):
            return
        for number, package, _, attempt in packages:
            statement = "UPDATE box SET until = ?, attempt = attempt + 1 WHERE id = ?"
            _commit(db, statement, clock() + 30, number)
            await sio.emit("pickup", (package, attempt + 1), to=sid)

    db = leased(sio, path, clock, get_all=get_all)


@wrong("07.5", client="helper", says="31 seconds after O-1 was sent, and no answer came: 'O-1'")
def deleted_when_given_out(sio, path, clock):
    """What is given out is deleted, so that nobody else can get it."""

    async def get_all(sid, name):
        for number, package, _, _ in box(db, name):
            _commit(db, "DELETE FROM box WHERE id = ?", number)
            await sio.emit("pickup", (package, 1), to=sid)

    db = leased(sio, path, clock, get_all=get_all)


@wrong("07.5", client="helper", says="while both packages are out to ada: 'O-1'")
def a_lock_around_the_question(sio, path, clock):
    """A lock lets one question work at a time; it does not know what was sent by the one before."""
    lock = asyncio.Lock()

    async def get_all(sid, name):
        async with lock:
            for _, package, _, _ in box(db, name):
                await sio.emit("pickup", (package, 1), to=sid)

    db = leased(sio, path, clock, get_all=get_all)


@wrong("07.5", client="helper", says="had just sent this to ada, and it was started again: 'O-4'")
def marked_after_it_was_sent(sio, path, clock):
    """Sent first, then marked as out: when the hub ends in between, it is sent to another, too."""

    async def get_all(sid, name):
        for number, package, until, attempt in box(db, name):
            if until <= clock():
                await sio.emit("pickup", (package, attempt + 1), to=sid)
                statement = "UPDATE box SET until = ?, attempt = attempt + 1 WHERE id = ?"
                _commit(db, statement, clock() + 30, number)

    db = leased(sio, path, clock, get_all=get_all)


@wrong("07.5", client="helper", says="had just sent this to ada, and it was started again: 'O-4'")
def committed_after_it_was_sent(sio, path, clock):
    """Marked before it is sent, in a transaction that ends after it."""

    async def get_all(sid, name):
        for number, package, until, attempt in box(db, name):
            if until <= clock():
                with db:
                    statement = "UPDATE box SET until = ?, attempt = attempt + 1 WHERE id = ?"
                    db.execute(statement, [clock() + 30, number])
                    await sio.emit("pickup", (package, attempt + 1), to=sid)

    db = leased(sio, path, clock, get_all=get_all)


@wrong("07.5", client="helper", says="both boxes were empty, and O-6 is new: 'O-6'")
def known_by_a_number_that_comes_again(sio, path, clock):
    """Leases are kept for the row's number; SQLite gives that of a deleted last row once more."""
    db, out = sqlite3.connect(path), {}
    db.execute(BOX)
    db.execute("CREATE TABLE IF NOT EXISTS lease (id PRIMARY KEY, until, attempt)")
    out.update({row[0]: row[1:] for row in db.execute("SELECT id, until, attempt FROM lease")})

    @sio.on("get-all")
    async def get_all(sid, name):
        found = "SELECT id, package FROM box WHERE name = ? ORDER BY id"
        for number, package in db.execute(found, [name]).fetchall():
            until, attempt = out.get(number, (0, 0))
            if until <= clock():
                out[number] = clock() + 30, attempt + 1
                _commit(db, "REPLACE INTO lease VALUES (?, ?, ?)", number, *out[number])
                await sio.emit("pickup", (package, attempt + 1), to=sid)

    @sio.event
    async def pickup(sid, package):
        for name in reversed(READERS):
            _commit(db, "INSERT INTO box (name, package) VALUES (?, ?)", name, package)

    @sio.event
    async def received(sid, name, package):
        _commit(db, DELETE, name, package)


@wrong("07.5", client="ada", says="answers for the first")
def equal_rows_answered(sio, path, clock):
    """One answer deletes every row with that package: both of two orders."""
    db = leased(sio, path, clock)

    @sio.event
    async def received(sid, name, package):
        _commit(db, DELETE_ALL, name, package)


@wrong("07.5", client="ada", says="hears pickup 'O-1', 1, then pickup 'O-1', 1")
def equal_rows_leased(sio, path, clock):
    """The lease is written to every row with that package: of two orders one is never sent."""

    this = "name = ? AND package = ?"

    async def get_all(sid, name):
        for number, package, _, _ in box(db, name):
            ((until, attempt),) = db.execute(
                "SELECT until, attempt FROM box WHERE id = ?", [number]
            ).fetchall()
            if until <= clock():
                statement = f"UPDATE box SET until = ?, attempt = attempt + 1 WHERE {this}"
                _commit(db, statement, clock() + 30, name, package)
                await sio.emit("pickup", (package, attempt + 1), to=sid)

    db = leased(sio, path, clock, get_all=get_all)


@wrong("07.5", client="anybody", says="30.5 seconds later")
def only_the_one_who_has_it_may_answer(sio, path, clock):
    """An answer that comes after the lease is not taken, though the work is done."""
    db = leased(sio, path, clock)

    @sio.event
    async def received(sid, name, package):
        late = [row for row in box(db, name) if row[1] == package and row[2] > clock()]
        for number, *_ in late[:1]:
            _commit(db, "DELETE FROM box WHERE id = ?", number)


@wrong("07.5", client="helper", says="31 seconds after O-1 was sent")
def the_lease_goes_on(sio, path, clock):
    """Every question of a reader renews its leases, also of what nobody works on any more."""
    db = leased(sio, path, clock)
    claims = sio.handlers["/"]["get-all"]

    @sio.on("get-all")
    async def get_all(sid, name):
        await claims(sid, name)
        renew = "UPDATE box SET until = ? WHERE name = ? AND until > ?"
        _commit(db, renew, clock() + 30, name, clock())


# -- 07.6 not twice -------------------------------------------------------------------------------


def reads(reader, work, mark, before=False, answers_again=True):
    """A reader with an inbox of `mark(package, delivery)`; `before`: noted before the work."""
    inbox = set()

    @reader.on("pickup")
    async def pickup(package, delivery):
        if mark(package, delivery) in inbox:
            return delivery["receipt"] if answers_again else None
        if before:
            inbox.add(mark(package, delivery))
        work(package)
        inbox.add(mark(package, delivery))
        return delivery["receipt"]


@wrong("07.6", client="ada", says="after the work, before the answer; it comes again: 'O-1'")
def no_inbox(reader, work):
    """Whatever comes is worked on: a message is taken to come once."""

    @reader.on("pickup")
    async def pickup(package, delivery):
        work(package)
        return delivery["receipt"]


@wrong("07.6", client="ada", says="after the work, before the answer; it comes again: 'O-1'")
def known_by_its_receipt(reader, work):
    """The receipt is new at each attempt: it never says that this was here before."""
    reads(reader, work, lambda package, delivery: delivery["receipt"])


@wrong("07.6", client="ada", says="after the work, before the answer; it comes again: 'O-1'")
def known_by_its_sid(reader, work):
    """Who it came to, by sid, is part of the mark: after dialling again it is another one."""
    reads(reader, work, lambda package, delivery: (reader.get_sid(), delivery["id"]))


@wrong("07.6", client="ada", says="after the work, before the answer; it comes again: 'O-1'")
def known_by_id_and_attempt(reader, work):
    """The attempt is part of the mark, so each attempt counts as another message."""
    reads(reader, work, lambda package, delivery: (delivery["id"], delivery["attempt"]))


@wrong("07.6", client="ada", says="two people order the same: 'pizza'")
def known_by_what_is_in_it(reader, work):
    """The same content is taken for the same message."""
    reads(reader, work, lambda package, delivery: package)


@wrong("07.6", client="ada", says="a flat tyre ended the work on O-2")
def noted_before_the_work(reader, work):
    """Noted first, then worked on: if the work fails, it is never done."""
    reads(reader, work, lambda package, delivery: delivery["id"], before=True)


@wrong("07.6", client="ada", says="a flat tyre ended the work on O-2")
def the_first_attempt_only(reader, work):
    """What is marked as redelivered is taken to be done already; it may have failed."""

    @reader.on("pickup")
    async def pickup(package, delivery):
        if not delivery["redelivered"]:
            work(package)
        return delivery["receipt"]


@wrong("07.6", client="ada", says="a flat tyre ended the work on O-2")
def answered_before_the_work(reader, work):
    """The answer goes out first, so that no duplicate can come: what fails then is lost."""

    @reader.on("pickup")
    async def pickup(package, delivery):
        await reader.call("received", {"receipt": delivery["receipt"]})
        work(package)


@wrong("07.6", client="ada", says="it comes again, and the work is done")
def a_duplicate_is_not_answered(reader, work):
    """A duplicate is thrown away without a word: so it comes again and again."""
    reads(reader, work, lambda package, delivery: delivery["id"], answers_again=False)


@wrong("07.6", client="ada", says="all goes well, and the work is done")
def never_answered(reader, work):
    """The work is done, and that is taken to be an answer."""

    @reader.on("pickup")
    async def pickup(package, delivery):
        work(package)


@wrong("07.6", client="ada", says="no handler listens to 'pickup', only to 'pick_up'")
def another_event(reader, work):
    """A name that is nearly the event's."""

    @reader.event
    async def pick_up(package, delivery):
        work(package)
        return delivery["receipt"]


@wrong("07.6", client="ada", says="does the work on 'pizza' twice")
def the_last_one_only(reader, work):
    """A duplicate is thought to come next, before anything else."""
    last = [None]

    @reader.on("pickup")
    async def pickup(package, delivery):
        if delivery["id"] != last[0]:
            work(package)
            last[0] = delivery["id"]
        return delivery["receipt"]


@wrong("07.6", client="ada", says="does the work on 'pizza' once")
def forgotten_when_it_came_again(reader, work):
    """What came twice is thought not to come a third time, and is forgotten."""
    inbox = set()

    @reader.on("pickup")
    async def pickup(package, delivery):
        if delivery["id"] in inbox:
            inbox.remove(delivery["id"])
        else:
            work(package)
            inbox.add(delivery["id"])
        return delivery["receipt"]


@wrong("07.6", client="ada", says="after the work, before the answer; it comes again: 'O-1'")
def a_new_inbox_on_each_connection(reader, work):
    """A new connection is taken for a new beginning."""
    inbox = set()

    @reader.event
    async def connect():
        inbox.clear()

    @reader.on("pickup")
    async def pickup(package, delivery):
        if delivery["id"] not in inbox:
            work(package)
            inbox.add(delivery["id"])
        return delivery["receipt"]


@wrong("07.6", client="ada", says="no answer that counts")
def the_first_receipt_again(reader, work):
    """The receipt is kept with the id: but it is new at each attempt."""
    receipts = {}

    @reader.on("pickup")
    async def pickup(package, delivery):
        if delivery["id"] not in receipts:
            work(package)
            receipts[delivery["id"]] = delivery["receipt"]
        return receipts[delivery["id"]]


@wrong("07.6", client="ada", says="a flat tyre ended the work on O-2")
def noted_in_any_case(reader, work):
    """`finally` runs when the work has failed, too."""
    inbox = set()

    @reader.on("pickup")
    async def pickup(package, delivery):
        if delivery["id"] not in inbox:
            try:
                work(package)
            finally:
                inbox.add(delivery["id"])
        return delivery["receipt"]


@wrong("07.6", client="ada", says="does the work on 'pizza'")
def done_once_and_come_again(reader, work):
    """What comes again, and has been done under that name, is taken for the same."""
    done = set()

    @reader.on("pickup")
    async def pickup(package, delivery):
        if not (delivery["redelivered"] and package in done):
            work(package)
            done.add(package)
        return delivery["receipt"]


@wrong("07.6", client="ada", says="does the work on '' once")
def what_is_empty_is_nothing(reader, work):
    """An empty package is a package, too."""
    inbox = set()

    @reader.on("pickup")
    async def pickup(package, delivery):
        if package and delivery["id"] not in inbox:
            work(package)
            inbox.add(delivery["id"])
        return delivery["receipt"]


@wrong("07.4", client="ada", says="o-1")
def in_any_case(sio, path):
    """Capital letters are taken for small ones, by the column."""
    db = sqlite3.connect(path)
    db.execute(
        "CREATE TABLE IF NOT EXISTS box (id INTEGER PRIMARY KEY, name, package COLLATE NOCASE)"
    )

    @sio.event
    async def pickup(sid, package):
        with db:
            rows = [(name, package) for name in READERS]
            db.executemany("INSERT INTO box (name, package) VALUES (?, ?)", rows)

    @sio.on("get-all")
    async def get_all(sid, name):
        rows = db.execute("SELECT package FROM box WHERE name = ? ORDER BY id", [name])
        for (package,) in rows.fetchall():
            await sio.emit("pickup", package, to=sid)

    @sio.event
    async def received(sid, name, package):
        first = "(SELECT min(id) FROM box WHERE name = ? AND package = ?)"
        with db:
            db.execute(f"DELETE FROM box WHERE id = {first}", [name, package])


@wrong("07.6", client="ada", says="is on the line for a minute, and the next work fails")
def gives_up_the_second_time(reader, work):
    """What has failed twice is taken to be hopeless, and answered for."""
    inbox = set()

    @reader.on("pickup")
    async def pickup(package, delivery):
        if delivery["id"] not in inbox:
            try:
                work(package)
            except Exception:
                if delivery["attempt"] < 2:
                    return None
            inbox.add(delivery["id"])
        return delivery["receipt"]


@wrong("07.2", client="helper", says="a helper asks for what waits for ada")
def to_the_room_of_that_name(sio):
    """Whoever asks is in a room of that name from then on, and hears what others ask for."""
    waiting = {"ada": [], "bob": []}

    @sio.event
    async def pickup(sid, package):
        for packages in waiting.values():
            packages.append(package)

    @sio.on("get-all")
    async def get_all(sid, name):
        await sio.enter_room(sid, name)
        while waiting[name]:
            await sio.emit("pickup", waiting[name].pop(0), to=name)


@wrong("07.4", says="the hub is killed as it writes")
def writes_over_what_is_there(sio, path):
    """Between emptying the file and writing it anew, nothing is on the disk."""

    def load():
        return json.loads(path.read_text()) if path.exists() else {"ada": [], "bob": []}

    @sio.event
    async def pickup(sid, package):
        boxes = load()
        for packages in boxes.values():
            packages.append(package)
        path.write_text(json.dumps(boxes))

    @sio.on("get-all")
    async def get_all(sid, name):
        for package in load()[name]:
            await sio.emit("pickup", package, to=sid)

    @sio.event
    async def received(sid, name, package):
        boxes = load()
        if package in boxes[name]:
            boxes[name].remove(package)
        path.write_text(json.dumps(boxes))
