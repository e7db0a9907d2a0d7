"""The generated scenes of each exercise: what may happen in them, and a small model of the task.

Owns what must be true of an answer whatever happens. Must not know: how scenes are drawn, played
and told. Nothing but the exercises of the same lesson imports one of these.
"""
