"""Lesson 09 needs NATS; some lessons need a library as new as what they say of it."""

from importlib import metadata

import pytest

from chatq.doctor import at_least

#: Lessons about what a library does since a version: chatq itself works with older ones, too.
ABOUT = {
    "04-": ("python-socketio", "5.18"),  # who may join a room, and who is told that it left
    "05-": ("python-socketio", "5.18"),  # what a client is told that no namespace lets in
    "05b": ("python-socketio", "5.18"),  # who counts as connected while it is not yet let in
    "06-": ("aiohttp", "3.14"),  # what `run_app` prints when it is given any free port
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    too_old = {
        lesson: f"is about {package} {version}: python -m pip install -r requirements.txt"
        for lesson, (package, version) in ABOUT.items()
        if not at_least(metadata.version(package), version)
    }
    for item in items:
        if reason := too_old.get(item.path.name[:3]):
            item.add_marker(pytest.mark.skip(reason=reason))
        if item.path.name.startswith("09-"):
            item.add_marker(pytest.mark.needs("nats"))
