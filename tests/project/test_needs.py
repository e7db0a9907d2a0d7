"""Tests that say what they need: run where that is missing, in CI, and where they take long."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import needs
import pytest
from places import ROOT, SUPPORT

TESTS = """
import needs
import pytest

@pytest.mark.needs("openssl")
def test_says_so():
    assert needs.path("openssl")

def test_does_not_say_so():
    needs.path("openssl")

@pytest.mark.long
def test_takes_long(): ...

def test_skips_by_itself():
    pytest.skip("it does not feel like it")
"""
SETTINGS = """
[pytest]
addopts = {options}
pythonpath = tests
testpaths = tests
markers =
    needs: see needs.py
    long: takes long
"""


@pytest.fixture
def run(tmp_path):
    """Run `tests` in a project of its own with our conftest, `openssl` or none, in CI or not; give
    its last lines."""
    tests = tmp_path / "tests"
    tests.mkdir()
    for name in ("needs.py", "sizes.py"):
        shutil.copy(SUPPORT / name, tests)
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "bin").mkdir()

    def run(*arguments, program=TESTS, there=True, options="", **environ):
        if there:
            openssl = tmp_path / "bin" / ("openssl.exe" if os.name == "nt" else "openssl")
            openssl.touch(0o755)
        (tests / "test_it.py").write_text(program)
        (tmp_path / "pytest.ini").write_text(SETTINGS.format(options=options))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "xdist.plugin", *arguments],
            cwd=tmp_path,
            env={
                **{name: value for name, value in os.environ.items() if "PYTEST" not in name},
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # most of the time they would take
                "PATH": str(tmp_path / "bin"),
                "CI": "",
                **environ,
            },
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        return re.sub(r" in [\d.]+s", "", done.stdout + done.stderr)

    return run


WITHOUT = "1 tests: Skipped: needs openssl: apt-get install openssl\n"
LEFT_OUT = "1 tests take long and were left out: python -m pytest --long runs all\n"
SAY_SO = 'AssertionError: this test has to say @pytest.mark.needs("openssl")'


def test_what_is_missing_is_named_with_what_brings_it(run):
    said = run(there=False)
    assert WITHOUT in said
    assert "1 tests: Skipped: it does not feel like it\n" in said
    assert LEFT_OUT in said
    assert "1 failed, 2 skipped, 1 deselected" in said


def test_a_need_that_is_not_said_fails_also_where_it_is_met(run):
    said = run()
    assert SAY_SO in said
    assert "1 failed, 1 passed, 1 skipped, 1 deselected" in said


def test_all_run_if_that_is_asked_for(run):
    said = run("--long")
    assert LEFT_OUT not in said
    assert "1 failed, 2 passed, 1 skipped" in said
    assert "deselected" not in said


def test_in_ci_nothing_is_skipped(run):
    said = run(there=False, CI="true")
    assert "needs openssl: apt-get install openssl" in said
    assert "in CI nothing may be skipped. Skipped: it does not feel like it" in said
    assert "2 failed, 1 deselected, 1 error" in said


@pytest.mark.long
def test_two_processes_tell_the_same(run):
    said = run("--numprocesses=2", there=False)
    assert WITHOUT in said
    assert LEFT_OUT in said
    assert "1 failed, 2 skipped" in said


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "workers"), [([], True), (["--long"], True), (["tests"], False)]
)
def test_the_whole_suite_has_two_processes(run, arguments, workers):
    said = run(*arguments, "-v", options="--numprocesses=auto --dist=loadfile")
    assert ("2/2 workers" in said) is workers


def test_a_part_that_nobody_knows_is_refused(run):
    said = run(program=TESTS.replace('needs("openssl")', 'needs("opensll")'))
    assert "test_it.py::test_says_so needs what nobody knows: ['opensll']" in said


def test_the_names_of_programs_are_told():
    command = [sys.executable, str(SUPPORT / "needs.py"), "--programs"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert {"chromium", "node", "npm", "gcc", "strace", "openssl", "nats-server"} <= {*told}
    assert {*needs.CHROMIUM, *needs.COMPILERS} <= {*told}
