"""What a stage promises it promises for every kind of server that it serves."""

import pytest
import socketio

KINDS = ["aiohttp", "asgi"]


@pytest.fixture(params=KINDS)
def sio(request):
    """The server, of each kind; `@pytest.mark.parametrize("sio", ["aiohttp"], indirect=True)`: of
    this kind only."""
    return socketio.AsyncServer(async_mode=request.param)
