"""One scene: a real server and its clients, and what is seen of them.

Owns `Stage`, the journal behind it, and all that reads the journal. Must not know: how messages are
kept, the hub. Of queues it knows the facts they tell whoever watches.
"""
