"""What chatq adds to how a kernel answers the messages of widgets."""

from __future__ import annotations

import asyncio

import pytest
from kernel import kernel

from chatq.internals.comm import NewestCell

#: A widget whose message is answered by the kernel until the next cell runs: as chance has it on a
#: busy machine, since all of it are turns of one event loop.
SHOWS = """
import asyncio
import ipywidgets
from chatq.internals.comm import answer_on_own_shell

widget = ipywidgets.Text()
answer_on_own_shell(widget)
kernel, answered, next_runs = get_ipython().kernel, asyncio.Event(), asyncio.Event()

async def answers(stream, ident, message):
    answered.set()
    await next_runs.wait()

kernel.shell_handlers["comm_msg"] = answers
print(widget.comm.comm_id)
"""
WAITS = "print('it runs', flush=True)\nawait answered.wait()"
NEXT = """
from chatq.waiting import give_way
next_runs.set()
for _ in range(10):  # the kernel takes two turns
    await give_way()
"""


class Kernel:
    """What is wrapped of a kernel."""

    def __init__(self):
        self.parent = None

    def set_parent(self, ident, parent, channel="shell"):
        self.parent = ident


def message(kind, number):
    return {"header": {"msg_type": kind, "msg_id": f"{kind} {number}"}}


@pytest.mark.parametrize(
    ("said", "newest"),
    [
        ([("execute_request", 1), ("comm_msg", 1), ("execute_request", 1)], "execute_request 1"),
        ([("execute_request", 1), ("execute_request", 2)], "execute_request 2"),
        (
            [
                ("execute_request", 1),
                ("comm_msg", 1),
                ("execute_request", 2),
                ("execute_request", 1),
            ],
            "execute_request 2",
        ),
        ([("execute_request", 1), ("comm_msg", 1)], "comm_msg 1"),
    ],
)
def test_a_cell_that_has_run_is_never_the_newest_again(said, newest):
    it = Kernel()
    NewestCell(it)
    for kind, number in said:
        it.set_parent(f"{kind} {number}", message(kind, number))
    assert it.parent == newest


async def test_a_cell_ends_though_a_message_of_a_widget_is_answered_beside_it():
    async with kernel(SHOWS, WAITS, NEXT) as runs:
        runs.raise_on_iopub_timeout = True  # else a cell that never ends is only a warning
        (comm,) = await runs.run(0)
        runs.printed.clear()
        waits = asyncio.create_task(runs.run(1))
        async with asyncio.timeout(20):
            await runs.printed.wait()
            content = {"comm_id": comm, "data": {"method": "custom", "content": {}}}
            runs.kc.shell_channel.send(runs.kc.session.msg("comm_msg", content))
            await waits
            await runs.run(2)
