"""Facts, the journal that records them, and the count of work under way.

Owns the language of facts that queues, stage and pictures share. Must not know: python-socketio,
stores, pictures.
"""
