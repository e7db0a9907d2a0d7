"""Queues that keep messages until a consumer has dealt with them.

Owns the rules, the stores and the pumps, on any python-socketio server. Must not know: the stage,
the hub's protocol, the clients' side.
"""
