"""Draw the pictures at the top of the lessons: `python tests/pictures.py`.

One function for each; its docstring is the description that the picture has for those who do not
see it, and its first line the title. Each is on no paper, in colours that can be read on white and
on black, since nothing tells an image in a notebook which theme there is; clients have the colours
and shapes that they have everywhere.
"""

from __future__ import annotations

import html
import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from chatq.views.looks import marks

FOLDER = Path(__file__).resolve().parent.parent / "notebooks" / "pictures"
WIDE = 440
GREY, GOOD, BAD, SERVER = "#767c86", "#1f8a54", "#d23b39", "#44566c"
CLIENTS = marks(["ada", "bob", "cy", "dan", "driver", "eve", "fay", "helper", "vendor"])
FONT = "font-family='ui-sans-serif,system-ui,sans-serif' font-size='14' font-weight='600'"


class Figure:
    """A picture under way; every method adds to it. Boxes are placed by their middles."""

    def __init__(self, tall: int) -> None:
        self.tall = tall
        self.parts: list[str] = []

    def text(self, x: float, y: float, text: str, colour: str = GREY, at: str = "middle") -> None:
        """Write `text`; `at`: whether x is its start, middle or end."""
        self.parts.append(
            f"<text x='{x:g}' y='{y + 5:g}' text-anchor='{at}' fill='{colour}'>"
            f"{html.escape(text, quote=False)}</text>"
        )

    def box(
        self, x: float, y: float, text: str, colour: str = SERVER, wide: float = 0, tall: float = 30
    ) -> None:
        """Draw a box of this colour with white text."""
        wide = wide or 8 * len(text) + 22
        self.parts.append(
            f"<rect x='{x - wide / 2:g}' y='{y - tall / 2:g}' width='{wide:g}' height='{tall:g}' "
            f"rx='7' fill='{colour}'/>"
        )
        self.text(x, y, text, "#fff")

    def client(self, x: float, y: float, name: str) -> None:
        """Draw a client, in its colour and with its shape."""
        mark = CLIENTS[name]
        self.box(x, y, f"{mark.shape} {name}", mark.colour)

    def frame(self, x: float, y: float, wide: float, tall: float) -> None:
        """Draw an empty box; x and y are its corner."""
        self.parts.append(
            f"<rect x='{x:g}' y='{y:g}' width='{wide:g}' height='{tall:g}' rx='9' fill='none' "
            f"stroke='{GREY}' stroke-width='2'/>"
        )

    def line(self, x: float, y: float, to_x: float, to_y: float, **how: str) -> None:
        """Draw a line."""
        more = "".join(f" {name}='{value}'" for name, value in how.items())
        self.parts.append(f"<path d='M{x:g} {y:g}L{to_x:g} {to_y:g}' fill='none'{more}/>")

    def arrow(
        self,
        x: float,
        y: float,
        to_x: float,
        to_y: float,
        text: str = "",
        colour: str = GREY,
        *,
        ends: bool = True,
        both: bool = False,
        thick: float = 2,
    ) -> None:
        """Draw an arrow with `text` above it; `ends`: it gets there, or is broken, with no head."""
        broken = {} if ends else {"stroke-dasharray": "6 5"}
        self.line(x, y, to_x, to_y, stroke=colour, **{"stroke-width": f"{thick:g}"}, **broken)
        if ends:
            self._head(x, y, to_x, to_y, colour, thick)
        if both:
            self._head(to_x, to_y, x, y, colour, thick)
        if text:
            self.text((x + to_x) / 2, min(y, to_y) + abs(y - to_y) / 2 - 13, text, colour)

    def _head(
        self, x: float, y: float, to_x: float, to_y: float, colour: str, thick: float
    ) -> None:
        long = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5
        ahead, size = ((to_x - x) / long, (to_y - y) / long), 8 + 2 * thick
        side = (-ahead[1] * size / 2, ahead[0] * size / 2)
        foot = (to_x - ahead[0] * size, to_y - ahead[1] * size)
        corners = [(to_x, to_y), *((foot[0] + s * side[0], foot[1] + s * side[1]) for s in (1, -1))]
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in corners)
        self.parts.append(f"<path d='M{points}z' fill='{colour}'/>")

    def missed(self, x: float, y: float, text: str = "✗") -> None:
        """Say that something is not there: what the eye is to find first."""
        self.box(x, y, text, BAD)

    def svg(self, title: str, description: str) -> str:
        """Return the picture."""
        return (
            f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDE}' height='{self.tall}' "
            f"viewBox='0 0 {WIDE} {self.tall}' role='img' {FONT}>"
            f"<title>{html.escape(title, quote=False)}</title>"
            f"<desc>{html.escape(description, quote=False)}</desc>{''.join(self.parts)}</svg>\n"
        )


def async_and_handlers() -> Figure:
    """Call me when the soup is ready

    You say to the waiter: when the soup is ready, call me. You talk with Bob, and the waiter waits
    for the kitchen. Then he calls you: the soup!
    """
    it = Figure(170)
    it.box(70, 30, "you")
    it.box(370, 30, "waiter")
    it.arrow(98, 30, 332, 30, "when the soup is ready: call me")
    it.line(70, 45, 70, 125, stroke=GREY, **{"stroke-width": "2", "stroke-dasharray": "2 5"})
    it.line(370, 45, 370, 125, stroke=GREY, **{"stroke-width": "2", "stroke-dasharray": "2 5"})
    it.text(84, 85, "you talk with Bob", at="start")
    it.text(356, 85, "he waits", at="end")
    it.box(70, 140, "you")
    it.box(370, 140, "waiter")
    it.arrow(332, 140, 98, 140, "the soup!", GOOD)
    return it


def the_phone_call() -> Figure:
    """A letter and a phone call

    A browser asks a server for a page, and gets it: a letter, one question and one answer. Then it
    asks for a websocket, and the server says yes: a phone call, dialled once. The line stays open,
    and either of them may speak.
    """
    it = Figure(276)
    left, right = 60, 380
    for x in (left, right):
        it.line(x, 34, x, 272, stroke=GREY, **{"stroke-width": "1.5"})
    it.box(left, 20, "browser")
    it.box(right, 20, "server")
    it.text(220, 52, "a letter: one question, one answer")
    it.arrow(left + 4, 86, right - 4, 86, "GET /")
    it.arrow(right - 4, 120, left + 4, 120, "the page")
    it.text(220, 156, "a phone call: dialled once", GOOD)
    it.arrow(left + 4, 192, right - 4, 192, "may I have a websocket?", GOOD)
    it.arrow(right - 4, 224, left + 4, 224, "yes", GOOD)
    it.arrow(left + 4, 258, right - 4, 258, "either may speak", GOOD, both=True, thick=5)
    return it


def proof_of_life() -> Figure:
    """The heartbeat, and a silence

    A client connects, and a handler of the server runs: a user connected. The server asks again and
    again: are you there? The client answers: I am here. Once there is no answer. The server waits,
    and another handler runs: a user left, ping timeout.
    """
    it = Figure(250)
    left, right = 70, 380
    for x in (left, right):
        it.line(x, 34, x, 205, stroke=GREY, **{"stroke-width": "1.5"})
    it.box(left, 20, "server")
    it.box(right, 20, "client", CLIENTS["ada"].colour)
    it.arrow(right - 4, 66, left + 4, 66, "hello: “a user connected”")
    it.arrow(left + 4, 102, right - 4, 102, "are you there?", GOOD)
    it.arrow(right - 4, 134, left + 4, 134, "I am here", GOOD)
    it.arrow(left + 4, 178, right - 60, 178, "are you there?", BAD, ends=False)
    it.missed(right - 30, 178, "silence")
    it.box(156, 226, "“a user left: ping timeout”", BAD, 280)
    return it


def broadcast() -> Figure:
    """Everyone but the one who said it

    Ada says something to the server. The server says it to Bob, Cy and Dan. Ada does not get it.
    """
    it = Figure(170)
    it.client(60, 85, "ada")
    it.box(215, 85, "server")
    it.arrow(100, 85, 176, 85)
    for y, name in ((28, "bob"), (85, "cy"), (142, "dan")):
        it.arrow(254, 85, 325, y)
        it.client(370, y, name)
        it.text(424, y, "✓", GOOD)
    it.missed(62, 125, "✗ not to her")
    return it


def rooms() -> Figure:
    """Two lists that the server keeps

    The server has two lists: book club, with Ada and Bob, and cooks, with Bob and Cy. An emit to
    book club reaches Ada and Bob, one to cooks Bob and Cy. Dan is on no list, and gets neither.
    """
    it = Figure(190)
    it.text(20, 16, "the server's lists", at="start")
    for y, room, members in ((58, "book club", ("ada", "bob")), (118, "cooks", ("bob", "cy"))):
        it.frame(14, y - 24, 130, 48)
        it.text(79, y, f"“{room}”")
        it.arrow(150, y, 226, y, "emit")
        for x, name in zip((270, 360), members, strict=True):
            it.client(x, y, name)
            it.text(x + 48, y, "✓", GOOD)
    it.client(270, 168, "dan")
    it.missed(366, 168, "✗ on no list")
    return it


def namespaces() -> Figure:
    """One line, three extensions

    Ada has one line to the server, and behind it there are three namespaces: in /bar an order is a
    drink, in /kitchen an order is a dish, and /staff asks who she is.
    """
    it = Figure(170)
    it.client(50, 85, "ada")
    it.box(210, 85, "server")
    it.arrow(90, 85, 171, 85, both=True, thick=5)
    it.text(130, 62, "one line")
    for y, name, said in ((28, "/bar", "a drink"), (85, "/kitchen", "a dish"), (142, "/staff", "")):
        it.arrow(249, 85, 276, y)
        it.box(322, y, name, "#0b6a75", 88)
        it.text(372, y, said, at="start")
    it.missed(402, 142, "who?")
    return it


def who_may_come_in() -> Figure:
    """A doorkeeper who looks it up

    Cy shows the key of Cy to a doorkeeper, who looks it up and lets him in to the staff. Eve shows
    a guess. While the doorkeeper looks, she waits; then she is told: you are not staff.
    """
    it = Figure(170)
    it.client(44, 40, "cy")
    it.client(44, 120, "eve")
    it.arrow(76, 40, 168, 60, "his key")
    it.arrow(82, 120, 168, 100, "a guess")
    it.frame(172, 46, 112, 68)
    it.text(228, 70, "doorkeeper")
    it.text(228, 92, "looks it up")
    it.arrow(288, 60, 336, 40, "", GOOD)
    it.box(384, 40, "/staff", "#0b6a75", 88)
    it.text(384, 68, "inside", GOOD)
    it.arrow(288, 100, 336, 120, "", BAD, ends=False)
    it.missed(388, 120, "✗ refused")
    it.text(44, 156, "she waits: what does she hear meanwhile?", BAD, at="start")
    return it


def the_lost_packages() -> Figure:
    """A package for nobody

    A vendor gives the hub a package, pick up O-2. The hub passes it on, and nobody is there. Later
    a driver connects: here I am. It is too late.
    """
    it = Figure(150)
    it.client(56, 40, "vendor")
    it.arrow(104, 40, 196, 40, "O-2")
    it.box(225, 40, "hub")
    it.arrow(254, 40, 338, 40, "O-2", BAD, ends=False)
    it.missed(388, 40, "✗ nobody")
    it.box(225, 118, "hub")
    it.client(388, 118, "driver")
    it.arrow(342, 118, 254, 118, "here I am")
    it.text(100, 118, "a minute later:")
    it.text(300, 140, "too late", BAD)
    return it


def build_the_queue() -> Figure:
    """A letter box between the two

    A vendor puts packages into a letter box, where O-1 and O-2 wait. A driver asks: what is there
    for me? O-1 goes out to it. The driver says: I have dealt with O-1; only now O-1 is taken out.
    """
    it = Figure(220)
    it.client(56, 50, "vendor")
    it.arrow(104, 50, 176, 50)
    it.frame(182, 14, 110, 72)
    it.text(237, 32, "letter box")
    it.box(211, 64, "O-1", "#6b4a1f", 46)
    it.box(264, 64, "O-2", "#6b4a1f", 46)
    it.client(237, 196, "driver")
    it.arrow(206, 176, 206, 92)
    it.arrow(238, 92, 238, 176)
    it.arrow(270, 176, 270, 92, "", GOOD)
    it.text(196, 126, "1  what is there", at="end")
    it.text(196, 146, "for me?", at="end")
    it.text(282, 114, "2  O-1 goes out", at="start")
    it.text(282, 140, "3  done with O-1:", GOOD, at="start")
    it.text(282, 158, "now it is taken out", GOOD, at="start")
    return it


def leases_and_the_inbox() -> Figure:
    """Signed for, until half past

    O-3 is in the letter box. Ada signs for it until half past, and dies. At half past it goes out
    again, to the helper, who looks into a book of its own: is O-3 done?
    """
    it = Figure(190)
    it.frame(14, 46, 150, 84)
    it.text(89, 64, "letter box")
    it.box(89, 92, "O-3", "#6b4a1f", 46)
    it.text(89, 117, "out: until half past")
    it.arrow(170, 66, 332, 36)
    it.text(168, 30, "yours until half past", at="start")
    it.client(366, 34, "ada")
    it.missed(420, 34, "✗")
    it.arrow(170, 108, 332, 118)
    it.text(200, 92, "half past: O-3 again", at="start")
    it.client(386, 120, "helper")
    it.arrow(386, 138, 386, 158, "", thick=1.5)
    it.text(428, 172, "its own book: O-3 done?", at="end")
    return it


def at_least_once() -> Figure:
    """Three steps, and a crash between any two

    First the queue hands a parcel to a driver. Second the driver does the work: the parcel is on
    the doorstep. Third the driver answers, done, and the queue forgets the parcel.
    """
    it = Figure(190)
    it.box(64, 34, "queue")
    it.client(250, 34, "driver")
    it.arrow(104, 34, 204, 34, "1 parcel")
    it.arrow(250, 52, 250, 106)
    it.box(250, 124, "on the doorstep", "#6b4a1f", 150)
    it.text(262, 80, "2 the work", at="start")
    it.arrow(172, 124, 64, 54, "", GOOD)
    it.text(84, 116, "3 “done”:", GOOD)
    it.text(84, 134, "forgotten", GOOD)
    it.missed(220, 170, "a crash after 2: done, and the queue does not know")
    return it


def lab_12() -> Figure:
    """A box at each place where somebody may be away

    Between a vendor and a driver is a hub. Whatever one writes lies in an outbox of its own until
    the hub has it, and in a queue of the hub until the other has done it: orders on their way to
    the driver, reports on their way back.
    """
    it = Figure(180)
    it.client(52, 90, "vendor")
    it.client(392, 90, "driver")
    it.frame(156, 16, 128, 150)
    it.text(220, 90, "hub")
    box = "#6b4a1f"
    it.box(52, 36, "outbox", box)
    it.arrow(90, 36, 150, 36)
    it.box(220, 40, "orders", box, 100)
    it.arrow(288, 40, 352, 72)
    it.box(392, 142, "outbox", box)
    it.arrow(352, 142, 290, 142)
    it.box(220, 142, "reports", box, 100)
    it.arrow(152, 142, 88, 108)
    return it


def more_than_one_machine() -> Figure:
    """Three copies behind two servers

    Ada is connected to a server called north, Bob to one called south. Both servers put what they
    are given into a cluster of three nodes, each of which keeps a copy.
    """
    it = Figure(170)
    for y, name, server in ((45, "ada", "north"), (125, "bob", "south")):
        it.client(48, y, name)
        it.arrow(88, y, 132, y)
        it.box(168, y, server)
        for node in (28, 85, 142):
            it.arrow(203, y, 272, node, thick=1.5)
    for node in (28, 85, 142):
        it.box(312, node, "node", "#0b6a75", 76)
        it.text(362, node, "a copy", at="start")
    return it


#: The pictures, by the number and the name of their lesson.
def one_evening() -> Figure:
    """Counters, drivers, and the server in the middle

    Ada is at the counter of flowers, Bob at that of flowers2; Dan and Fay drive. The server between
    them keeps orders and reports in queues. Eve has no key, and is not let in.
    """
    it = Figure(200)
    it.frame(156, 30, 128, 116)
    it.text(220, 50, "server")
    it.box(220, 84, "orders", "#6b4a1f", 90)
    it.box(220, 122, "reports", "#6b4a1f", 90)
    for y, name, store in ((50, "ada", "flowers"), (116, "bob", "flowers2")):
        it.client(44, y, name)
        it.text(44, y + 26, store)
        it.arrow(86, y, 152, y, both=True)
    for y, name in ((50, "dan"), (116, "fay")):
        it.client(392, y, name)
        it.arrow(352, y, 288, y, both=True)
    it.client(310, 180, "eve")
    it.missed(392, 180, "✗ no key")
    return it


PICTURES: dict[str, Callable[[], Figure]] = {
    "00b-async-and-handlers": async_and_handlers,
    "01-the-phone-call": the_phone_call,
    "02-proof-of-life": proof_of_life,
    "03-broadcast": broadcast,
    "04-rooms": rooms,
    "05-namespaces": namespaces,
    "05b-who-may-come-in": who_may_come_in,
    "06-the-lost-packages": the_lost_packages,
    "07-build-the-queue": build_the_queue,
    "07b-leases-and-the-inbox": leases_and_the_inbox,
    "08-at-least-once": at_least_once,
    "08b-lab-12-to-its-end": lab_12,
    "09-more-than-one-machine": more_than_one_machine,
    "10-one-evening-at-the-parcel-service": one_evening,
}


def drawn(name: str) -> str:
    """Return the picture of a lesson as it should be stored."""
    draw = PICTURES[name]
    title, description = (inspect.getdoc(draw) or "").split("\n\n")
    return draw().svg(title, " ".join(description.split()))


def main() -> int:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        (FOLDER / f"{name}.svg").write_text(drawn(name), encoding="utf-8")
    print(f"{len(PICTURES)} pictures written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
