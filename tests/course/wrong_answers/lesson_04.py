"""Lesson 04: misunderstandings of who decides about a room, and of what a goodbye does to it."""

from __future__ import annotations

from . import wrong

# -- 04.1 ---------------------------------------------------------------------------------------


@wrong("04.1", client="dan", says="when dan has tried the word 'let me in'")
def on_its_word(sio, words):
    """Whoever asks is let in."""

    @sio.event
    async def join(sid, room, word):
        await sio.enter_room(sid, room)
        return True


@wrong("04.1", client="cy", says="when cy has tried the word 'saffron'")
def any_good_word(sio, words):
    """A word that is good for one room is taken for all of them."""

    @sio.event
    async def join(sid, room, word):
        if word not in words.values():
            return False
        await sio.enter_room(sid, room)
        return True


@wrong("04.1", client="dan", says="when dan has tried the word None")
def no_room_and_no_word(sio, words):
    """A room that there is not has no word, and `None` is none, too: they are equal."""

    @sio.event
    async def join(sid, room, word):
        if words.get(room) != word:
            return False
        await sio.enter_room(sid, room)
        return True


@wrong("04.1", client="dan", says="when dan has tried the word 'let me in'")
def enters_then_asks(sio, words):
    """The client is in before it is asked, and stays in when the answer is no."""

    @sio.event
    async def join(sid, room, word):
        await sio.enter_room(sid, room)
        return words.get(room) == word


@wrong("04.1", client="ada", says="it was not in room 'book club'")
def entering_not_awaited(sio, words):
    """Without `await` nobody enters, though the answer says so."""

    @sio.event
    async def join(sid, room, word):
        if (room, word) not in words.items():
            return False
        sio.enter_room(sid, room).close()
        return True


@wrong("04.1", client="ada", says="it was not in room 'book club'")
def in_the_room_of_its_word(sio, words):
    """The client is put on a list with the name of the word."""

    @sio.event
    async def join(sid, room, word):
        if (room, word) not in words.items():
            return False
        await sio.enter_room(sid, word)
        return True


@wrong("04.1", says="raised PermissionError: not without the word")
def raises(sio, words):
    """An exception is taken for an answer; the client never hears of it."""

    @sio.event
    async def join(sid, room, word):
        if (room, word) not in words.items():
            raise PermissionError("not without the word")
        await sio.enter_room(sid, room)
        return True


@wrong("04.1", client="ada", says="the answer to the right word")
def answers_by_emit(sio, words):
    """The answer is emitted, and what the handler returns is forgotten."""

    @sio.event
    async def join(sid, room, word):
        welcome = (room, word) in words.items()
        if welcome:
            await sio.enter_room(sid, room)
        await sio.emit("answer", welcome, to=sid)


@wrong("04.1", client="ada", says="joins 'book club' with the word ''")
def a_part_of_the_word(sio, words):
    """`in` is taken for "is"; of a text it means "is a part of", and the empty one is always."""

    @sio.event
    async def join(sid, room, word):
        if room not in words or not isinstance(word, str) or word not in words[room]:
            return False
        await sio.enter_room(sid, room)
        return True


@wrong("04.1", client="ada", says="is answered False")
def one_word_opens_all(sio, words):
    """Who has once said a right word is known, and is let in everywhere."""
    known = set()

    @sio.event
    async def join(sid, room, word):
        if room not in words or (sid not in known and words[room] != word):
            return False
        known.add(sid)
        await sio.enter_room(sid, room)
        return True


@wrong("04.1", client="dan", says="when dan has tried the word 'let me in'")
def open_once_opened(sio, words):
    """A door that somebody has opened stays open for all who come after."""
    opened = set()

    @sio.event
    async def join(sid, room, word):
        if room not in opened and (room, word) not in words.items():
            return False
        opened.add(room)
        await sio.enter_room(sid, room)
        return True


@wrong("04.1", client="ada", says="with the word 'Moby-Dick'")
def in_any_case(sio, words):
    """Capital letters are taken for small ones."""

    @sio.event
    async def join(sid, room, word):
        if room not in words or words[room] != str(word).lower():
            return False
        await sio.enter_room(sid, room)
        return True


@wrong("04.1", client="ada", says="the server speaks in 'book club'")
def one_room_at_a_time(sio, words):
    """Who enters a second room is put out of the first."""

    @sio.event
    async def join(sid, room, word):
        if (room, word) not in words.items():
            return False
        for other in sio.rooms(sid):
            if other != sid:
                await sio.leave_room(sid, other)
        await sio.enter_room(sid, room)
        return True


# -- 04.2 ---------------------------------------------------------------------------------------


def chat(sio, words, *, but=""):
    """The four handlers as they should be, without the one that an answer gets wrong."""

    def is_in(sid, room):
        return room in sio.rooms(sid) and room != sid

    async def join(sid, room, word):
        if (room, word) not in words.items():
            return False
        await sio.enter_room(sid, room)
        return True

    async def say(sid, room, text):
        if is_in(sid, room):
            await sio.emit("said", text, to=room, skip_sid=sid)

    async def leave(sid, room):
        if is_in(sid, room):
            await sio.leave_room(sid, room)
            await sio.emit("left", room, to=room)

    async def disconnect(sid, reason):
        for room in sio.rooms(sid):
            await leave(sid, room)

    for handler in (join, say, leave, disconnect):
        if handler.__name__ != but:
            sio.on(handler.__name__, handler)


@wrong("04.2", client="ada", says="what dan, who is not in, says in 'book club'")
def anybody_speaks(sio, words):
    """A room decides who hears; it is taken to decide who speaks, too."""
    chat(sio, words, but="say")

    @sio.event
    async def say(sid, room, text):
        await sio.emit("said", text, to=room, skip_sid=sid)


@wrong("04.2", client="ada", says="what dan, who is nowhere, says in ''")
def nowhere_is_everywhere(sio, words):
    """Only who names a room is asked; and an emit to no room goes to everyone."""
    chat(sio, words, but="say")

    @sio.event
    async def say(sid, room, text):
        if not room or room in sio.rooms(sid):
            await sio.emit("said", text, to=room, skip_sid=sid)


@wrong("04.2", client="dan", says="what bob says in 'book club'")
def to_all_others(sio, words):
    """Who speaks is asked; who hears is not."""
    chat(sio, words, but="say")

    @sio.event
    async def say(sid, room, text):
        if room in sio.rooms(sid):
            await sio.emit("said", text, skip_sid=sid)


@wrong("04.2", client="cy", says="the news that bob leaves 'cooks'")
def closes_the_room(sio, words):
    """`close_room` is taken for leaving: it puts everybody out."""
    chat(sio, words, but="leave")

    @sio.event
    async def leave(sid, room):
        if room in sio.rooms(sid):
            await sio.close_room(room)
            await sio.emit("left", room, to=room)


@wrong("04.2", client="bob", says="what ada says in 'book club'")
def leaves_every_room(sio, words):
    """Who leaves one room is taken out of all."""
    chat(sio, words, but="leave")

    @sio.event
    async def leave(sid, room):
        if room in sio.rooms(sid):
            for each in [each for each in sio.rooms(sid) if each != sid]:
                await sio.leave_room(sid, each)
            await sio.emit("left", room, to=room)


@wrong("04.2", client="bob", says="the news that bob leaves 'cooks'")
def told_of_itself(sio, words):
    """The room is told while the one who leaves is still on the list."""
    chat(sio, words, but="leave")

    @sio.event
    async def leave(sid, room):
        if room in sio.rooms(sid):
            await sio.emit("left", room, to=room)
            await sio.leave_room(sid, room)


@wrong("04.2", client="bob", says="what cy says in 'cooks'")
def only_says_so(sio, words):
    """The others are told, but nobody is taken off the list."""
    chat(sio, words, but="leave")

    @sio.event
    async def leave(sid, room):
        if room in sio.rooms(sid):
            await sio.emit("left", room, to=room, skip_sid=sid)


@wrong("04.2", client="ada", says="the news that dan, who is not in, leaves 'book club'")
def leaves_where_it_never_was(sio, words):
    """`leave_room` does not complain of one who is not in; so the others are told."""
    chat(sio, words, but="leave")

    @sio.event
    async def leave(sid, room):
        await sio.leave_room(sid, room)
        await sio.emit("left", room, to=room)


@wrong("04.2", client="bob", says="to bob's sid, which he tried to leave as a room")
def leaves_itself(sio, words):
    """A client's own sid is on its list of rooms, too: whoever leaves that is out of reach."""
    chat(sio, words, but="leave")

    @sio.event
    async def leave(sid, room):
        if room in sio.rooms(sid):
            await sio.leave_room(sid, room)
            await sio.emit("left", room, to=room)


@wrong("04.2", client="bob", says="to bob's sid, which he tried to leave as a room")
def leaves_all_when_in_doubt(sio, words):
    """A name that is no room of the house is taken for "all of them", one's own sid included."""
    chat(sio, words, but="leave")

    @sio.event
    async def leave(sid, room):
        for each in [room] if room in words else sio.rooms(sid):
            if each in sio.rooms(sid):
                await sio.leave_room(sid, each)
                await sio.emit("left", each, to=each)


@wrong("04.2", client="ada", says="the news that cy loses the connection")
def out_before_the_goodbye(sio, words):
    """The one who goes is taken off its lists first; then there is no list left to tell."""
    chat(sio, words, but="disconnect")

    @sio.event
    async def disconnect(sid, reason):
        for room in sio.rooms(sid):
            if room != sid:
                await sio.leave_room(sid, room)
        for room in sio.rooms(sid):
            await sio.emit("left", room, to=room, skip_sid=sid)


@wrong("04.2", client="ada", says="the news that cy loses the connection")
def nobody_is_told(sio, words):
    """The server takes a client that is gone off its lists; it is taken to tell the others, too."""
    chat(sio, words, but="disconnect")


@wrong("04.2", client="dan", says="the news that cy loses the connection")
def everybody_is_told(sio, words):
    """That somebody is gone is told to all who are connected."""
    chat(sio, words, but="disconnect")

    @sio.event
    async def disconnect(sid, reason):
        for room in words:
            if room in sio.rooms(sid):
                await sio.emit("left", room, skip_sid=sid)
                return


@wrong("04.2", client="bob", says="emits an event named 'disconnect', and stays")
def taken_in_by_an_event(sio, words):
    """`disconnect` is taken for a fact; a client may emit an event of that name, and stay."""
    chat(sio, words, but="disconnect")

    @sio.event
    async def disconnect(sid, reason):
        for room in sio.rooms(sid):
            if room != sid:
                await sio.emit("left", room, to=room, skip_sid=sid)


@wrong("04.2", client="ada", says="expected  is answered True")
def no_answer(sio, words):
    """Who is let in is not told so: the handler returns nothing."""
    chat(sio, words, but="join")

    @sio.event
    async def join(sid, room, word):
        if (room, word) in words.items():
            await sio.enter_room(sid, room)


@wrong("04.2", client="bob", says="expected  hears nothing")
def once_a_member_always_a_member(sio, words):
    """Who may speak is noted under the sid at the door, and never crossed out when he leaves."""
    chat(sio, words, but="say")
    members = set()
    join = sio.handlers["/"]["join"]

    @sio.on("join")
    async def note(sid, room, word):
        if welcome := await join(sid, room, word):
            members.add((sid, room))
        return welcome

    @sio.event
    async def say(sid, room, text):
        if (sid, room) in members:
            await sio.emit("said", text, to=room, skip_sid=sid)


@wrong("04.2", client="bob", says="expected  hears said ''")
def nothing_to_say(sio, words):
    """A text without characters is taken for none."""
    chat(sio, words, but="say")

    @sio.event
    async def say(sid, room, text):
        if text and room != sid and room in sio.rooms(sid):
            await sio.emit("said", text, to=room, skip_sid=sid)


@wrong("04.2", client="bob", says="expected  hears left 'book club', then left 'cooks'")
def only_the_first_room_is_told(sio, words):
    """Of the rooms of somebody who is gone, the first is told, and that is that."""
    chat(sio, words, but="disconnect")

    @sio.event
    async def disconnect(sid, reason):
        for room in sorted(sio.rooms(sid)):
            if room in words:
                await sio.leave_room(sid, room)
                await sio.emit("left", room, to=room)
                break


@wrong("04.2", client="bob", says="is silent until the server gives up")
def the_frozen_are_still_members(sio, words):
    """Only some of the ways to go are known: not that the server gives up who is silent."""
    chat(sio, words, but="disconnect")
    leave = sio.handlers["/"]["leave"]

    @sio.event
    async def disconnect(sid, reason):
        if reason in ("client disconnect", "transport close"):
            for room in sio.rooms(sid):
                await leave(sid, room)
