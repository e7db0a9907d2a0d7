"""Queues on NATS JetStream, where one machine is not enough.

Owns the stream that all servers replicate, its records and snapshots, and emits to the clients of
all servers. Must not know: what a verb does to messages (`state`), when a client gets more.
"""
