"""Views of a journal: reasons, tables, diagrams, the roster of clients.

Owns the words and the pictures, as HTML and SVG for a screen, and as text. Must not know: sockets,
servers, queues, widgets.
"""
