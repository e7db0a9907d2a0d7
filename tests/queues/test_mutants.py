"""Each planted mistake still has its place; `python tests/mutants.py` runs the tests against it."""

import shutil
from pathlib import Path

import pytest
from mutants import MUTANTS, planted

import chatq


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_can_be_planted(mutant, tmp_path):
    source = Path(chatq.__file__).parent / "queues" / f"{mutant.module.replace('.', '/')}.py"
    copy = tmp_path / source.relative_to(Path(chatq.__file__).parent / "queues")
    copy.parent.mkdir(exist_ok=True)
    shutil.copy(source, copy)
    planted(mutant, tmp_path)
    compile(copy.read_text("utf-8"), str(copy), "exec")
    assert copy.read_text("utf-8") != source.read_text("utf-8")
    copy.write_text("", "utf-8")
    with pytest.raises(ValueError, match=r"say in tests/mutants\.py"):
        planted(mutant, tmp_path)


def test_there_are_enough_and_they_are_different():
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
    assert len({(mutant.module, mutant.old, mutant.new) for mutant in MUTANTS}) == len(MUTANTS)
