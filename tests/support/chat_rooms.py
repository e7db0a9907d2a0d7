"""A chat with rooms, as somebody else may have written it: FastAPI, Socket.IO, nothing of chatq.

uvicorn chat_rooms:app
"""

import socketio
from fastapi import FastAPI, HTTPException

TOKENS = {"token of ada": "ada", "token of bob": "bob", "token of cy": "cy"}

web = FastAPI()
sio = socketio.AsyncServer(async_mode="asgi")
app = socketio.ASGIApp(sio, other_asgi_app=web)
pause = sio.sleep
#: What was said in each room, oldest first.
history: dict[str, list[str]] = {}


@sio.event
async def connect(sid, environ, auth):
    name = TOKENS.get((auth or {}).get("token"))
    if name is None:
        raise socketio.exceptions.ConnectionRefusedError("no such token")
    await sio.save_session(sid, {"name": name})
    await sio.enter_room(sid, "lobby")


@sio.event
async def join(sid, room):
    await sio.enter_room(sid, room)
    sio.start_background_task(catch_up, sid, room)


async def catch_up(sid, room):
    """Tell a newcomer what was said before, little by little."""
    for line in [*history.get(room, [])]:
        await sio.emit("earlier", line, to=sid)
        await pause(0.01)


@sio.event
async def say(sid, room, text):
    if room not in sio.rooms(sid):
        return "join it first"
    name = (await sio.get_session(sid))["name"]
    line = f"{name}: {text}"
    history.setdefault(room, []).append(line)
    await sio.emit("said", line, to=room, skip_sid=sid)
    return "ok"


@web.post("/rooms/{room}/news")
async def news(room: str, text: str):
    if room not in history:
        raise HTTPException(404, "nobody has said anything there")
    await sio.emit("news", text, to=room)
    return {"room": room}
