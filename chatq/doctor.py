"""Is everything here that the lessons need? If not, which command mends it?

Owns what the lessons and their tests need beyond what chatq itself requires. Must not know: the
rest of chatq, and nothing but the standard library when it is imported, since it has to speak
where the rest cannot even be imported (so it is written for older Pythons, too).
"""

from __future__ import annotations

import io
import os
import re
import shlex
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

__all__ = ["Finding", "at_least", "examine", "report", "run"]

PYTHON = "3.11"
#: What the lessons and their tests need, and the oldest version that will do.
LESSONS = {
    "ipykernel": "7.4",  # before, buttons in a lesson ran on another thread's event loop
    "ipywidgets": "8",
    "jupyterlab": "4",
    "hypothesis": "6",
    "nbval": "0.11",
    "pytest": "8",
    "pytest-asyncio": "1",
}
CHECKOUT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Finding:
    """One thing looked at, what was met there, and what to type to mend it; nothing: it is well."""

    what: str
    met: str
    mend: tuple[str, ...] = ()


def run() -> int:
    """Print the report; return the exit status: 0 if all is well, 1 if not."""
    findings = examine()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a path may hold what the terminal cannot show
    print(report(findings, sys.stdout.encoding or "ascii"))
    return int(any(finding.mend for finding in findings))


def report(findings: Sequence[Finding], encoding: str = "utf-8") -> str:
    """Return the findings as aligned text that `encoding` can show, and the commands that mend."""
    try:
        "✓✗".encode(encoding)
        good, bad = "✓", "✗"
    except UnicodeEncodeError:
        good, bad = "ok", "NO"
    wide = max(len(finding.what) for finding in findings)
    lines = [f"{bad if f.mend else good}  {f.what:{wide}}  {f.met}" for f in findings]
    mending = list(dict.fromkeys(line for finding in findings for line in finding.mend))
    if mending:
        lines += ["", "To mend it:", *(f"    {line}" for line in mending)]
    else:
        lines += ["", "All is well. To begin:"]
        lines += [f"    {line}" for line in _begin()]
    return "\n".join(lines)


def examine() -> list[Finding]:
    """Look at the interpreter, the packages, the kernel of the lessons and the network."""
    version = ".".join(map(str, sys.version_info[:3]))
    if not at_least(version, PYTHON):
        # Nothing that could be said about the packages of this interpreter would help.
        mend = (f"# install Python {PYTHON} or newer, then:", *_install(f"python{PYTHON}", []))
        return [Finding("python", f"{version}, too old: {PYTHON} or newer is needed", mend)]
    packages = _packages()
    if not any(package.mend for package in packages):  # else it is known already why it fails
        packages.append(_import())
    return [Finding("python", version), *packages, _kernel(), _loopback()]


def at_least(version: str, oldest: str) -> bool:
    """Whether `version` is `oldest` or newer: the numbers of the release count, nothing else."""

    def release(text: str) -> list[int]:
        found = re.match(r"[\d.]*\d", text)
        return [int(number) for number in found.group().split(".") if number] if found else []

    have, need = release(version), release(oldest)
    return have + [0] * (len(need) - len(have)) >= need


def _packages() -> list[Finding]:
    needed = {"chatq": "", **_required(), **LESSONS}
    met: dict[str, str] = {}
    wrong: list[str] = []
    for name, oldest in needed.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            met[name] = "not installed"
            wrong.append(name)
            continue
        met[name] = version
        if oldest and not at_least(version, oldest):
            met[name] += f", too old: {oldest} or newer is needed"
            wrong.append(name)
    mend = _install(sys.executable, [f"{name}>={needed[name]}".rstrip(">=") for name in wrong])
    return [Finding(name, met[name], mend if name in wrong else ()) for name in needed]


def _required() -> dict[str, str]:
    """What chatq itself requires, from its own metadata: name and oldest version."""
    try:
        requirements = metadata.requires("chatq") or []
    except metadata.PackageNotFoundError:
        return {}  # then "chatq: not installed" says it all
    parts = (re.match(r"([\w.-]+)(?:\[.*?\])?\s*(?:>=\s*([\d.]+))?", r) for r in requirements)
    return {part[1]: part[2] or "" for part in parts if part and "extra ==" not in part.string}


def _import() -> Finding:
    """The notebooks import chatq from their own folder; this runs from the checkout, perhaps,
    where it is found even if it was installed from a folder that is no more."""
    what = "import chatq"
    # -P: without the current folder, as far as the command itself goes.
    words = [sys.executable, "-P", "-c", "import chatq.stage.stage, chatq.exercises.check"]
    try:
        done = subprocess.run(
            words, cwd=sys.prefix, capture_output=True, encoding="utf-8", errors="replace"
        )
        error = (done.stderr.strip().splitlines() or ["it ends at once"])[-1]
    except OSError as failed:
        error = str(failed)
    else:
        if not done.returncode:
            return Finding(what, "works from any folder")
    return Finding(what, f"fails elsewhere: {error}", _install(sys.executable, ["chatq"]))


def _kernel() -> Finding:
    """The notebooks ask for a kernel called python3; it has to be this interpreter's."""
    what = "python3 kernel"
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        spec = KernelSpecManager().get_kernel_spec("python3")
    except Exception as error:  # no Jupyter, a broken one, an unreadable kernel.json: all the same
        mend = _install(sys.executable, [f"ipykernel>={LESSONS['ipykernel']}"])
        return Finding(what, f"not to be had: {error}", mend)
    program = spec.argv[0] if spec.argv else ""
    # Jupyter takes a bare "python" for the interpreter it runs on itself. Folders are compared,
    # not files: in virtual environments all interpreters are links to the same file.
    bare = re.fullmatch(r"python[\d.]*", program)
    if bare or Path(program).parent.resolve() == Path(sys.executable).parent.resolve():
        return Finding(what, "runs this python")
    remove = _line([sys.executable, "-m", "jupyter", "kernelspec", "remove", "python3"])
    return Finding(what, f"runs another python: {program} (from {spec.resource_dir})", (remove,))


def _loopback(address: str = "127.0.0.1") -> Finding:
    """The lessons serve on this address; nothing leaves the machine."""
    try:
        socket.create_server((address, 0)).close()
    except OSError as error:
        mend = f"# let programs listen on {address}: a firewall or a sandbox forbids it"
        return Finding(address, f"cannot be served on: {error}", (mend,))
    return Finding(address, "can be served on")


# -- the commands -------------------------------------------------------------------------------


def _install(python: str, requirements: Iterable[str]) -> tuple[str, ...]:
    """The lines that install what is needed: from the checkout, or `requirements` without one."""
    lines = []
    checkout = (CHECKOUT / "requirements.txt").is_file()
    if checkout and Path.cwd() != CHECKOUT:
        lines.append(_line(["cd", str(CHECKOUT)]))  # `-e .` in requirements.txt means here
    if python != sys.executable or _managed():
        lines.append(_line([python, "-m", "venv", ".venv"]))
        folder = "Scripts" if os.name == "nt" else "bin"
        python = str(Path(".venv", folder, "python"))
    what = ["-r", "requirements.txt"] if checkout else [*requirements]
    return (*lines, _line([python, "-m", "pip", "install", *what]))


def _managed() -> bool:
    """Whether pip would refuse, because the system's package manager owns this Python."""
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    return sys.prefix == sys.base_prefix and marker.exists()


def _begin() -> list[str]:
    first = CHECKOUT / "notebooks" / "00-start-here.ipynb"
    shown = os.path.relpath(first) if first.is_relative_to(Path.cwd()) else str(first)
    words = [sys.executable, "-m", "jupyter", "lab"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")  # in a container; JupyterLab would refuse
    return [_line([*words, shown] if first.is_file() else words)]


def _line(words: list[str]) -> str:
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)
