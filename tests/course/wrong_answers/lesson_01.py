"""Lesson 01: misunderstandings of who speaks to whom, and of what a line remembers."""

from __future__ import annotations

from . import wrong

# -- 01.1 ---------------------------------------------------------------------------------------


@wrong("01.1", client="ada", says="no 'news' at all")
def back_under_its_own_name(sio):
    """The server passes an event on as it is; nobody listens to that name."""

    @sio.event
    async def say(sid, text):
        await sio.emit("say", text)


@wrong("01.1", client="ada", says="no 'news' at all")
def handler_of_what_goes_out(sio):
    """The handler is named after the event that leaves, not after the one that arrives."""

    @sio.event
    async def news(sid, text):
        await sio.emit("news", text)


@wrong("01.1", client="ada", says="no 'news' at all")
def only_returned(sio):
    """What a handler returns is taken for what everybody hears."""

    @sio.event
    async def say(sid, text):
        return text


@wrong("01.1", client="ada", says="no 'news' at all")
def called_not_awaited(sio):
    """Without `await` nothing is sent."""

    @sio.event
    async def say(sid, text):
        sio.emit("news", text).close()


@wrong("01.1", client="ada", says="sent to bob alone")
def only_to_the_caller(sio):
    """An answer goes to whoever asked, as a letter's does."""

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text, to=sid)


@wrong("01.1", client="bob", says="it was the sender that skip_sid left out")
def not_to_the_speaker(sio):
    """The speaker knows already what it has said."""

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text, skip_sid=sid)


@wrong("01.1", client="ada", says='expected  gets "it is 2 o\'clock"')
def another_text(sio):
    """That something was said is told, not what."""

    @sio.event
    async def say(sid, text):
        await sio.emit("news", "somebody said something")


@wrong("01.1", client="cy", says="not get it")
def to_those_who_dial_as_well(sio):
    """Whoever dials late is told, too: that is the next exercise."""
    said = []

    @sio.event
    async def connect(sid, environ):
        for text in said:
            await sio.emit("news", text, to=sid)

    @sio.event
    async def say(sid, text):
        said.append(text)
        await sio.emit("news", text)


@wrong("01.1", client="ada", says="hears news 'hi'")
def each_text_once(sio):
    """What was said before is no news."""
    said = set()

    @sio.event
    async def say(sid, text):
        if text not in said:
            said.add(text)
            await sio.emit("news", text)


@wrong("01.1", client="ada", says="expected  hears news ''")
def an_empty_text_is_nothing(sio):
    """An empty text counts as false."""

    @sio.event
    async def say(sid, text):
        if text:
            await sio.emit("news", text)


@wrong("01.1", client="ada", says="expected  hears news ' hi'")
def tidied_up(sio):
    """The text is told, but not as it was said."""

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text.strip())


@wrong("01.1", client="bob", says="got       hears nothing")
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
        for one in there:
            await sio.emit("news", text, to=one)


@wrong("01.1", client="ada", says="at once")
def one_text_for_all(sio):
    """One variable for all: of two who speak at once, the second is told twice."""
    now = {}

    @sio.event
    async def say(sid, text):
        now["text"] = text
        await sio.emit("speaking")
        await sio.emit("news", now["text"])


@wrong("01.1", client="ada", says="at once")
def one_speaks_at_a_time(sio):
    """Whoever speaks while another is heard is not."""
    busy = []

    @sio.event
    async def say(sid, text):
        if busy:
            return
        busy.append(sid)
        await sio.emit("news", text)
        busy.clear()


# -- 01.2 ---------------------------------------------------------------------------------------


@wrong("01.2", client="cy", says="no 'news' at all")
def the_line_remembers(sio):
    """What was emitted to everyone reaches those, too, who dial later."""

    @sio.event
    async def say(sid, text):
        await sio.emit("news", text)


@wrong("01.2", client="ada", says="told to cy on dialling")
def told_to_all_again(sio):
    """Everybody is told again, whenever somebody dials."""
    last = []

    @sio.event
    async def connect(sid, environ):
        if last:
            await sio.emit("news", last[-1])

    @sio.event
    async def say(sid, text):
        last.append(text)
        await sio.emit("news", text)


@wrong("01.2", client="ada", says="before anybody has spoken")
def told_though_nothing_was_said(sio):
    """Who dials first is told of a word that there is not."""
    last = [None]

    @sio.event
    async def connect(sid, environ):
        await sio.emit("news", last[0], to=sid)

    @sio.event
    async def say(sid, text):
        last[0] = text
        await sio.emit("news", text)


@wrong("01.2", client="dan", says="expected  gets 'the soup is gone'")
def the_first_word(sio):
    """What was said first is kept, and never replaced."""
    said = []

    @sio.event
    async def connect(sid, environ):
        if said:
            await sio.emit("news", said[0], to=sid)

    @sio.event
    async def say(sid, text):
        said.append(text)
        await sio.emit("news", text)


@wrong("01.2", client="dan", says="gets 2, not one: 'the soup is hot', 'the soup is gone'")
def every_word(sio):
    """All that was ever said is told, not the last of it."""
    said = []

    @sio.event
    async def connect(sid, environ):
        for text in said:
            await sio.emit("news", text, to=sid)

    @sio.event
    async def say(sid, text):
        said.append(text)
        await sio.emit("news", text)


@wrong("01.2", client="cy", says="no 'news' at all")
def kept_by_caller(sio):
    """The word is kept for the caller who said it, and whoever dials is somebody else."""
    last = {}

    @sio.event
    async def connect(sid, environ):
        if sid in last:
            await sio.emit("news", last[sid], to=sid)

    @sio.event
    async def say(sid, text):
        last[sid] = text
        await sio.emit("news", text)


@wrong("01.2", client="ada", says="told to cy on dialling")
def to_the_speaker(sio):
    """The word goes back to the one who said it, not to the one who has just dialled."""
    last = []

    @sio.event
    async def connect(sid, environ):
        if last:
            speaker, text = last[-1]
            await sio.emit("news", text, to=speaker)

    @sio.event
    async def say(sid, text):
        last.append((sid, text))
        await sio.emit("news", text)


@wrong("01.2", client="ada", says="expected  hears news ''")
def an_empty_word_is_none(sio):
    """An empty text counts as false."""
    last = {"text": ""}

    @sio.event
    async def connect(sid, environ):
        if last["text"]:
            await sio.emit("news", last["text"], to=sid)

    @sio.event
    async def say(sid, text):
        last["text"] = text
        await sio.emit("news", text)


@wrong("01.2", client="ada", says="got       hears nothing")
def the_word_goes_with_the_speaker(sio):
    """When the one who spoke last has gone, the word is forgotten."""
    last = {}

    @sio.event
    async def connect(sid, environ):
        for text in last.values():
            await sio.emit("news", text, to=sid)

    @sio.event
    async def say(sid, text):
        last.clear()
        last[sid] = text
        await sio.emit("news", text)

    @sio.event
    def disconnect(sid, reason):
        last.pop(sid, None)


@wrong("01.2", client="ada", says="got       hears nothing")
def the_word_goes_with_the_last_one(sio):
    """When nobody is on the line any more, the word is forgotten."""
    there, last = set(), []

    @sio.event
    async def connect(sid, environ):
        there.add(sid)
        if last:
            await sio.emit("news", last[0], to=sid)

    @sio.event
    async def say(sid, text):
        last[:] = [text]
        await sio.emit("news", text)

    @sio.event
    def disconnect(sid, reason):
        there.discard(sid)
        if not there:
            last.clear()


@wrong("01.2", client="bob", says="got       hears nothing")
def told_once(sio):
    """What was told to the first who dialled is told to nobody else."""
    last = []

    @sio.event
    async def connect(sid, environ):
        if last:
            await sio.emit("news", last.pop(), to=sid)

    @sio.event
    async def say(sid, text):
        last[:] = [text]
        await sio.emit("news", text)


@wrong("01.2", client="ada", says="dial (again) at once")
def one_caller_at_a_time(sio):
    """One variable for all: of two who dial at once, the second is told twice."""
    last, caller = [], []

    @sio.event
    async def connect(sid, environ):
        caller[:] = [sid]
        await sio.emit("ringing", skip_sid=sid)
        if last:
            await sio.emit("news", last[0], to=caller[0])

    @sio.event
    async def say(sid, text):
        last[:] = [text]
        await sio.emit("news", text)


@wrong("01.2", client="ada", says="hears news")
def the_last_word_of_each(sio):
    """The last word of everybody is told, not the last of all."""
    words = {}

    @sio.event
    async def connect(sid, environ):
        if words:
            await sio.emit("news", [*words.values()][-1], to=sid)

    @sio.event
    async def say(sid, text):
        words[sid] = text  # stays at the place of the first time
        await sio.emit("news", text)
