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
CLIENTS = marks(["ada", "bob", "cy", "dan", "driver", "vendor"])
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
PICTURES: dict[str, Callable[[], Figure]] = {
    "01-the-phone-call": the_phone_call,
    "02-proof-of-life": proof_of_life,
    "03-broadcast": broadcast,
    "04-rooms": rooms,
    "05-namespaces": namespaces,
    "06-the-lost-packages": the_lost_packages,
    "07-build-the-queue": build_the_queue,
    "08-at-least-once": at_least_once,
    "09-more-than-one-machine": more_than_one_machine,
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
