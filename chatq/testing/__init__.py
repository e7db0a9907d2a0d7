"""Room: stages in other people's tests.

Owns the stages that a test has opened, their end, and what a failed test leaves behind. Must not
know: pytest's hooks, how a stage works, why a message did not arrive.
"""
