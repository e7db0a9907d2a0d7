"""Types for users: the marker, and all that is exported; `mypy` does the rest."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import typed_program

import chatq

FOLDER = Path(chatq.__file__).parent
#: What users of the queues name in their own annotations and handlers.
QUEUES = {
    "Consumer", "DeadMessage", "Delivery", "Died", "Kept", "NewMessage", "Observer", "Outbox",
    "Queued", "QueueFact", "QueueFull", "Queues", "QueuesClosed", "Redriven", "Refused", "Rejected",
    "Returned", "Rules", "Settled", "Stats", "StoreError", "Stored", "Subscribed", "TooLarge",
    "Tried", "Unsubscribed", "emit_in_transaction", "outbox_insert",
}  # fmt: skip


def test_the_package_says_that_it_has_types():
    assert (FOLDER / "py.typed").exists()


@pytest.mark.parametrize("name", sorted(chatq.__all__))
def test_what_is_exported_is_there(name):
    assert getattr(chatq, name) is not None
    assert name in dir(chatq)


def test_type_checkers_are_told_the_same_homes():
    """They do not run `__getattr__`: they read the imports."""
    [block] = [node for node in ast.parse((FOLDER / "__init__.py").read_text()).body
               if isinstance(node, ast.If)]  # fmt: skip
    told = {alias.name: each.module for each in block.body for alias in each.names}
    assert told == chatq._HOMES
    assert sorted(told) == sorted(chatq.__all__)


def test_the_program_that_mypy_checks_uses_all_of_the_queues():
    assert {*chatq.__all__} >= QUEUES
    assert vars(typed_program).keys() >= QUEUES


def test_a_delivery_is_what_a_handler_gets():
    assert {*chatq.Delivery.__annotations__} == {"id", "queue", "attempt", "redelivered", "receipt"}
