"""A scene: a real server and its clients, observed.

Owns `Stage`: what is served, connected, waited for, broken and closed, and processes beside it.
Must not know: how messages are kept, the hub. Of queues it knows the facts that observers get.
"""
