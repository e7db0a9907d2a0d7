"""A replay says at each step what the scene's views said then, and runs nothing but its own script.

What a browser makes of the file is in `test_replay_in_chromium.py`.
"""

import dataclasses
import io
import os
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sizes import first, size

from chatq import Journal, Queues, Stage
from chatq.__main__ import main
from chatq.journal.facts import (
    SERVER,
    Connected,
    Emitted,
    Joined,
    Killed,
    Received,
    Returned,
    Settled,
)
from chatq.journal.lines import KINDS
from chatq.views.replay import write
from chatq.views.rows import lay_out
from chatq.views.table import one_line
from chatq.views.view import View

SVG = "{http://www.w3.org/2000/svg}"


class Page:
    """A replay as its script reads it: what is there at a step."""

    def __init__(self, path):
        self.text = path.read_text("utf-8")
        ends = [re.search(rf'id="step"[^>]* {end}="(\d+)"', self.text) for end in ("min", "max")]
        self.first, self.last = (int(end[1]) for end in ends)
        self._table, self._svg = (
            ElementTree.fromstring(re.search(rf"<{tag} .*?</{tag}>", self.text, re.DOTALL)[0])
            for tag in ("table", "svg")
        )
        self.facts = re.findall(r'<li value="(\d+)">(.*?)</li>', self.text)

    def table(self, step):
        """Return for each row that is there its marks and its reasons, by the column's head."""
        heads = [
            head.text or head.find("span").tail.strip() for head in self._table.find("thead/tr")
        ]
        found = []
        for row in self._table.find("tbody"):
            if there(row, step):
                marks, reasons = {}, {}
                for head, cell in zip(heads, row, strict=True):
                    standing = [span for span in cell if there(span, step)]
                    assert len(standing) <= 1
                    mark = standing[0] if standing else cell
                    marks[head] = mark.text or ""
                    reasons[head] = mark.findtext("span", "").strip()
                found.append((marks, reasons))
        return found

    def diagram(self, step):
        """Return for each row that is there its words, and its signs from left to right."""
        found = []
        for row in self._svg.iter(f"{SVG}g"):
            if row.get("class", "").startswith("chatq-row") and there(row, step):
                signs = [
                    (one.findtext(f"{SVG}title"), chr(int(used.get("href").split("-")[1], 16)))
                    for one in row.findall(f"{SVG}g")
                    for used in one.findall(f"{SVG}use")
                    if there(one, step)
                ]
                # What stands as long as its row is nothing new in it.
                assert row.get("data-from") not in [one.get("data-from") for one in row]
                words = ["".join(text.itertext()) for text in row.findall(f"{SVG}text")]
                found.append((squeezed("".join(words)), signs))
        return found


def there(element, step):
    begin, end = element.get("data-from"), element.get("data-until")
    return (begin is None or int(begin) <= step) and (end is None or step < int(end))


def squeezed(text):
    """Return a text without blanks: it may have been broken into lines there."""
    return re.sub(r"\s", "", text)


def says_what_the_views_say(page, view):
    """Compare each step of a page with the snapshot of that moment."""
    assert (page.first, page.last) == (view.journal.forgotten, view.journal.written)
    for step in range(page.first, page.last + 1):
        now = view if step == page.last else view.at(step)
        shown, found = now.deliveries(), page.table(step)
        table = shown.table()
        for message, row, (marks, reasons) in zip(shown.messages, table.rows, found, strict=True):
            said = dict(zip(map(one_line, table.headers), map(one_line, row), strict=True))
            # A column that comes later is empty until then.
            assert marks == {**dict.fromkeys(marks, ""), **said}
            for name in shown.columns:
                why = one_line(now.why(name, message.emitted.message), 240)
                assert reasons[one_line(name)] == why
        names, strangers = [*now.kinds], now.strangers()
        facts = [*now.journal]
        layout = lay_out(facts, now.messages, names, page.first, strangers, all_rows=True)
        assert page.diagram(step) == [
            (
                squeezed(row.text + row.route),
                [
                    (row.tips.get(column, row.text), sign)
                    for column, sign in sorted(row.signs.items())
                ],
            )
            for row in layout.rows
        ]


async def busy(sio, stage, queues):
    """A scene with all that changes while it is told: ways, queues, frozen and late clients."""
    queues.attach(sio)
    stage.watch(queues)
    ada, bob, cy = await stage.clients("ada", "bob", "cy")
    bob.on("news", lambda text: "thanks")

    @cy.on("pickup")
    async def pickup(order, delivery):
        return delivery["receipt"]

    @sio.event
    async def chat(sid, text):
        await sio.emit("news", text, skip_sid=sid)

    await sio.enter_room(cy.get_sid(), "late")
    await ada.emit("chat", "hi")
    await stage.settle()
    for order in (17, 18):
        await queues.emit("pickup", {"order": order}, to="drivers")
    await stage.freeze("bob")
    await sio.emit("news", "while bob is frozen")
    await queues.subscribe(cy.get_sid(), "drivers")
    await stage.settle()
    await stage.thaw("bob")
    await stage.settle()
    await stage.cut("ada")
    await stage.settle()
    await sio.emit("news", "later", to="late")
    await stage.client("dan")
    await stage.settle()


async def test_each_step_says_what_the_views_said_then(sio, tmp_path):
    async with await Queues.open("memory:") as queues, Stage(sio) as stage:
        await busy(sio, stage, queues)
        view = stage.view()
        page = Page(stage.replay(tmp_path / "scene.html", "Who hears it?"))
    says_what_the_views_say(page, view)
    assert page.last > 30
    assert "<h1>Who hears it?</h1>" in page.text
    told = [words for _, words in page.facts]
    assert told[0] == "ada connects"
    assert "server emits news 'hi' to everyone but ada" in told
    assert "attempt 1 of 'pickup' begins, with cy" in told


# -- anything -------------------------------------------------------------------------------------

NAMES = st.sampled_from(["ada", "bob", "cy <&> 'x'", "</table>"])
HOSTILE = [
    "news",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "]]> --> </svg></table></style> $title ${title} &lt; '\"",
    "\u202egnihtemos \u2066 \u2028 \x85 \0 \ud800",
    "שלום, 🙂 e\u0301",
    "x" * 1_000,
]
TEXTS = st.sampled_from(HOSTILE)
OF_TYPE = {
    "str": TEXTS,
    "str | int": TEXTS | st.just(7),
    "int": st.integers(1, 4),  # few messages, so that facts are about one
    "bool": st.booleans(),
    "int | None": st.none() | st.integers(1, 4),
    "MessageRef": st.integers(1, 4),
    "tuple[str, ...]": st.lists(NAMES, max_size=2, unique=True).map(tuple),
    "tuple[str | int, ...]": st.lists(TEXTS | st.just(7), max_size=2).map(tuple),
}
OF_NAME = {"client": NAMES, "sender": NAMES | st.just(SERVER), "queue": TEXTS | st.just("")}


def any_of(kind):
    fields = dataclasses.fields(kind)
    return st.builds(kind, **{f.name: OF_NAME.get(f.name, OF_TYPE[f.type]) for f in fields})


FACTS = st.one_of(
    [any_of(kind) for kind in (*KINDS.values(), Emitted, Emitted, Received, Connected)]
)


def kept(*facts, keep=10_000):
    """Return a view of a journal with these facts; its messages are numbered as they come."""
    journal = Journal(keep)
    for fact in facts:
        if isinstance(fact, Emitted):
            fact = dataclasses.replace(fact, message=journal.number())
        journal.append(type(fact), *(getattr(fact, name) for name in fact.__match_args__))
    return View(journal, journal.kinds())


@settings(max_examples=size(60, 600), suppress_health_check=[*HealthCheck])
@given(
    facts=st.lists(FACTS, max_size=40),
    keep=st.sampled_from([5, 1_000]),
    title=TEXTS,
)
def test_whatever_the_facts_are_each_step_says_what_the_views_said(
    facts, keep, title, tmp_path_factory
):
    """Also those of a journal that was edited, or that forgets; and no text is more than text."""
    view = kept(*facts, keep=keep)
    path = tmp_path_factory.getbasetemp() / "any.html"
    page = Page(view.replay(path, title))
    says_what_the_views_say(page, view)
    assert not_its_own(page.text) == []
    assert len(page.facts) == len(view.journal)


def test_what_somebody_without_a_column_emits_is_told_without_an_arrow(tmp_path):
    """As in a journal that has forgotten that he came."""
    view = kept(Killed("bob"), Emitted(1, "bob", "news", "hi", "/"))
    page = Page(view.replay(tmp_path / "page.html"))
    says_what_the_views_say(page, view)


def test_an_answer_without_an_attempt_is_left_out(tmp_path):
    """As in a journal of which lines were deleted."""
    stored = Emitted(1, SERVER, "pickup", "", "/", queue="drivers")
    view = kept(Connected("ada", "/"), stored, Settled(1, "ada"), Returned(1, "ada", "nack"))
    page = Page(view.replay(tmp_path / "page.html"))
    says_what_the_views_say(page, view)
    assert page.table(4)[0][0]["queue drivers"] == "… waits"


class Tags(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


TAGS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "div", "h1", "h2", "p"),
    *("kbd", "button", "input", "span", "section", "table", "thead", "tbody", "tr", "th", "td"),
    *("details", "summary", "ol", "li", "noscript", "script"),
    *("svg", "desc", "defs", "use", "rect", "text", "tspan", "line", "path", "g", "circle"),
}


def not_its_own(text):
    """Return what in a page could load or run anything but its own script."""
    tags = Tags(text).found
    wrong = [tag for tag, _ in tags if tag not in TAGS]
    for tag, attributes in tags:
        loads = {name for name in attributes if name.startswith("on")} | {"src", "href", "style"}
        if tag == "use" and attributes["href"].startswith("#"):
            loads.discard("href")
        wrong += [f"{tag} {name}" for name in attributes.keys() & loads]
    return wrong + ["script"] * ([tag for tag, _ in tags].count("script") - 1)


def test_the_policy_of_a_page_lets_nothing_in(tmp_path):
    page = kept(Connected("ada", "/")).replay(tmp_path / "page.html").read_text("utf-8")
    [policy] = [
        one["content"] for _, one in Tags(page).found if "content" in one and "http-equiv" in one
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    hashes = [rules.pop("style-src"), rules.pop("script-src")]
    assert rules == dict.fromkeys(("default-src", "base-uri", "form-action"), "'none'")
    assert all(re.fullmatch(r"'sha256-[\w+/=]{44}'", one) for one in hashes)


async def test_each_colour_of_the_picture_has_one_for_dark_themes(sio, tmp_path):
    async with await Queues.open("memory:") as queues, Stage(sio) as stage:
        await busy(sio, stage, queues)
        page = stage.replay(tmp_path / "scene.html").read_text("utf-8")
    style, svg = (re.search(rf"<{tag}.*?</{tag}>", page, re.DOTALL)[0] for tag in ("style", "svg"))
    used = set(re.findall(r"(?:fill|stroke)='#\w+'", svg))
    # Without an ancestor: in what is drawn by `use` there is none.
    changed = set(re.findall(r"^(?:.*\{)?\[(.*)\]\{", style, re.MULTILINE))
    assert used
    assert used <= changed


# -- how much, and which part ---------------------------------------------------------------------

EIGHT = [f"client {n}" for n in range(8)]
LONGEST = "'" + "x" * 98 + "…"  # what a preview of data is at most


def crowd(count, event="news"):
    """Facts of eight clients, of which `count` are emits that nobody has read yet: the most that a
    fact can make of a page."""
    there = [Connected(name, "/") for name in EIGHT]
    news = Emitted(0, SERVER, event, LONGEST, "/", (), (), (EIGHT[0],), tuple(EIGHT[1:]))
    return kept(*there, *[news] * count)


def heard(emits):
    """Facts of eight clients that read each message: what a scene is made of, usually."""
    facts = [Connected(name, "/") for name in EIGHT]
    for number in range(1, emits + 1):
        facts.append(Emitted(0, EIGHT[number % 8], "chat", "'hello'", "/", recipients=(SERVER,)))
        facts += [Received(2 * number - 1, SERVER, True)]
        facts.append(Emitted(0, SERVER, "chat", "'hello'", "/", recipients=tuple(EIGHT)))
        facts += [Received(2 * number, name, name != EIGHT[7]) for name in EIGHT]
    return kept(*facts)


@pytest.mark.parametrize(
    ("view", "most"),
    first(
        1,
        [
            (heard(17), 300_000),
            (crowd(192), 1_000_000),
            (crowd(192, "a name of an event " * 2), 1_000_000),
        ],
    ),
    ids=["usual", "emits alone", "long names"],
)
def test_two_hundred_facts_of_eight_clients_take_at_most_a_megabyte(view, most, tmp_path):
    assert 190 <= len(view.journal) <= 200
    written = view.replay(tmp_path / "page.html").stat().st_size
    assert written < most, f"{written:,} bytes"


def test_of_a_long_journal_the_newest_facts_are_told_and_the_cut_is_said(tmp_path):
    facts = [Connected("ada", "/"), Joined("ada", "/", "red")]
    news = Emitted(0, SERVER, "news", "", "/", ("red",), recipients=("ada",))
    view = kept(*facts, *[news] * 30)
    page = Page(view.replay(tmp_path / "page.html", facts=10))
    assert (page.first, page.last) == (22, 32)
    assert [number for number, _ in page.facts] == [str(number) for number in range(23, 33)]
    assert page.table(22) == []
    assert len(page.table(32)) == 10
    # What was before still explains what is told.
    assert page.table(32)[0][1]["ada"].startswith("'news' was sent to ada")
    assert page.text.count("cut: only the newest 10 facts are kept") > 1
    says_what_the_views_say(page, view.at(32, 10))


def test_a_scene_without_facts_has_a_page(tmp_path):
    page = Page(kept().replay(tmp_path / "empty.html"))
    assert (page.first, page.last, page.facts, page.table(0)) == (0, 0, [], [])
    assert "<h1>empty</h1>" in page.text


async def test_a_replay_after_a_reset_counts_from_its_begin(sio, stage, tmp_path):
    await stage.client("ada")
    await sio.emit("news", 1)
    await stage.reset()
    await sio.emit("news", 2)
    await stage.settle()
    page = Page(stage.replay(tmp_path / "scene.html"))
    assert page.facts[0] == ("1", "ada connects")
    assert "cut" not in page.text.partition("<body>")[2].replace("cut off", "")


# -- files ----------------------------------------------------------------------------------------


async def test_a_closed_stage_and_a_part_of_it_have_replays_too(sio, tmp_path):
    async with Stage(sio) as stage:
        await stage.client("ada")
        await stage.freeze("ada")
        await sio.emit("news", 1)
        await stage.client("bob")
        before = stage.view(upto=1).replay(tmp_path / "before.html")
    after = stage.replay(tmp_path / "after.html")
    assert Page(before).table(1) == []
    page = Page(after)
    assert page.table(page.last - 1)[0][0]["ada"] == "… frozen"
    assert page.table(page.last)[0][0]["ada"] == "✗ lost"


def test_a_replay_replaces_what_is_there_by_the_whole(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    view = kept(Connected("ada", "/"))
    with path.open() as opened_before:
        assert view.replay(str(path)) == path
        assert opened_before.read() == "before", "who reads it has all of the old one, or the new"
    whole = path.read_text("utf-8")
    assert whole.endswith("</html>\n")
    assert view.replay(path).read_text("utf-8") == whole, "the same facts are the same page"
    assert os.listdir(tmp_path) == ["page.html"]


def test_what_cannot_be_written_leaves_what_was_there(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    with pytest.raises(UnicodeEncodeError):
        write(path, "half of it \ud800")
    assert path.read_text() == "before"
    with pytest.raises(FileNotFoundError, match="nowhere"):
        kept().replay(tmp_path / "nowhere" / "page.html")
    assert os.listdir(tmp_path) == ["page.html"]


def saved(view, path):
    with path.open("w", encoding="utf-8") as file:
        view.journal.write(file)
    return path


async def test_the_command_makes_the_page_that_the_stage_makes(sio, stage, tmp_path, capsys):
    ada = await stage.client("ada")
    stage._names.add_process("zoe")
    await ada.emit("hello", "🙂")
    await stage.settle()
    journal = saved(stage.view(), tmp_path / "scene.jsonl")
    assert main(["replay", str(journal)]) == 0
    page = tmp_path / "scene.html"
    assert capsys.readouterr() == (f"{page}\n", "")
    assert page.read_text("utf-8") == stage.replay(tmp_path / "by stage.html", "scene").read_text(
        "utf-8"
    )
    other = tmp_path / "other.html"
    options = ["-o", str(other), "--title", "Hello <you>", "--facts", "2"]
    assert main(["replay", str(journal), *options]) == 0
    assert "<h1>Hello &lt;you&gt;</h1>" in other.read_text("utf-8")
    assert Page(other).first == stage.journal.written - 2


@pytest.mark.parametrize(
    ("content", "options", "told"),
    [
        (None, [], "No such file or directory"),
        (b"", [], "this file is empty: write a journal into it with Journal.write"),
        (b'{"fact": "Flew"}\n', [], "line 1 of this journal cannot be read: chatq knows no fact"),
        (b"\xff\xfe{\x00", [], "scene.jsonl is not UTF-8, as journals are"),
        (b'{"fact": "Froze", "client": "ada"}\n', ["--facts", "0"], "at least 1 fact, not 0"),
        (b'{"fact": "Froze", "client": "ada"}\n', ["-o", "scene.jsonl"], "is the journal itself"),
        (b'{"fact": "Froze", "client": "ada"}\n', ["-o", "no/where.html"], "No such file"),
    ],
)
def test_the_command_says_what_is_wrong(content, options, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / "scene.jsonl").write_bytes(content)
    assert main(["replay", "scene.jsonl", *options]) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("chatq replay: ")
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "scene.html").exists()


def test_a_mark_of_utf_8_at_the_begin_is_no_fault(tmp_path):
    """As some editors leave it."""
    file = io.StringIO()
    kept(Connected("ada", "/")).journal.write(file)
    (tmp_path / "scene.jsonl").write_bytes(b"\xef\xbb\xbf" + file.getvalue().encode())
    assert main(["replay", str(tmp_path / "scene.jsonl")]) == 0
