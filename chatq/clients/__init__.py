"""Consumer and producer of queues, for programs with python-socketio's client.

Owns `Consumer` and `Outbox`: the client's part of at-least-once delivery and de-duplication. Must
not know: the server's side (but for an outbox whose other end is in the same process), the stage.
"""
