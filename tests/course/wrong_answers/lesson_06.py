"""Lesson 06: misunderstandings of who is there, and of what a hub can remember."""

from __future__ import annotations

from collections import deque

from . import wrong

# -- 06.1 a hub that says how many were there -----------------------------------------------------


def counted(sio, drivers, add, count, leave=None, to=None):
    """The three handlers, with what is wrong in its arguments."""

    @sio.event
    async def drive(sid):
        add(sid)

    @sio.event
    async def disconnect(sid, reason):
        if leave:
            leave(sid)

    @sio.event
    async def pickup(sid, package):
        counted = count()
        if there := (to or (lambda sid: [*drivers]))(sid):
            await sio.emit("pickup", package, to=there)
        return counted


@wrong("06.1", client="vendor", says="before anybody drives")
def always_well(sio):
    """The hub has taken it, so all is well: as in the lesson, and it says nothing of drivers."""
    drivers = set()
    counted(sio, drivers, drivers.add, lambda: True, drivers.discard)


@wrong("06.1", client="vendor", says="before anybody drives")
def says_nothing(sio):
    """A handler that returns nothing is acknowledged with nothing."""
    drivers = set()
    counted(sio, drivers, drivers.add, lambda: None, drivers.discard)


@wrong("06.1", client="vendor", says="before anybody drives")
def all_who_are_connected(sio):
    """Everybody who is connected is counted, other vendors too."""
    drivers, here = set(), set()
    counted(sio, drivers, drivers.add, lambda: len(here), drivers.discard)
    sio.on("connect", lambda sid, environ: here.add(sid))


@wrong("06.1", client="vendor", says="when ada is cut off")
def nobody_ever_leaves(sio):
    """Nobody says goodbye when a cable is cut; without `disconnect` the hub goes on counting."""
    drivers = set()
    counted(sio, drivers, drivers.add, lambda: len(drivers))


@wrong("06.1", client="vendor", says="bob has said it twice")
def counted_twice(sio):
    """A list instead of a set: who says `drive` twice is two."""
    drivers = []

    def leave(sid):
        while sid in drivers:
            drivers.remove(sid)

    counted(sio, drivers, drivers.append, lambda: len(drivers), leave)


@wrong("06.1", client="vendor", says="O-1: pickup 'O-1' (server → everyone)")
def nobody_is_everybody(sio):
    """An empty list in `to=` names nobody, and that means: everybody."""
    drivers = set()

    @sio.event
    async def drive(sid):
        drivers.add(sid)

    @sio.event
    async def disconnect(sid, reason):
        drivers.discard(sid)

    @sio.event
    async def pickup(sid, package):
        await sio.emit("pickup", package, to=[*drivers])
        return len(drivers)


@wrong("06.1", client="shop", says="O-2: pickup 'O-2'")
def to_all_but_the_sender(sio):
    """The count is right; the package goes to everybody else, drivers or not."""
    drivers = set()

    @sio.event
    async def drive(sid):
        drivers.add(sid)

    @sio.event
    async def disconnect(sid, reason):
        drivers.discard(sid)

    @sio.event
    async def pickup(sid, package):
        if drivers:
            await sio.emit("pickup", package, skip_sid=sid)
        return len(drivers)


@wrong("06.1", client="vendor", says="when ada and bob drive")
def the_newest_driver_only(sio):
    """One variable for "the driver": the second takes the place of the first."""
    drivers = set()

    def add(sid):
        drivers.clear()
        drivers.add(sid)

    counted(sio, drivers, add, lambda: len(drivers), drivers.discard)


@wrong("06.1", client="shop", says="as the shop sends 'O-1'")
def counted_after_it_was_sent(sio):
    """The count is taken after the emit has waited: who came in between was sent nothing."""
    drivers = set()

    @sio.event
    async def drive(sid):
        drivers.add(sid)

    @sio.event
    async def disconnect(sid, reason):
        drivers.discard(sid)

    @sio.event
    async def pickup(sid, package):
        if drivers:
            await sio.emit("pickup", package, to=[*drivers])
        return len(drivers)


@wrong("06.1", client="vendor", says="vendor drives, then sends 'O-1'")
def not_to_the_sender(sio):
    """Who sends it is left out, as in the lessons before; here a driver may send, too."""
    drivers = set()

    @sio.event
    async def drive(sid):
        drivers.add(sid)

    @sio.event
    async def disconnect(sid, reason):
        drivers.discard(sid)

    @sio.event
    async def pickup(sid, package):
        there = [*drivers]
        if there:
            await sio.emit("pickup", package, to=there, skip_sid=sid)
        return len(there)


@wrong("06.1", client="ada", says="hears pickup ''")
def an_empty_package_is_none(sio):
    """`if package` for "is there one?": the empty text is a package, too."""
    drivers = set()
    counted(sio, drivers, drivers.add, lambda: len(drivers), drivers.discard)
    handler = sio.handlers["/"]["pickup"]

    @sio.event
    async def pickup(sid, package):
        return await handler(sid, package) if package else len(drivers)


@wrong("06.1", client="shop", says="hangs up")
def one_who_drove_comes_back_as_one(sio):
    """A number that goes up and down: whoever hangs up is taken for a driver."""
    drivers, count = set(), [0]

    def add(sid):
        count[0] += sid not in drivers
        drivers.add(sid)

    def leave(sid):
        count[0] -= 1
        drivers.discard(sid)

    counted(sio, drivers, add, lambda: count[0], leave)


# -- 06.2 a hub that remembers the last three -----------------------------------------------------


def remembers(sio, missed=None, lost=None, keep=3, joins=True, to=None, after=None):
    """The two handlers, with what is wrong in its arguments."""
    kept, count = deque(maxlen=keep), 0

    @sio.event
    async def pickup(sid, package):
        nonlocal count
        count += 1
        kept.append((count, package))
        await sio.emit("pickup", (count, package), to="drivers")

    @sio.event
    async def drive(sid, last):
        if joins:
            await sio.enter_room(sid, "drivers")
        found = [one for one in kept if (missed or (lambda n, last: n > last))(one[0], last)]
        for one in found:
            await sio.emit("pickup", one, to=to or sid)
        gone = count - last - len(found)
        if after:
            after(kept)
        return lost(gone) if lost else gone


@wrong("06.2", client="ada", says="ada comes late, and has had none: (1, 'O-1')")
def nothing_is_kept(sio):
    """The hub of the lesson: what comes while nobody is there is gone."""
    remembers(sio, missed=lambda number, last: False)


@wrong("06.2", client="ada", says="ada was cut off after number 3, and is back: (3, 'O-3')")
def from_the_last_one_on(sio):
    """`>=` for `>`: the last one that it has had comes once more."""
    remembers(sio, missed=lambda number, last: number >= last)


@wrong("06.2", client="ada", says="ada was cut off after number 3, and is back: (2, 'O-2')")
def all_that_is_kept(sio):
    """Whoever comes gets all there is; what it has had already comes again."""
    remembers(sio, missed=lambda number, last: True)


@wrong("06.2", client="bob", says="bob has had none, and only three are kept: (1, 'O-1')")
def all_is_kept(sio):
    """A list without a limit: it remembers all, and grows for ever."""
    remembers(sio, keep=None)


@wrong("06.2", client="ada", says="ada is there when one more comes: (3, 'O-3')")
def only_what_was_missed(sio):
    """A driver is sent what it missed, and nothing that comes after."""
    remembers(sio, joins=False)


@wrong("06.2", client="bob", says="what ada has missed is for ada only: (4, 'O-4')")
def to_all_drivers_again(sio):
    """What one has missed goes to the whole room: the others get it twice."""
    remembers(sio, to="drivers")


@wrong("06.2", client="bob", says="bob has had none, and only three are kept: (2, 'O-2')")
def emptied_by_the_first(sio):
    """What was sent to one who came late is forgotten, and the next one finds nothing."""
    remembers(sio, after=lambda kept: kept.clear())


@wrong("06.2", client="bob", says="how many are lost for good")
def never_says_what_is_lost(sio):
    """It always says that nothing is lost: what is older than its memory is not thought of."""
    remembers(sio, lost=lambda gone: 0)


@wrong("06.2", client="bob", says="bob has had none, and only three are kept: (2, 'O-2')")
def numbered_by_place(sio):
    """The number is the place among those that are kept, so it changes with each new one."""
    kept = deque(maxlen=3)

    @sio.event
    async def pickup(sid, package):
        kept.append(package)
        await sio.emit("pickup", (len(kept), package), to="drivers")

    @sio.event
    async def drive(sid, last):
        await sio.enter_room(sid, "drivers")
        for number, package in [*enumerate(kept, 1)][last:]:
            await sio.emit("pickup", (number, package), to=sid)
        return 0


@wrong("06.2", client="ada", says="as the shop sends 'O-1'")
def the_room_at_the_end(sio):
    """What comes while the missed ones are sent is neither missed nor new: it is lost."""
    kept, count = deque(maxlen=3), 0

    @sio.event
    async def pickup(sid, package):
        nonlocal count
        count += 1
        kept.append((count, package))
        await sio.emit("pickup", (count, package), to="drivers")

    @sio.event
    async def drive(sid, last):
        missed = [one for one in kept if one[0] > last]
        lost = count - last - len(missed)
        for one in missed:
            await sio.emit("pickup", one, to=sid)
        await sio.enter_room(sid, "drivers")
        return lost


@wrong("06.2", client="ada", says="as the shop sends 'O-1'")
def lost_is_counted_at_the_end(sio):
    """What came meanwhile is counted as missed, and was not."""
    kept, count = deque(maxlen=3), 0

    @sio.event
    async def pickup(sid, package):
        nonlocal count
        count += 1
        kept.append((count, package))
        await sio.emit("pickup", (count, package), to="drivers")

    @sio.event
    async def drive(sid, last):
        await sio.enter_room(sid, "drivers")
        missed = [one for one in kept if one[0] > last]
        for one in missed:
            await sio.emit("pickup", one, to=sid)
        return count - last - len(missed)


@wrong("06.2", client="bob", says="hears pickup 1, 'O-1', then pickup 2, 'O-1'")
def equal_ones_are_one(sio):
    """A package that is kept already is not kept again: but two people may order the same."""
    kept, count = [], 0

    @sio.event
    async def pickup(sid, package):
        nonlocal count
        count += 1
        if package not in [other for _, other in kept]:
            kept[:] = [*kept, (count, package)][-3:]
        await sio.emit("pickup", (count, package), to="drivers")

    @sio.event
    async def drive(sid, last):
        await sio.enter_room(sid, "drivers")
        missed = [one for one in kept if one[0] > last]
        lost = max(0, count - 3 - last)
        for one in missed:
            await sio.emit("pickup", one, to=sid)
        return lost


KEPT, COUNT = deque(maxlen=3), [0]


@wrong("06.2", client="ada", says="ada comes late")
def outside_of_the_function(sio):
    """The list is outside of the function, where the next hub finds it."""
    COUNT[0] += 1
    KEPT.append((COUNT[0], "an old one"))
    count, kept = COUNT, KEPT

    @sio.event
    async def pickup(sid, package):
        count[0] += 1
        kept.append((count[0], package))
        await sio.emit("pickup", kept[-1], to="drivers")

    @sio.event
    async def drive(sid, last):
        await sio.enter_room(sid, "drivers")
        missed = [one for one in kept if one[0] > last]
        lost = count[0] - last - len(missed)
        for one in missed:
            await sio.emit("pickup", one, to=sid)
        return lost


@wrong("06.2", client="ada", says="ada")
def zero_is_all(sio):
    """`last or …`: 0 is taken for "it did not say", and who has had none gets the newest only."""
    remembers(sio, missed=lambda number, last: number > (last or 2))


@wrong("06.2", client="bob", says="as bob drives, and has had 0")
def kept_when_it_was_sent(sio):
    """A package is kept after it was sent; who begins to drive in between never hears of it."""
    kept, count = deque(maxlen=3), 0

    @sio.event
    async def pickup(sid, package):
        nonlocal count
        count += 1
        numbered = (count, package)
        await sio.emit("pickup", numbered, to="drivers")
        kept.append(numbered)

    @sio.event
    async def drive(sid, last):
        missed, newest = [one for one in kept if one[0] > last], count
        await sio.enter_room(sid, "drivers")
        for one in missed:
            await sio.emit("pickup", one, to=sid)
        return max(0, newest - 3 - last)
