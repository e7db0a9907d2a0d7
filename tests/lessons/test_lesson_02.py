"""Claims of lesson 02 about clients that no stage has made."""

import sys

import pytest
import socketio

from chatq import Stage
from chatq.journal.facts import Disconnected


async def test_a_bare_client_closes_its_line_without_waiting_for_its_goodbye(sio):
    """Whether the goodbye leaves all the same is a matter of turns of the event loop: the lesson
    says on which Pythons it does. Whoever changes that, the library or Python, is heard of here."""
    async with Stage(sio) as stage:
        bare = socketio.AsyncClient(handle_sigint=False)
        await bare.connect(f"{stage.url}?name=bare", transports=["websocket"])
        await stage.until(lambda: stage.connected("bare"), "the bare client")
        await bare.disconnect()
        await stage.until(lambda: not stage.connected("bare"), "the server to notice")
        [gone] = [fact for fact in stage.journal if isinstance(fact, Disconnected)]
    lost = sys.version_info < (3, 12)
    assert gone.reason == ("transport close" if lost else "client disconnect")


@pytest.mark.parametrize("packets", [0, 1, 50])
async def test_a_client_of_a_stage_waits_until_its_goodbye_is_written(stage, packets):
    """Also behind others, for which one turn would never do."""
    ada = await stage.client("ada")
    for number in range(packets):
        await ada.emit("say", number)
    await ada.disconnect()
    await stage.settle()
    [gone] = [fact for fact in stage.journal if isinstance(fact, Disconnected)]
    assert gone.reason == "client disconnect"
