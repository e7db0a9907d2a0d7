"""All uses of private attributes of python-socketio, Engine.IO, aiohttp and nats-py.

Owns what may break with a new version of those; each module lists what it touches. Must not know:
how messages are kept, the hub's protocols, pictures.
"""
