"""The dialect of the "CAPS" lab: the words and habits of clients of lab 12 and lab 13.

Owns what such a client means by what it says, and what it is told. Must not know: tokens, pages,
options of the command.
"""
