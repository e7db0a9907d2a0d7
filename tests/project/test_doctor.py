"""`python -m chatq doctor`, run as its reader runs it: in good and in broken environments."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import venv
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from chatq import doctor

ROOT = Path(doctor.__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def declared(*parts: str) -> list[str]:
    """Name and bound, as pyproject.toml has them: what chatq requires, and these parts of it."""
    optional = PROJECT["optional-dependencies"]
    return [*PROJECT["dependencies"], *(line for part in parts for line in optional[part])]


NEEDED = {line.partition(">=")[0] for line in declared("nats", "lessons", "tests")}


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
    return [words(line) for line in done.stdout.splitlines() if line.startswith("✗")]


def quoted(word: str) -> str:
    if os.name != "nt":
        return shlex.quote(word)
    return f'"{word}"' if ">" in word else word  # which would be a file's name


def words(line: str) -> str:
    return " ".join(line.split())


def environment(folder: Path) -> tuple[str, Path]:
    """An interpreter with nothing installed, not even socketio, but with chatq's metadata."""
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    (site,) = folder.rglob("site-packages")
    (own,) = {f.locate().parent for f in metadata.files("chatq") or [] if f.name == "METADATA"}
    shutil.copytree(own, site / own.name)
    return str(folder / ("Scripts" if os.name == "nt" else "bin") / "python"), site


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> str:
    return environment(tmp_path_factory.mktemp("bare"))[0]


def install(site: Path, *requirements: str) -> None:
    """Copy packages that are installed here, and what they require, into `site`."""
    wanted, done = [*requirements], set()
    while wanted:
        each = Requirement(wanted.pop())
        if (each.marker and not each.marker.evaluate({"extra": ""})) or each.name in done:
            continue
        done.add(each.name)
        wanted += metadata.requires(each.name) or []
        for file in metadata.files(each.name) or []:
            if ".." not in file.parts and "__pycache__" not in file.parts:
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), site / file)


@pytest.fixture(scope="module")
def engineer(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """An interpreter after `pip install chatq`, and where its packages are: no lessons anywhere."""
    python, site = environment(tmp_path_factory.mktemp("engineer"))
    shutil.copytree(ROOT / "chatq", site / "chatq")
    install(site, *declared())
    return python, site


def test_all_is_well_where_the_tests_run() -> None:
    done = run("doctor")
    assert wrong(done) == []
    assert done.returncode == 0
    assert "All is well" in done.stdout
    lines = [words(line) for line in done.stdout.splitlines()]
    for name in ["chatq", *NEEDED]:
        assert f"✓ {name} {metadata.version(name)}" in lines
    assert "✓ python3 kernel runs this python" in lines


def test_alone_it_prints_the_help() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    assert "usage: python -m chatq" in done.stdout
    assert "doctor" in done.stdout


def test_it_says_its_version() -> None:
    assert run("--version").stdout == f"chatq {metadata.version('chatq')}\n"


def test_an_unknown_command_is_refused() -> None:
    assert run("docter").returncode == 2


def test_it_speaks_where_nothing_is_installed(bare: str) -> None:
    done = run("doctor", python=bare)
    missing = {line.split()[1] for line in wrong(done) if line.endswith("not installed")}
    assert missing == NEEDED
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
    assert wrong(done) == ["✗ ipykernel 7.3.9, too old: 7.4 or newer is needed"]
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
        "✗ import chatq fails elsewhere: ModuleNotFoundError: No module named 'chatq'"
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
    assert wrong(done) == [f"✗ python3 kernel runs another python: {other} (from {folder})"]
    assert "-m jupyter kernelspec remove python3\n" in done.stdout

    (folder / "kernel.json").write_text("{")
    assert wrong(run("doctor", JUPYTER_PATH=str(tmp_path)))[0].startswith(
        "✗ python3 kernel not to be had: "
    )


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


def test_an_engineer_is_asked_for_what_chatq_requires_and_offered_the_rest(
    engineer: tuple[str, Path], tmp_path: Path
) -> None:
    python, _ = engineer
    done = run("doctor", python=python, cwd=tmp_path, PYTHONPATH="")
    assert wrong(done) == []
    assert done.returncode == 0
    looked_at, _, advice = done.stdout.partition("\n\n")
    names = {line.split()[1] for line in looked_at.splitlines()}
    required = {line.partition(">=")[0] for line in declared()}
    assert names == {"python", "chatq", "import", "127.0.0.1", *required}
    assert advice.startswith(f"All is well. To begin:\n    {python} -m chatq --help\n")
    for part in ("asgi", "nats", "lessons"):
        assert f"    {python} -m pip install {quoted(f'chatq[{part}]')}\n" in advice
    assert "tests" not in advice


def test_what_an_engineer_has_installed_is_not_offered(
    engineer: tuple[str, Path], tmp_path: Path
) -> None:
    python, site = engineer
    install(tmp_path, "nats-py")
    done = run("doctor", python=python, cwd=site, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0
    assert "chatq[nats]" not in done.stdout
    assert "chatq[lessons]" in done.stdout


def test_an_engineer_is_told_what_chatq_lacks(engineer: tuple[str, Path], tmp_path: Path) -> None:
    python, site = engineer
    (own,) = site.glob("python_socketio-*.dist-info")
    hidden = own.rename(own.with_suffix(".hidden"))
    try:
        done = run("doctor", python=python, cwd=tmp_path, PYTHONPATH="")
    finally:
        hidden.rename(own)
    assert wrong(done) == ["✗ python-socketio not installed"]
    assert done.returncode == 1
    bound = next(line for line in declared() if line.startswith("python-socketio"))
    assert done.stdout.endswith(f"To mend it:\n    {python} -m pip install {quoted(bound)}\n")


def test_where_it_finds_what_is_needed_makes_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout has it in pyproject.toml, an installation in its metadata."""
    here = [doctor.needs(part) for part in ("", *doctor.PARTS)], doctor._oldest_python()
    assert all(oldest for need in here[0] for oldest in need.values())
    monkeypatch.setattr(doctor, "FIRST_LESSON", Path("nowhere"))
    assert ([doctor.needs(part) for part in ("", *doctor.PARTS)], doctor._oldest_python()) == here


def test_what_is_pinned_is_what_the_project_declares() -> None:
    pins = dict(
        line.split("==")
        for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()
        if "==" in line
    )
    needed: dict[str, str] = {}
    for part in ("", *doctor.PARTS):
        needed.update(doctor.needs(part))
    assert {*needed} == NEEDED
    assert [
        name for name, oldest in needed.items() if not doctor.at_least(pins[name], oldest)
    ] == []


def test_the_pythons_that_are_promised_are_named_to_indexes() -> None:
    versions = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    oldest, newest = int(versions[0][2:]), int(versions[-1][2:])
    assert versions == [f"3.{minor}" for minor in range(oldest, newest + 1)]
    assert PROJECT["requires-python"] == f">={versions[0]}" == f">={doctor._oldest_python()}"
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert here in versions, f"a new Python: run everything on {here}, then name it"
