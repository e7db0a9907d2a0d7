"""A scene: a real server and its clients, observed.

Owns `Stage`, the journal behind it, and all that reads the journal. Must not know: how messages are
kept, the hub. Of queues it knows the facts that their observers get.
"""
