"""Queues as a process of its own: `python -m chatq serve`.

Owns the process, its two protocols, and the limits for its clients. Must not know: the stage, the
clients' side, how messages are kept.
"""
