"""Exercises of the lessons, and the checks that judge the answers.

Owns what each exercise asks, the scene in which an answer is tried, and what is said of it. Must
not know: how a stage works, how queues work, notebooks.
"""
