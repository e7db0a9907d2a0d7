"""The two ends of a queue, in programs of python-socketio's client.

Owns `Consumer` and `Outbox`: what a client has to do so that nothing is lost and nothing happens
twice. Must not know: the server's side, the stage.
"""
