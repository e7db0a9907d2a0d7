"""How many generated scenes a check plays in the short run (see also `few_scenes`)."""

from __future__ import annotations

from functools import partial

import pytest
import sizes

from chatq.course.generate import SCENES, try_scenes


@pytest.fixture
def scenes_by_size():
    """Checks play all generated scenes in the long run, and a tenth elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        scenes = sizes.size(SCENES // 10, SCENES)
        patch.setattr("chatq.course.check.try_scenes", partial(try_scenes, scenes=scenes))
        yield
