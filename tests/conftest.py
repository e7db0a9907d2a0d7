"""What nearly every test needs: a server of the library's own, and an open stage for it."""

import pytest
import socketio

from chatq import Stage


@pytest.fixture
def sio():
    return socketio.AsyncServer(async_mode="aiohttp")


@pytest.fixture
async def stage(sio):
    async with Stage(sio) as stage:
        yield stage
