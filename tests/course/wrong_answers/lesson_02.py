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
