"""Widgets that drive a scene by hand: each click is a line of Python, shown and run.

Owns the controls, the line of each, and when a panel is drawn. Must not know: how a scene is run,
servers, queues.
"""
