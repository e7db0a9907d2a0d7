"""Tools of the lessons: predictions, exercises and their checks, the progress of a class.

Owns the task of each exercise, the scene in which an answer is tried, and the verdicts. Must not
know: how a stage works, how queues work, notebooks. Nothing but lessons imports it.
"""
