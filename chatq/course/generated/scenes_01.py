"""The generated scenes of lesson 01: what is said to everybody, and the last word of it.

Owns the model of what was said last. Must not know: how an answer is tried.
"""

from __future__ import annotations

from ..scenes import Expected
from .people import Talk

__all__ = ["LastWord", "ToEveryone"]


class ToEveryone(Talk):
    """Whoever is on the line hears what is said, once."""

    proves = "whoever dials, speaks, goes and comes back, in turn or at once"


class LastWord(Talk):
    """And whoever dials hears what was said last."""

    proves = "whoever dials, also again, when whoever spoke is there or gone"

    async def opens(self) -> None:
        """Begin, with a model of its own."""
        #: What may have been said last: two speak at once, and either may have been it.
        self.last: list[str] = []
        await super().opens()

    def said(self, *words: tuple[str, str]) -> Expected:
        """Note the last word of it."""
        self.last = [text for _, text in words]
        return super().said(*words)

    def came(self, who: str) -> Expected:
        """Note him; he has to hear the last word, if there is one."""
        if not self.last:
            return {}
        told = [news.arguments[0] for news in self.inbox(who) if news.arguments]
        self.last = [text for text in self.last if text in told][:1] or self.last[:1]
        return self.to([who], "news", *self.last)
