"""What a verdict says of mistakes with handlers and `await`: what to write instead.

Each kind of mistake in several forms, since a message is found by the mechanism of the mistake, and
not by its text.
"""

# Mistakes are what this file is made of.
# ruff: noqa: N805, RUF006

from __future__ import annotations

import asyncio
import gc

import pytest
import socketio
from mistaken import Mistakes, names

from chatq import check

mistakes = Mistakes()
says = mistakes.says
LATER = []


# -- `await` in a plain `def` -----------------------------------------------------------------

NO_ASYNC = "does nothing", "and `await` needs an `async def`: write `async def {}`"


def no_async(name):
    return says("03.1", NO_ASYNC[0], NO_ASYNC[1].format(name))


@no_async("say")
def in_a_plain_handler(sio):
    @sio.event
    def say(sid, text):
        sio.emit("news", text, skip_sid=sid)


@no_async("on_say")
def in_a_plain_method(sio):
    class Hall(socketio.AsyncNamespace):
        def on_say(self, sid, text):
            self.emit("news", text, skip_sid=sid)

    sio.register_namespace(Hall("/"))


@no_async("tell")
def in_a_plain_helper(sio):
    def tell(sid, text):
        sio.emit("news", text, skip_sid=sid)

    @sio.event
    async def say(sid, text):
        tell(sid, text)


@no_async("say")
def kept_in_a_variable(sio):
    @sio.event
    def say(sid, text):
        sent = sio.emit("news", text, skip_sid=sid)
        LATER.append(str(sent is None))


@no_async("outside")
def in_a_helper_outside(sio):
    @sio.event
    async def say(sid, text):
        outside(sio, text)


def outside(sio, text):
    sio.emit("news", text)


@says("03.1", "an `await` is missing before a call of emit", no=["async def"])
def in_an_async_handler(sio):
    @sio.event
    async def say(sid, text):
        sio.emit("news", text, skip_sid=sid)


@says("03.1", "an `await` is missing before a call of sleep", "asyncio.sleep(0.01)", no=["async d"])
def a_sleep_that_is_not_awaited(sio):
    @sio.event
    async def say(sid, text):
        asyncio.sleep(0.01)
        await sio.emit("news", text)


# -- wrong parameters -------------------------------------------------------------------------


def listens(handler, event="say", exercise="03.1", namespace=None):
    """An answer with this handler, and a right one of `say`."""

    def answer(sio):
        @sio.event
        async def say(sid, text):
            await sio.emit("news", text, skip_sid=sid)

        sio.on(event, handler, namespace=namespace)

    return answer


CONNECT = "calls it as {}(sid, environ, auth); auth may be left out"
DISCONNECT = "calls it as {}(sid, reason); reason may be left out"
SAY = "calls it with the sid, then what the client has sent, here 1 value: {}(sid, 'dan was here')"


async def only_sid(sid): ...


async def nothing(): ...


def four(sid, environ, auth, more): ...


async def three(sid, name, text): ...


async def named(sid, *, text): ...


class Doors:
    def method(self): ...


for name, event, handler, text in (
    ("connect_sid", "connect", only_sid, CONNECT),
    ("connect_nothing", "connect", nothing, CONNECT),
    ("connect_four", "connect", four, CONNECT),
    ("connect_method", "connect", Doors().method, CONNECT),
    ("say_text", "say", only_sid, SAY),
    ("say_nothing", "say", nothing, SAY),
    ("say_three", "say", three, SAY),
    ("say_four", "say", four, SAY),
    ("say_named", "say", named, SAY),
    ("say_lambda", "say", lambda text: text, SAY),
):
    says("03.1", text.format(handler.__name__), id=name)(listens(handler, event))

for name, handler in (("disconnect_nothing", nothing), ("disconnect_three", three)):
    says("02.1", DISCONNECT.format(handler.__name__), id=name)(listens(handler, "disconnect"))


@says("03.1", "with the event, the sid, then what", "here 1 value: caught('say', sid, 'dan was")
def a_catch_all_with_too_few(sio):
    @sio.on("*")
    async def caught(event): ...


@says("03.1", "the first parameter of a method is `self`, which is missing: on_say(self, …)")
def a_method_without_self(sio):
    class Hall(socketio.AsyncNamespace):
        async def on_say(sid, text): ...

    sio.register_namespace(Hall("/"))


@says("02.1", "gets 'client disconnect'", no=["python-socketio calls"])
def a_disconnect_without_a_reason(sio):
    @sio.event
    async def disconnect(sid):
        await sio.emit("gone", "bye")


@says("02.1", "before that, it raised TypeError: object of type 'int' has no len()", "len(5)")
def an_error_in_disconnect(sio):
    @sio.event
    async def disconnect(sid, reason):
        await sio.emit("gone", len(5))


@says("03.1", "object of type 'int' has no len()", no=["python-socketio calls"])
def an_error_in_the_body(sio):
    @sio.event
    async def say(sid, text):
        await sio.emit("news", len(5))


@says("03.1", "takes 1 positional argument", no=["python-socketio calls"])
def a_helper_called_wrongly(sio):
    @sio.event
    async def say(sid, text):
        await only_sid(sid, text)


@says("07.6", "python-socketio calls it with what the server has sent, here 2 values: pickup(")
def a_client_whose_handler_takes_too_few(driver, work):
    @driver.event
    async def pickup(package): ...


# -- a coroutine that is returned -------------------------------------------------------------

RETURNED = "the handler of 'say' returns a coroutine of {}, which nobody awaits"


def returned(name):
    return says("03.1", RETURNED.format(name), "`async def`", no=["`await` is missing"])


@returned("emit")
def a_lambda(sio):
    sio.on("say", lambda sid, text: sio.emit("news", text, skip_sid=sid))


@returned("emit")
def a_plain_function_that_returns_it(sio):
    @sio.event
    def say(sid, text):
        return sio.emit("news", text, skip_sid=sid)


@returned("tell")
def a_lambda_of_a_function_of_ones_own(sio):
    async def tell(sid, text):
        await sio.emit("news", text, skip_sid=sid)

    sio.on("say", lambda sid, text: tell(sid, text))


@returned("emit")
def a_method_that_returns_it(sio):
    class Hall(socketio.AsyncNamespace):
        def on_say(self, sid, text):
            return self.emit("news", text, skip_sid=sid)

    sio.register_namespace(Hall("/"))


@says("04.1", "the handler of 'join' returns a coroutine of enter_room, which nobody awaits")
def one_that_is_to_be_the_answer(sio, words):
    sio.on("join", lambda sid, room, word: sio.enter_room(sid, room))


# -- functions, calls and loops ---------------------------------------------------------------

CALL = "a function is given where its call is wanted"
FUNCTION = "a call is given where its function is wanted"
RUNS = "the event loop runs already, and calls this: write `await` here, in an `async def`"
VALUE = "an `await` is missing: a coroutine is no value yet"


def does(*texts, no=()):
    """Note the answer to 03.1 whose handler does what is below."""

    def note(act):
        def answer(sio):
            @sio.event
            async def say(sid, text):
                result = act(sio, sid, text)
                if asyncio.iscoroutine(result):
                    await result

        says("03.1", *texts, no=no, id=act.__name__)(answer)
        return act

    return note


async def helper(text):
    return text


@does(CALL)
async def awaits_a_method(sio, sid, text):
    await sio.emit


@does(CALL)
async def awaits_a_function(sio, sid, text):
    await helper


@does(CALL)
async def a_task_of_a_method(sio, sid, text):
    asyncio.create_task(sio.emit)


@does(CALL)
async def gathers_a_function(sio, sid, text):
    await asyncio.gather(helper)


@does(FUNCTION, no=["an `await` is missing"])
async def a_background_task_of_a_call(sio, sid, text):
    sio.start_background_task(sio.emit("news", text, skip_sid=sid))


@does(FUNCTION, no=["an `await` is missing"])
async def calls_a_coroutine(sio, sid, text):
    helper(text)()


@does("gives nothing to await")
async def awaits_nothing(sio, sid, text):
    await LATER.append(text)


@does(VALUE, no=["which so does nothing"])
async def indexes_a_coroutine(sio, sid, text):
    await sio.emit("news", helper(text)[0])


@does(VALUE, no=["which so does nothing"])
async def loops_over_a_coroutine(sio, sid, text):
    for _ in helper(text):
        pass


@does(VALUE, no=["which so does nothing"])
async def asks_a_coroutine(sio, sid, text):
    await sio.emit("news", helper(text).upper())


@does(RUNS, no=["an `await` is missing"])
def runs(sio, sid, text):
    asyncio.run(sio.emit("news", text))


@does(RUNS, no=["an `await` is missing"])
def runs_until(sio, sid, text):
    asyncio.get_running_loop().run_until_complete(sio.emit("news", text))


@does(RUNS, no=["an `await` is missing"])
def runs_a_runner(sio, sid, text):
    with asyncio.Runner() as runner:
        runner.run(sio.emit("news", text))


@pytest.mark.parametrize(("exercise", "answer", "texts", "no"), mistakes.parameters)
async def test_a_mistake_is_named_with_what_to_write(exercise, answer, texts, no):
    await names(exercise, answer, texts, no)


# -- what an earlier answer has left ----------------------------------------------------------


def in_a_list(sent):
    LATER.append(sent)


def in_a_cycle(sent):
    cycle = [sent]
    cycle.append(cycle)


def in_an_error(sent):
    try:
        raise KeyError
    except KeyError as error:
        LATER.append(error)  # as a notebook does: its frames have `sent`


@pytest.mark.usefixtures("few_scenes")
@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("keep", [in_a_list, in_a_cycle, in_an_error])
@pytest.mark.filterwarnings("ignore:coroutine")
async def test_a_note_is_about_this_answer(keep, passes):
    def leaves(sio):
        @sio.event
        async def say(sid, text):
            keep(sio.emit("news", "lost"))
            await sio.emit("news", text, skip_sid=sid if passes else None)

    def lets_go(sio):
        @sio.event
        async def say(sid, text):
            LATER.clear()
            gc.collect()
            await sio.emit("news", text)

    gc.disable()
    try:
        assert (await check("03.1", leaves)).passed is passes
        verdict = await check("03.1", lets_go)
    finally:
        gc.enable()
        LATER.clear()
        gc.collect()
    assert not verdict.passed
    assert "note" not in repr(verdict)


@pytest.mark.usefixtures("few_scenes")
async def test_a_right_answer_has_no_note():
    def answer(sio):
        unused = sio.emit("news", "lost")
        unused.close()

        @sio.on("*")
        def any_event(event, *given): ...

        @sio.event
        async def say(sid, text):
            sio.start_background_task(sio.emit, "news", text, to=[], skip_sid=sid)

    verdict = await check("03.1", answer)
    assert verdict.passed
    assert "note" not in repr(verdict)
