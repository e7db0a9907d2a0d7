"""The predictions of each lesson: what is asked, and what is said to somebody who was wrong.

Owns their words, and where in a lesson the right answers are found. Must not know: how a question
is shown, folded or marked.

A name is that of the lesson and a letter, "03.a"; exercises have numbers. The reply to a choice
says what somebody who ticked it may have thought, and why it is not so; a right one needs none.
"""
