"""A FastAPI application (`chat_rooms`) is tested with the plug-in as a new user would do it."""

from places import SUPPORT
from pytest_runs import AUTO

TOKENS = """
import aiohttp
from chat_rooms import app, history, sio

def token(name):
    return {"token": f"token of {name}"}

@pytest.fixture(autouse=True)
def nothing_was_said():
    history.clear()
"""
FIRST = """
async def test_the_lobby_hears_what_is_said(stage):
    ada, bob = await stage(sio, app).clients("ada", "bob", auth={"token": "token of ada"})
    bob.on("said", print)
    await ada.emit("say", ("lobby", "soup"))
    await stage.settle()
    assert stage.deliveries().who_got("said") == {"bob"}
"""
MORE = """
async def room(stage):
    ada, bob, cy = [
        await stage(sio, app).client("ada", auth=token("ada")),
        await stage.client("bob", auth=token("bob")),
        await stage.client("cy", auth=token("cy")),
    ]
    for client in (ada, bob, cy):
        for event in ("said", "earlier", "news"):
            client.on(event, lambda line: None)
    await ada.emit("join", "kitchen")
    await bob.emit("join", "kitchen")
    await stage.settle()
    return ada, bob, cy

async def test_only_the_room_hears_it(stage):
    ada, bob, cy = await room(stage)
    assert await ada.call("say", ("kitchen", "soup")) == "ok"
    await stage.settle()
    assert stage.deliveries().who_got("said") == {"bob"}
    assert await cy.call("say", ("kitchen", "let me in")) == "join it first"

async def test_the_door(stage):
    await stage(sio, app).client("eve", auth={"token": "of mine"})

async def test_a_newcomer_is_told_what_was_said_before(stage):
    ada, bob, cy = await room(stage)
    for text in ("soup", "salt"):
        await ada.call("say", ("kitchen", text))
    await cy.emit("join", "kitchen")
    await stage.until(lambda: len(stage.deliveries("earlier").messages) == 2)
    await stage.settle()
    assert stage.deliveries().got_in_order("cy", "earlier", "earlier")

async def test_a_route_tells_the_room(stage):
    ada, bob, cy = await room(stage)
    await ada.call("say", ("kitchen", "soup"))
    async with aiohttp.ClientSession(stage.url) as http:
        async with http.post("/rooms/kitchen/news?text=fire") as answer:
            assert await answer.json() == {"room": "kitchen"}
    await stage.settle()
    assert stage.deliveries().who_got("news") == {"ada", "bob"}
    assert stage.deliveries().got_in_order("bob", "said", "news")

async def test_fails(stage):
    ada, bob, cy = await room(stage)
    await ada.call("say", ("kitchen", "soup"))
    await stage.settle()
    assert stage.deliveries().who_got("said") == {"bob", "cy"}
"""


def test_a_new_user_tests_a_chat(run):
    ran = run(TOKENS + FIRST + MORE, *AUTO, PYTHONPATH=str(SUPPORT))
    assert ran.outcomes == {
        "test_the_lobby_hears_what_is_said": "passed",
        "test_only_the_room_hears_it": "passed",
        "test_the_door": "failed",
        "test_a_newcomer_is_told_what_was_said_before": "passed",
        "test_a_route_tells_the_room": "passed",
        "test_fails": "failed",
    }, ran.text
    assert "eve is refused: no such token" in ran.of("test_the_door")
    assert "too few: cy did not get 'said': it was not in room 'kitchen'." in ran.of("test_fails")
