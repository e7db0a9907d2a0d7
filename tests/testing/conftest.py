"""Fixtures of the tests of the plug-in."""

from functools import partial

import pytest
from pytest_runs import run_pytest


@pytest.fixture
def run(tmp_path):
    """Run pytest on a program in a project of its own; see `run_pytest`."""
    return partial(run_pytest, tmp_path)
