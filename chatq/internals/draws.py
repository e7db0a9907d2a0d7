"""What Hypothesis draws: the same from the same seed, whatever modules the program has loaded.

Owns that touch. Must not know: what is drawn, and for what.

Touches Hypothesis 6.170: `_get_local_constants` and `_local_constants` of its providers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

__all__ = ["only_by_seed"]


@contextlib.contextmanager
def only_by_seed() -> Iterator[None]:
    """Let Hypothesis draw by its seed alone.

    It looks for constants in the modules of the program that are no library, and draws some of
    those, too: so the same answer would get another text in another notebook.
    """
    from hypothesis.internal.conjecture import providers

    before = providers._get_local_constants
    providers._get_local_constants = type(providers._local_constants)
    try:
        yield
    finally:
        providers._get_local_constants = before
