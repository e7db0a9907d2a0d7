"""How many generated scenes a check plays where something else is in question."""

from __future__ import annotations

from functools import partial

import pytest
import sizes

from chatq.course.generate import SCENES, try_scenes


@pytest.fixture
def few_scenes():
    """Checks play few generated scenes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chatq.course.check.try_scenes", partial(try_scenes, scenes=5))
        yield


@pytest.fixture
def scenes_by_size():
    """Checks play all generated scenes in the long run, and a fifth elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        scenes = sizes.size(SCENES // 5, SCENES)
        patch.setattr("chatq.course.check.try_scenes", partial(try_scenes, scenes=scenes))
        yield
