"""Queues as a process of its own: `python -m chatq serve`.

Owns the process, its two protocols, and what its clients have to keep to. Must not know: the stage,
the clients' side, how messages are kept.
"""
