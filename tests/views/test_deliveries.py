"""Questions about deliveries: a set that is one, and answers that say why."""

import copy
import pickle

import pytest

from chatq import Stage


def hear(client, *events):
    for event in events:
        client.on(event, lambda *data: None)


@pytest.fixture
async def talked(sio, stage):
    """Ada has got two news and one secret; bob, who listens to nothing, the last news; cy left."""
    ada, _, cy = await stage.clients("ada", "bob", "cy")
    hear(ada, "news", "secret")
    await sio.emit("news", 1, to=ada.get_sid())
    await sio.emit("secret", 2, to=ada.get_sid())
    await stage.settle()
    await cy.disconnect()
    await sio.emit("news", 3)
    await stage.settle()
    return stage.deliveries()


# -- who got it ---------------------------------------------------------------------------------


async def test_who_got_it_is_a_set_in_all_that_it_does(talked):
    got = talked.who_got("news")
    assert isinstance(got, set)
    assert got == {"ada"} == got
    assert (got != {"ada"}, got != {"bob"}) == (False, True)
    assert got < {"ada", "bob"}
    assert (repr(got), repr(talked.who_got("secret") - got)) == ("{'ada'}", "set()")
    assert sorted(got) == ["ada"]
    assert type(got | {"bob"}) is type(got & {"bob"}) is type(got.copy()) is set
    for same in (pickle.loads(pickle.dumps(got)), copy.copy(got), copy.deepcopy(got)):
        assert type(same) is set
        assert same == {"ada"}
    with pytest.raises(TypeError, match="unhashable"):
        hash(got)
    got.add("bob")
    assert got == {"ada", "bob"}
    assert talked.who_got("news") == {"ada"}


async def test_nobody_is_shown_as_python_shows_an_empty_set(sio, stage):
    await stage.client("ada")
    await sio.emit("news")
    await stage.settle()
    assert repr(stage.deliveries().who_got("news")) == "set()"


async def test_an_event_is_in_the_table_or_not(talked):
    assert "news" in talked
    assert "nwes" not in talked
    assert 1 not in talked


# -- the answers --------------------------------------------------------------------------------


async def test_in_order_are_exactly_these_with_others_between_them(talked):
    assert talked.got_in_order("ada", "news", "secret", "news")
    assert talked.got_in_order("ada", "news", "news")
    assert talked.got_in_order("ada", "secret")
    for wrong in (["news"], ["secret", "news", "news"], ["news", "news", "news"]):
        assert not talked.got_in_order("ada", *wrong)
    why = talked.got_in_order("ada", "secret", "news")
    assert repr(why) == "ada got 'news' then 'secret' then 'news', and not 'secret' then 'news'"
    assert repr(talked.got_in_order("ada", "secret")) == "ada got 'secret'"
    assert repr(talked.got_in_order("cy", "news")).startswith(
        "cy got none of them, and not 'news'. cy did not get 'news': it had already left"
    )


async def test_once_is_neither_never_nor_twice(talked):
    assert talked.got_once("ada", "secret")
    assert not talked.got_once("ada", "news")
    assert repr(talked.got_once("ada", "news")) == (
        "ada got 'news' 2 times: messages 1, 3 of the table"
    )
    assert not talked.got_once("bob", "news")
    assert repr(talked.got_once("bob", "news")) == (
        "'news' arrived at bob, but no handler listens to that name."
    )


async def test_nobody_has_got_what_nobody_was_sent(sio, stage):
    ada, bob = await stage.clients("ada", "bob")
    await sio.emit("secret", to="vip")
    await stage.settle()
    assert stage.deliveries().nobody_got("secret")
    await sio.emit("secret", to=bob.get_sid())
    assert repr(why := stage.deliveries().nobody_got("secret")) == (
        "'secret' is still on its way to bob: settle first."
    )
    assert not why
    await stage.settle()  # bob has no handler: but it has left the house
    assert repr(why := stage.deliveries().nobody_got("secret")) == (
        "'secret' arrived at bob, but no handler listens to that name."
    )
    assert not why
    await stage.freeze(ada)
    await sio.emit("other", to=ada.get_sid())
    await stage.settle()
    assert not stage.deliveries().nobody_got("other")


async def test_a_client_is_given_by_its_name_or_as_itself(stage, talked):
    assert talked.got_once(stage["ada"], "secret")
    assert talked.got_in_order(stage["ada"], "secret")


@pytest.mark.parametrize(
    "ask",
    [
        lambda table: table.who_got("nwes"),
        lambda table: table.nobody_got("nwes"),
        lambda table: table.got_once("ada", "nwes"),
        lambda table: table.got_in_order("ada", "news", "nwes"),
        lambda table: table.got_once("eve", "news"),
        lambda table: table.got_in_order("eve", "news"),
    ],
)
async def test_what_is_not_there_is_no_answer(talked, ask):
    with pytest.raises(
        LookupError, match=r"'nwes' in this table; there are: 'news', 'secret'\. |'eve'"
    ):
        ask(talked)


async def test_in_order_asks_about_something(talked):
    with pytest.raises(TypeError, match="at least one event"):
        talked.got_in_order("ada")


async def test_a_journal_that_has_dropped_facts_says_no_yes(sio):
    async with Stage(sio, keep=8) as stage:
        hear(await stage.client("ada"), "news", "more")
        await sio.emit("news", to="nowhere")
        for _ in range(4):
            await sio.emit("more")
        await sio.emit("news", to="nowhere")
        await stage.settle()
        why = stage.deliveries().nobody_got("news")
        assert not why
        assert repr(why) == (
            "nobody got 'news', as far as the journal knows; cut: only the newest 8 facts are kept"
        )


async def test_what_the_server_got_counts_too(sio, stage):
    sio.on("say", lambda sid: None)
    await (await stage.client("ada")).emit("say")
    await stage.settle()
    assert stage.deliveries().got_once("server", "say")
    assert not stage.deliveries().nobody_got("say")
