"""Lesson 03: misunderstandings of who gets an emit."""

from __future__ import annotations

from . import wrong


@wrong("03.1", client="dan", says="what dan says")
def to_everyone(sio):
    """`emit` goes to everyone: the sender hears itself."""

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text)


@wrong("03.1", client="ada", says="what dan says")
def to_the_sender(sio):
    """`to=sid` is taken for "from this client": only the sender hears it."""

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text, to=sid)


@wrong("03.1", client="ada", says="no 'news' at all")
def not_awaited(sio):
    """Without `await` nothing is sent."""

    @sio.event
    async def say(sid, text):
        sio.emit("news", text, skip_sid=sid).close()


@wrong("03.1", client="ada", says="no 'news' at all")
def another_name(sio):
    """The event that goes out is called as the one that came in."""

    @sio.event
    async def say(sid, text):
        await sio.emit("say", text, skip_sid=sid)


@wrong("03.1", client="bob", says="what bob says")
def the_first_sender(sio):
    """The sender is remembered from the first time, not taken from each message."""
    first = []

    @sio.event
    async def say(sid, text):
        first.append(sid)
        await sio.emit("news", text, skip_sid=first[0])


@wrong("03.1", client="ada", says="what dan says")
def one_by_one(sio):
    """A loop over everybody, around an emit that goes to all the others already."""

    @sio.event
    async def say(sid, text):
        for _, _ in [*sio.manager.get_participants("/", None)][:2]:
            await sio.emit("news", text, skip_sid=sid)


@wrong("03.1", client="bob", says="expected  hears news ''")
def an_empty_text_is_nothing(sio):
    """An empty text counts as false."""

    @sio.event
    async def say(sid, text):
        if text:
            await sio.emit("news", text, skip_sid=sid)


@wrong("03.1", client="ada", says="expected  hears news 'hi'")
def not_the_same_again(sio):
    """What was said last is no news."""
    last = []

    @sio.event
    async def say(sid, text):
        if last != [text]:
            last[:] = [text]
            await sio.emit("news", text, skip_sid=sid)


@wrong("03.1", client="ada", says="at once")
def one_sender_for_all(sio):
    """One variable for all: of two who speak at once, the second is left out twice."""
    now = {}

    @sio.event
    async def say(sid, text):
        now["sid"] = sid
        await sio.emit("speaking")
        await sio.emit("news", text, skip_sid=now["sid"])


@wrong("03.1", client="bob", says="got       hears nothing")
def the_last_on_the_list(sio):
    """Whoever goes, it is the last on the list that is struck off."""
    there = []

    @sio.event
    def connect(sid, environ):
        there.append(sid)

    @sio.event
    def disconnect(sid, reason):
        there.pop()

    @sio.event
    async def say(sid, text):
        for other in there:
            if other != sid:
                await sio.emit("news", text, to=other)


@wrong("03.1", client="dan", says="left out by skip_sid")
def all_who_have_spoken(sio):
    """Whoever has spoken once is left out from then on."""
    spoken = []

    @sio.event
    async def say(sid, text):
        spoken.append(sid)
        await sio.emit("news", text, skip_sid=spoken)


@wrong("03.2", client="ada", says="what bob whispers on the balcony")
def loud(sio):
    """A whisper goes to everyone but the sender: the room was forgotten."""

    @sio.event
    async def here(sid, room):
        await sio.enter_room(sid, room)

    @sio.event
    async def whisper(sid, room, text):
        await sio.emit("news", text, skip_sid=sid)


@wrong("03.2", client="bob", says="what bob whispers on the balcony")
def hears_itself(sio):
    """The sender is in the room, so the room's emit reaches it, too."""

    @sio.event
    async def here(sid, room):
        await sio.enter_room(sid, room)

    @sio.event
    async def whisper(sid, room, text):
        await sio.emit("news", text, to=room)


@wrong("03.2", client="bob", says="what ada whispers to the balcony")
def only_from_inside(sio):
    """Whoever is not in a room is taken to be unable to speak into it."""

    @sio.event
    async def here(sid, room):
        await sio.enter_room(sid, room)

    @sio.event
    async def whisper(sid, room, text):
        if room in sio.rooms(sid):
            await sio.emit("news", text, to=room, skip_sid=sid)


@wrong("03.2", client="cy", says="what bob whispers on the balcony")
def entering_not_awaited(sio):
    """Without `await` nobody enters."""

    @sio.event
    async def here(sid, room):
        sio.enter_room(sid, room).close()

    @sio.event
    async def whisper(sid, room, text):
        await sio.emit("news", text, to=room, skip_sid=sid)


@wrong("03.2", client="bob", says="what ada whispers to the balcony")
def the_last_to_come(sio):
    """Of each room only one member is kept: the last who came."""
    last = {}

    @sio.event
    async def here(sid, room):
        last[room] = sid

    @sio.event
    async def whisper(sid, room, text):
        await sio.emit("news", text, to=last[room], skip_sid=sid)


@wrong("03.2", client="cy", says="not in room 'cake at noon'")
def arguments_mixed_up(sio):
    """The text is taken for the room, and the room for the text."""

    @sio.event
    async def here(sid, room):
        await sio.enter_room(sid, room)

    @sio.event
    async def whisper(sid, text, room):
        await sio.emit("news", text, to=room, skip_sid=sid)


@wrong("03.2", client="cy", says="when cy has entered the kitchen, too")
def one_room_at_a_time(sio):
    """Who enters a room is taken to leave every other."""

    @sio.event
    async def here(sid, room):
        for other in sio.rooms(sid):
            if other != sid:
                await sio.leave_room(sid, other)
        await sio.enter_room(sid, room)

    @sio.event
    async def whisper(sid, room, text):
        await sio.emit("news", text, to=room, skip_sid=sid)


@wrong("03.2", client="ada", says="expected  hears nothing")
def one_room_for_all(sio):
    """The name of the room is not looked at: there is one."""

    @sio.event
    async def here(sid, room):
        await sio.enter_room(sid, "inside")

    @sio.event
    async def whisper(sid, room, text):
        await sio.emit("news", text, to="inside", skip_sid=sid)


@wrong("03.2", client="bob", says="hears news 'hi', then news 'hi'")
def on_the_list_twice(sio):
    """Who enters a room again is on its list twice."""
    rooms = {}

    @sio.event
    def here(sid, room):
        rooms.setdefault(room, []).append(sid)

    @sio.event
    async def whisper(sid, room, text):
        for one in rooms.get(room, []):
            if one != sid:
                await sio.emit("news", text, to=one)


@wrong("03.2", client="anybody", says="'balcony 2'")
def nearly_that_room(sio):
    """The names of rooms are compared loosely."""
    rooms = {}

    @sio.event
    def here(sid, room):
        rooms.setdefault(room, set()).add(sid)

    @sio.event
    async def whisper(sid, room, text):
        near = {one for name, members in rooms.items() if room in name for one in members}
        for one in near - {sid}:
            await sio.emit("news", text, to=one)


@wrong("03.2", client="ada", says="does not get it")
def steps_out_for_a_moment(sio):
    """The speaker leaves and enters again, also if it was not in the room before."""

    @sio.event
    async def here(sid, room):
        await sio.enter_room(sid, room)

    @sio.event
    async def whisper(sid, room, text):
        await sio.leave_room(sid, room)
        await sio.emit("news", text, to=room)
        await sio.enter_room(sid, room)


@wrong("03.2", client="bob", says="expected  hears nothing")
def an_empty_room(sio):
    """`to=[]` is taken for nobody; but it is everybody."""
    rooms = {}

    @sio.event
    def here(sid, room):
        rooms.setdefault(room, set()).add(sid)

    @sio.event
    async def whisper(sid, room, text):
        await sio.emit("news", text, to=[*rooms.get(room, set()) - {sid}], skip_sid=sid)


@wrong("03.2", client="bob", says="whispers 'balcony' to 'kitchen'")
def a_text_that_is_a_room(sio):
    """Who is in a room of that name gets the text, too: both arguments are taken for rooms."""

    @sio.event
    async def here(sid, room):
        await sio.enter_room(sid, room)

    @sio.event
    async def whisper(sid, *message):
        await sio.emit("news", message[-1], to=[*message], skip_sid=sid)


@wrong("03.2", client="anybody", says="'Balcony '")
def rooms_in_any_case(sio):
    """Names of rooms that are nearly the same are taken for one."""

    @sio.event
    async def here(sid, room):
        await sio.enter_room(sid, room.strip().lower())

    @sio.event
    async def whisper(sid, room, text):
        await sio.emit("news", text, to=room.strip().lower(), skip_sid=sid)
