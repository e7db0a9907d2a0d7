"""`python -m chatq doctor`, run as its reader runs it: in good and in broken environments."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from pathlib import Path

import pytest

from chatq import doctor

ROOT = Path(doctor.__file__).resolve().parent.parent


def run(
    *arguments: str, python: str = sys.executable, cwd: Path = ROOT, **environ: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", "chatq", *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8", **environ},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )


def wrong(done: subprocess.CompletedProcess[str]) -> list[str]:
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line.startswith("✗")]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An interpreter with nothing installed, not even socketio, but with chatq's metadata."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    (site,) = folder.rglob("site-packages")
    (own,) = {f.locate().parent for f in metadata.files("chatq") or [] if f.name == "METADATA"}
    shutil.copytree(own, site / own.name)
    return str(folder / ("Scripts" if os.name == "nt" else "bin") / "python")


def test_all_is_well_where_the_tests_run() -> None:
    done = run("doctor")
    assert wrong(done) == []
    assert done.returncode == 0
    assert "All is well" in done.stdout
    for name in [*doctor.LESSONS, "chatq", "aiohttp", "python-socketio"]:
        assert f"✓  {name:15}  {metadata.version(name)}\n" in done.stdout
    assert "✓  python3 kernel   runs this python\n" in done.stdout


def test_alone_it_prints_the_help() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python -m chatq" in done.stdout
    assert "doctor" in done.stdout


def test_an_unknown_command_is_refused() -> None:
    assert run("docter").returncode == 2


def test_it_speaks_where_nothing_is_installed(bare: str) -> None:
    done = run("doctor", python=bare)
    missing = {line.split()[1] for line in wrong(done) if line.endswith("not installed")}
    assert missing == {*doctor.LESSONS, "aiohttp", "python-socketio"}
    assert done.returncode == 1
    assert done.stdout.endswith(f"To mend it:\n    {bare} -m pip install -r requirements.txt\n")
    assert run(python=bare).returncode == 0


def test_elsewhere_the_command_goes_to_the_checkout_first(bare: str, tmp_path: Path) -> None:
    lines = run("doctor", python=bare, cwd=tmp_path).stdout.splitlines()
    assert lines[-2:] == [f"    cd {ROOT}", f"    {bare} -m pip install -r requirements.txt"]


def test_a_package_that_is_too_old_is_named(tmp_path: Path) -> None:
    old = tmp_path / "ipykernel-7.3.9.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: ipykernel\nVersion: 7.3.9\n")
    done = run("doctor", PYTHONPATH=os.pathsep.join([str(ROOT), str(tmp_path)]))
    assert wrong(done) == ["✗  ipykernel        7.3.9, too old: 7.4 or newer is needed"]
    assert done.returncode == 1
    assert f"    {sys.executable} -m pip install -r requirements.txt\n" in done.stdout


def test_a_chatq_that_only_the_checkout_can_import_is_found(tmp_path: Path) -> None:
    """All is installed; but the folder that chatq was installed from is no more."""
    # Before all of the environment's own, which finds chatq: a package that is not there.
    stray = tmp_path / "sitecustomize.py"
    stray.write_text(
        "import sys\n"
        "if '-P' in sys.orig_argv:\n"
        "    sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
        f"    sys.path[:] = [folder for folder in sys.path if folder != {str(ROOT)!r}]\n"
    )
    done = run("doctor", PYTHONPATH=str(tmp_path))
    assert wrong(done) == [
        "✗  import chatq     fails elsewhere: ModuleNotFoundError: No module named 'chatq'"
    ]
    assert f"To mend it:\n    {sys.executable} -m pip install -r requirements.txt\n" in done.stdout
    assert done.returncode == 1
    assert "All is well" not in done.stdout


def test_a_kernel_of_another_python_is_found_out(tmp_path: Path) -> None:
    folder = tmp_path / "kernels" / "python3"
    folder.mkdir(parents=True)
    other = str(tmp_path / "bin" / "python")
    spec = {"argv": [other, "-m", "ipykernel_launcher"], "display_name": "x", "language": "python"}
    (folder / "kernel.json").write_text(json.dumps(spec))
    done = run("doctor", JUPYTER_PATH=str(tmp_path))
    assert wrong(done) == [f"✗  python3 kernel   runs another python: {other} (from {folder})"]
    assert "-m jupyter kernelspec remove python3\n" in done.stdout

    (folder / "kernel.json").write_text("{")
    assert "python3 kernel   not to be had" in run("doctor", JUPYTER_PATH=str(tmp_path)).stdout


def test_marks_are_words_where_the_terminal_knows_no_others(bare: str) -> None:
    done = run("doctor", python=bare, PYTHONIOENCODING="ascii")
    assert "ok  python  " in done.stdout
    assert "NO  ipykernel  " in done.stdout


def test_an_address_that_cannot_be_served_on_is_reported() -> None:
    # An address kept for documentation: no machine has it.
    finding = doctor._loopback("192.0.2.1")
    assert finding.met.startswith("cannot be served on: ")
    assert "✗  192.0.2.1" in doctor.report([finding])
    assert finding.mend


@pytest.mark.parametrize(
    ("version", "oldest", "enough"),
    [
        ("7.4.0", "7.4", True),
        ("7.4", "7.4.0", True),
        ("7.10.1", "7.4", True),
        ("8", "7.4", True),
        ("7.3.9", "7.4", False),
        ("7", "7.4", False),
        ("8.0.0rc1", "7.4", True),
        ("unknown", "7.4", False),
    ],
)
def test_versions_are_compared_as_numbers(version: str, oldest: str, enough: bool) -> None:
    assert doctor.at_least(version, oldest) is enough


def test_what_it_asks_for_is_what_the_project_declares() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["requires-python"] == f">={doctor.PYTHON}"
    pins = dict(
        line.split("==")
        for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
    needed = {**doctor._required(), **doctor.LESSONS}
    assert [
        name for name, oldest in needed.items() if not doctor.at_least(pins[name], oldest)
    ] == []
