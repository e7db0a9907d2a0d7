"""Lesson 02: misunderstandings of who is there, and of how the server knows."""

from __future__ import annotations

from . import wrong

# -- 02.1 ---------------------------------------------------------------------------------------


@wrong("02.1", client="ada", says="the news that cy loses the connection")
def only_a_polite_goodbye(sio):
    """Only a `client disconnect` is believed."""

    @sio.event
    async def disconnect(sid, reason):
        if reason == "client disconnect":
            await sio.emit("gone", reason)


@wrong("02.1", client="ada", says="the news that bob hangs up")
def only_a_closed_transport(sio):
    """A goodbye is taken for something else than the end of a line."""

    @sio.event
    async def disconnect(sid, reason):
        if reason == "transport close":
            await sio.emit("gone", reason)


@wrong("02.1", client="ada", says="no 'gone' at all")
def waits_for_a_goodbye(sio):
    """The client is expected to say that it goes."""

    @sio.event
    async def leave(sid):
        await sio.emit("gone", "client disconnect")


@wrong("02.1", client="ada", says="bob alone")
def to_the_one_who_has_gone(sio):
    """`to=sid` is whom it is about; but it says who shall hear it."""

    @sio.event
    async def disconnect(sid, reason):
        await sio.emit("gone", reason, to=sid)


@wrong("02.1", client="ada", says="no 'gone' at all")
def never_awaited(sio):
    """Without `await` nothing is sent."""

    @sio.event
    async def disconnect(sid, reason):
        sio.emit("gone", reason).close()


@wrong("02.1", client="ada", says="expected  gets 'transport close'")
def a_reason_of_its_own(sio):
    """The reason is guessed, not taken from the server."""

    @sio.event
    async def disconnect(sid, reason):
        await sio.emit("gone", "client disconnect")


@wrong("02.1", client="ada", says="got       'sid-4'")
def the_sid_not_the_reason(sio):
    """The others are told a sid, which says nothing to them."""

    @sio.event
    async def disconnect(sid, reason):
        await sio.emit("gone", sid)


@wrong("02.1", client="cy", says="at once")
def each_reason_once(sio):
    """Two who go for the same reason are told of once."""
    told = set()

    @sio.event
    async def disconnect(sid, reason):
        if reason not in told:
            told.add(reason)
            await sio.emit("gone", reason)


@wrong("02.1", client="dan", says="the news that bob hangs up")
def the_last_on_the_list(sio):
    """Whoever goes, it is the last on the list that is struck off."""
    there = []

    @sio.event
    def connect(sid, environ):
        there.append(sid)

    @sio.event
    async def disconnect(sid, reason):
        there.pop()
        for one in there:
            await sio.emit("gone", reason, to=one)


@wrong("02.1", client="cy", says="at once")
def one_reason_for_all(sio):
    """One variable for all: of two who go at once, the second one's reason is told twice."""
    reasons = {}

    @sio.event
    async def disconnect(sid, reason):
        reasons["last"] = (sid, reason)
        await sio.emit("going")
        who, why = reasons.pop("last", (None, None))
        if who is not None:
            await sio.emit("gone", why)


@wrong("02.1", client="dan", says="ada is shown the door")
def nobody_alone(sio):
    """The last one who stays is told nothing: it seems that nobody is there to be told."""
    there = set()

    @sio.event
    def connect(sid, environ):
        there.add(sid)

    @sio.event
    async def disconnect(sid, reason):
        there.discard(sid)
        if len(there) > 1:
            await sio.emit("gone", reason)


@wrong("02.1", client="ada", says="hears nothing")
def only_those_of_the_beginning(sio):
    """Whoever comes back is not on the list again: there is no more room on it."""
    there = []

    @sio.event
    def connect(sid, environ):
        if len(there) < 4:
            there.append(sid)

    @sio.event
    async def disconnect(sid, reason):
        for one in there:
            await sio.emit("gone", reason, to=one)


# -- 02.2 ---------------------------------------------------------------------------------------


def who_is_there(sio, names):
    """The two handlers that most answers have."""

    @sio.event
    def here(sid, name):
        names[sid] = name

    @sio.event
    def who(sid):
        return sorted(names.values())


@wrong("02.2", client="ada", says="no 'left' at all")
def a_list_that_only_grows(sio):
    """Whoever was there once is there for ever."""
    who_is_there(sio, {})


@wrong("02.2", client="ada", says="who is there when bob has hung up\n")
def told_but_kept(sio):
    """The others are told, and the name stays on the list."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    async def disconnect(sid, reason):
        if sid in names:
            await sio.emit("left", names[sid])


@wrong("02.2", client="ada", says="the news that dan loses the connection")
def polite_goodbyes(sio):
    """Only a `client disconnect` is believed."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    async def disconnect(sid, reason):
        if reason == "client disconnect" and sid in names:
            await sio.emit("left", names.pop(sid))


@wrong("02.2", client="ada", says="the news that cy is given up")
def closed_lines(sio):
    """Only a line that was closed is over; one gone quiet is not."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    async def disconnect(sid, reason):
        if reason in ("client disconnect", "transport close") and sid in names:
            await sio.emit("left", names.pop(sid))


@wrong("02.2", client="ada", says="got       'sid-4'")
def told_by_sid(sio):
    """The others are told the sid: the server's name, not the people's."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    async def disconnect(sid, reason):
        if names.pop(sid, None):
            await sio.emit("left", sid)


@wrong("02.2", says="server's handler of 'disconnect' raised KeyError: 'sid-10'")
def everybody_has_a_name(sio):
    """Whoever goes is taken to have said a name before."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    async def disconnect(sid, reason):
        await sio.emit("left", names.pop(sid))


@wrong("02.2", client="ada", says="eve, who never said a name")
def a_goodbye_without_a_name(sio):
    """The others are told of somebody who was on no list."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    async def disconnect(sid, reason):
        await sio.emit("left", names.pop(sid, None))


@wrong("02.2", client="ada", says="the server has no handler for 'who'")
def told_unasked(sio):
    """The list is sent to all when it changes; to the question there is no answer."""
    names = {}

    @sio.event
    async def here(sid, name):
        names[sid] = name
        await sio.emit("who", sorted(names.values()))

    @sio.event
    async def disconnect(sid, reason):
        if sid in names:
            await sio.emit("left", names.pop(sid))


@wrong("02.2", client="ada", says="who is there when all but eve have said their names")
def emitted_not_returned(sio):
    """The answer is emitted, and the one who asked gets nothing back."""
    names = {}
    who_is_there(sio, names)

    @sio.on("who")
    async def emits(sid):
        await sio.emit("who", sorted(names.values()), to=sid)

    @sio.event
    async def disconnect(sid, reason):
        if sid in names:
            await sio.emit("left", names.pop(sid))


@wrong("02.2", client="ada", says="got       ['ada', 'bob', 'bob', 'cy', 'dan']")
def one_entry_for_each_time(sio):
    """Who comes back is on the list a second time, since the old entry was only told of."""
    names, told = [], {}

    @sio.event
    def here(sid, name):
        names.append(name)
        told[sid] = name

    @sio.event
    def who(sid):
        return sorted(n for n in names if n in told.values())

    @sio.event
    async def disconnect(sid, reason):
        if sid in told:
            await sio.emit("left", told.pop(sid))


@wrong("02.2", client="anybody", says="expected  hears left ''")
def a_name_that_counts_as_false(sio):
    """An empty name is taken for none."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    async def disconnect(sid, reason):
        if name := names.pop(sid, None):
            await sio.emit("left", name)


@wrong("02.2", client="bob", says="expected  hears left 'ada'")
def by_name(sio):
    """The list is kept by name: the second of that name takes the place of the first."""
    sids = {}

    @sio.event
    def here(sid, name):
        for other in [n for n, s in sids.items() if s == sid]:
            del sids[other]
        sids[name] = sid

    @sio.event
    def who(sid):
        return sorted(sids)

    @sio.event
    async def disconnect(sid, reason):
        for name in [n for n, s in sids.items() if s == sid]:
            del sids[name]
            await sio.emit("left", name)


@wrong("02.2", client="ada", says="expected  is answered ['ada', 'ada']")
def a_set_of_names(sio):
    """Of two with the same name, the list has one."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    def who(sid):
        return sorted({*names.values()})

    @sio.event
    async def disconnect(sid, reason):
        if sid in names:
            await sio.emit("left", names.pop(sid))


@wrong("02.2", client="anybody", says="got       hears left 'ada'")
def the_first_name_stays(sio):
    """Who says another name keeps the one that was said first."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    def here(sid, name):
        names.setdefault(sid, name)

    @sio.event
    async def disconnect(sid, reason):
        if sid in names:
            await sio.emit("left", names.pop(sid))


@wrong("02.2", client="anybody", says="hears left 'ada', then left 'bob'")
def a_name_for_each_time(sio):
    """Who says another name is there twice, and goes twice."""
    pairs = []

    @sio.event
    def here(sid, name):
        if (sid, name) not in pairs:
            pairs.append((sid, name))

    @sio.event
    def who(sid):
        return sorted(name for _, name in pairs)

    @sio.event
    async def disconnect(sid, reason):
        for pair in [one for one in pairs if one[0] == sid]:
            pairs.remove(pair)
            await sio.emit("left", pair[1])


@wrong("02.2", client="bob", says="expected  hears nothing")
def another_name_is_a_goodbye(sio):
    """Whoever says another name is told of as gone, though he is there."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    async def here(sid, name):
        if names.get(sid, name) != name:
            await sio.emit("left", names[sid], skip_sid=sid)
        names[sid] = name

    @sio.event
    async def disconnect(sid, reason):
        if sid in names:
            await sio.emit("left", names.pop(sid))


@wrong("02.2", client="cy", says="got       hears left 'ada'")
def the_name_goes_with_all_who_have_it(sio):
    """When one goes, the name is struck off the list, also that of another."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    async def disconnect(sid, reason):
        if sid in names:
            name = names[sid]
            for one in [one for one, other in names.items() if other == name]:
                del names[one]
            await sio.emit("left", name)


@wrong("02.2", client="eve", says="the news that bob hangs up")
def only_those_on_the_list_are_told(sio):
    """Who never said a name is told nothing."""
    names = {}
    who_is_there(sio, names)

    @sio.event
    async def disconnect(sid, reason):
        if sid in names:
            name = names.pop(sid)
            for other in [*names]:
                await sio.emit("left", name, to=other)


@wrong("02.1", client="bob", says="is silent until the server gives up")
def the_frozen_are_not_gone(sio):
    """Who was given up for his silence is taken to be still there."""

    @sio.event
    async def disconnect(sid, reason):
        if reason != "ping timeout":
            await sio.emit("gone", reason)
