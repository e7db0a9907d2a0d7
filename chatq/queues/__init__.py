"""Queues that keep messages until a consumer has acknowledged them.

Owns the rules, the stores and the subscriptions, on any python-socketio server. Must not know: the
stage, the hub's protocol, the clients' side.
"""
