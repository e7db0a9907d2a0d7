"""The check of an installation: what is missing or too old, and the command that mends it.

Needed is what chatq itself requires, and in a checkout, where the lessons are, what they and the
tests require, too; elsewhere that is offered, and not missed. Owns how this is found out, and
nothing about which packages these are: that is declared in pyproject.toml. Must not know: the
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

__all__ = ["Finding", "at_least", "examine", "needs", "offer", "report", "run"]

CHECKOUT = Path(__file__).resolve().parent.parent
FIRST_LESSON = CHECKOUT / "notebooks" / "00-start-here.ipynb"
#: The optional parts (extras) that lessons and tests need, and what somebody else may want of them.
PARTS = {
    "asgi": "a stage for FastAPI and other ASGI applications",
    "nats": "queues and emits for many servers, on NATS",
    "lessons": "pictures and panels in Jupyter",
    "tests": "",
}


@dataclass(frozen=True)
class Finding:
    """One check: its name, its result, and the commands that mend it; none if all is well."""

    what: str
    met: str
    mend: tuple[str, ...] = ()


def run() -> int:
    """Print the report; return the exit status: 0 if all is well, 1 if not."""
    findings, offers = examine(), offer()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a path may hold what the terminal cannot show
    print(report(findings, sys.stdout.encoding or "ascii", offers))
    return int(any(finding.mend for finding in findings))


def report(findings: Sequence[Finding], encoding: str = "utf-8", offers: Sequence[str] = ()) -> str:
    """Return the findings as aligned text that `encoding` can show, and the commands that mend.

    `offers`: more commands, which nobody needs.
    """
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
        if offers:
            lines += ["", "There is more, for who wants it:", *(f"    {line}" for line in offers)]
    return "\n".join(lines)


def examine() -> list[Finding]:
    """Check the interpreter, the packages, the kernel of the lessons and the network."""
    version = ".".join(map(str, sys.version_info[:3]))
    oldest = _oldest_python()
    if not at_least(version, oldest):
        # Nothing that could be said about the packages of this interpreter would help.
        mend = (f"# install Python {oldest} or newer, then:", *_install(f"python{oldest}", []))
        return [Finding("python", f"{version}, too old: {oldest} or newer is needed", mend)]
    packages = _packages()
    if not any(package.mend for package in packages):  # else it is known already why it fails
        packages.append(_import())
    kernel = [_kernel()] if _in_checkout() else []
    return [Finding("python", version), *packages, *kernel, _loopback()]


def offer() -> list[str]:
    """Return commands that bring what is not needed here, each after a line that says what for."""
    lines = []
    if not _in_checkout():
        for part, purpose in PARTS.items():
            if purpose and any(_lacking(name, oldest) for name, oldest in needs(part).items()):
                lines += [f"# {purpose}", *_install(sys.executable, [f"chatq[{part}]"])]
    elif not (CHECKOUT / "tests" / "js" / "node_modules").is_dir():
        lines += ["# tests with Node's client and, if there is a Chromium, in a browser"]
        lines += [*_from_checkout(), _line(["npm", "ci", "--prefix", "tests/js"])]
    return lines


def needs(part: str = "") -> dict[str, str]:
    """Return what chatq, or one of its optional parts, requires: name and oldest version."""
    if _in_checkout():
        import tomllib  # here it is known that Python is new enough

        project = tomllib.loads(_pyproject())["project"]
        lines = project["optional-dependencies"][part] if part else project["dependencies"]
    else:
        try:
            lines = metadata.requires("chatq") or []
        except metadata.PackageNotFoundError:
            return {}  # then "chatq: not installed" says it all
        extras = ((line, re.search(r"extra == ['\"]([\w.-]+)", line)) for line in lines)
        lines = [line for line, extra in extras if (extra[1] if extra else "") == part]
    found = (re.match(r"([\w.-]+)(?:\[.*?\])?\s*(?:[>=]=\s*([\d.]+))?", line) for line in lines)
    return {each[1]: each[2] or "" for each in found if each}


def at_least(version: str, oldest: str) -> bool:
    """Return whether `version` is `oldest` or newer, by the numbers of the release only."""

    def release(text: str) -> list[int]:
        found = re.match(r"[\d.]*\d", text)
        return [int(number) for number in found.group().split(".") if number] if found else []

    have, need = release(version), release(oldest)
    return have + [0] * (len(need) - len(have)) >= need


def _in_checkout() -> bool:
    return FIRST_LESSON.is_file()


def _pyproject() -> str:
    return (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")


def _oldest_python() -> str:
    try:
        declared = _pyproject() if _in_checkout() else str(metadata.metadata("chatq"))
    except metadata.PackageNotFoundError:
        return "0"
    # Read like this, since what can read TOML is not part of older Pythons.
    found = re.search(r"(?im)^requires-python\W+([\d.]+)", declared)
    return found[1] if found else "0"


def _packages() -> list[Finding]:
    parts = ["", *PARTS] if _in_checkout() else [""]
    needed = {"chatq": ""}
    for part in parts:
        needed.update(needs(part))
    lacking = {name: _lacking(name, oldest) for name, oldest in needed.items()}
    mend = _install(
        sys.executable, [f"{n}>={needed[n]}".rstrip(">=") for n, why in lacking.items() if why]
    )
    return [
        Finding(name, why, mend) if why else Finding(name, metadata.version(name))
        for name, why in lacking.items()
    ]


def _lacking(name: str, oldest: str) -> str:
    """Return what is wrong with this package; nothing: it is here, and new enough."""
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
    if oldest and not at_least(version, oldest):
        return f"{version}, too old: {oldest} or newer is needed"
    return ""


def _import() -> Finding:
    """Check that chatq can be imported from any folder: in the checkout it is found even if it was
    installed from a folder that no longer exists."""
    what = "import chatq"
    # -P: without the current folder, as far as the command itself goes.
    words = [sys.executable, "-P", "-c", "import chatq.stage.stage, chatq.course.check"]
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
    """Check that the kernel called python3, which the notebooks need, is this interpreter's."""
    what = "python3 kernel"
    try:
        from jupyter_client.kernelspec import KernelSpecManager

        spec = KernelSpecManager().get_kernel_spec("python3")
    except Exception as error:  # no Jupyter, a broken one, an unreadable kernel.json: all the same
        mend = _install(sys.executable, ["ipykernel"])
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
    """Check that a server can listen on this address, as the lessons do."""
    try:
        socket.create_server((address, 0)).close()
    except OSError as error:
        mend = f"# let programs listen on {address}: a firewall or a sandbox forbids it"
        return Finding(address, f"cannot be served on: {error}", (mend,))
    return Finding(address, "can be served on")


# -- the commands -------------------------------------------------------------------------------


def _install(python: str, requirements: Iterable[str]) -> tuple[str, ...]:
    """The lines that install what is needed: from the checkout, or `requirements` without one."""
    lines = [*_from_checkout()]
    if python != sys.executable or _managed():
        lines.append(_line([python, "-m", "venv", ".venv"]))
        folder = "Scripts" if os.name == "nt" else "bin"
        python = str(Path(".venv", folder, "python"))
    what = ["-r", "requirements.txt"] if _in_checkout() else [*requirements]
    return (*lines, _line([python, "-m", "pip", "install", *what]))


def _from_checkout() -> tuple[str, ...]:
    """The line that goes to the checkout, if there is one and this is another folder."""
    there = not _in_checkout() or Path.cwd() == CHECKOUT
    return () if there else (_line(["cd", str(CHECKOUT)]),)  # `-e .` in requirements.txt means here


def _managed() -> bool:
    """Return whether pip would refuse, since the system's package manager owns this Python."""
    marker = Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED")
    return sys.prefix == sys.base_prefix and marker.exists()


def _begin() -> list[str]:
    if not _in_checkout():
        return [_line([sys.executable, "-m", "chatq", "--help"])]
    here = FIRST_LESSON.is_relative_to(Path.cwd())
    shown = os.path.relpath(FIRST_LESSON) if here else str(FIRST_LESSON)
    words = [sys.executable, "-m", "jupyter", "lab"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        words.append("--allow-root")  # in a container; JupyterLab would refuse
    return [_line([*words, shown])]


def _line(words: list[str]) -> str:
    if os.name != "nt":
        return shlex.join(words)
    return " ".join(f'"{word}"' if re.search(r"[\s&<>^|]", word) else word for word in words)
