"""How everything looks: the colours of both themes, and each client's own colour and shape.

Owns the colours, the marks of the clients, and the style sheet of what a notebook shows. Must not
know: what is drawn or said in them.

Pictures and pages are made in the colours of the light theme; a style sheet changes each of them in
a dark one, and never on paper. A picture that is an image asks its page which it is, by
`color-scheme`; JupyterLab says that of no image, so the style sheet does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

__all__ = ["LESSON", "PAGE", "PANEL", "SHEET", "STANDALONE", "Mark", "badge", "marks", "repainted"]

#: The colours of clients, and the shapes; shapes are none of the signs of a diagram.
_CLIENTS = {
    "#1a56c4": "#8ab4ff",
    "#a34a00": "#ffb070",
    "#7a2fb0": "#d3a6ff",
    "#0b6a75": "#6fd6e3",
    "#b0175f": "#ff9ccb",
    "#6b4a1f": "#d9b98a",
    "#56650a": "#c3d45c",
    "#44566c": "#b3c4d8",
}
_SHAPES = "▲◆★♣▼♠◣♥"
#: The other colours of pictures: paper, ink, quieter ink, edges, heads, good, bad.
_PICTURE = {
    "#fff": "#17191f",
    "#111": "#eceef2",
    "#444": "#c3c8d2",
    "#99a": "#6b7180",
    "#667": "#8a90a0",
    "#e8eef7": "#22304a",
    "#f4f4f4": "#262a33",
    "#0b6b3a": "#74d8a0",
    "#a01c1c": "#ff9d9d",
    **_CLIENTS,
}
#: The colours of pages, by name: in the light theme, and in the dark one.
_PAGE = {
    "paper": ("#fff", "#17191f"),
    "ink": ("#111", "#eceef2"),
    "quiet": ("#444", "#c3c8d2"),
    "edge": ("#99a", "#6b7180"),
    "rule": ("#ddd", "#3a3f4b"),
    "head": ("#f4f4f4", "#262a33"),
    "button": ("#e8eef7", "#22304a"),
    "main": ("#1a4c8b", "#8ab4ff"),
    "focus": ("#1a56c4", "#8ab4ff"),
    "bad": ("#8f1414", "#ffb3b3"),
    "missed": ("#fde8e8", "#4a1d20"),
    "lit": ("#fff0b3", "#4a3d0c"),
    "lit-edge": ("#8a6d00", "#e2b93b"),
    **{f"client-{n}": colours for n, colours in enumerate(_CLIENTS.items())},
}


@dataclass(frozen=True, slots=True)
class Mark:
    """What tells a client from the others at a glance: its shape, and its colour by number."""

    shape: str
    number: int

    @property
    def colour(self) -> str:
        """Its colour in a picture."""
        return [*_CLIENTS][self.number]


def marks(names: Iterable[str]) -> dict[str, Mark]:
    """Return the mark of each name; these are all that there are.

    The first letter decides, so that one name has the same mark wherever it is met; who comes later
    and would have the mark of another has the next.
    """
    taken: dict[int, str] = {}
    many, shapes = len(_CLIENTS), len(_SHAPES)
    for name in dict.fromkeys(names):
        wanted = ord(name[:1].lower() or "a") - ord("a")
        free = (n for n in range(wanted, wanted + many) if n % many not in taken)
        taken[next(free) % many if len(taken) < many else len(taken)] = name
    return {name: Mark(_SHAPES[(n + n // many) % shapes], n % many) for n, name in taken.items()}


def badge(mark: Mark | None) -> str:
    """Return a mark as HTML, to stand before the name, on one line with it; "" for who has none."""
    if mark is None:
        return ""
    shape = f'aria-hidden="true">{mark.shape}</span>'
    return f'<span class="chatq-mark chatq-mark-{mark.number}" {shape}&#160;'


@cache
def repainted(scope: str = "") -> str:
    """Return the style sheet that gives a picture inside `scope` the colours of dark themes."""
    rules = [
        f"{scope}[{what}='{light}']{{{what}:{dark}}}"
        for light, dark in _PICTURE.items()
        for what in ("fill", "stroke")
    ]
    return "\n".join(rules)


def _named(dark: bool) -> str:
    return "".join(f"--chatq-{name}:{both[dark]};" for name, both in _PAGE.items())


_IF_DARK = "@media screen and (prefers-color-scheme:dark)"
_MARKS = "".join(f".chatq-mark-{n}{{color:var(--chatq-client-{n})}}" for n in range(len(_CLIENTS)))
#: The style sheet in a picture that stands alone, and the one of a page that does.
STANDALONE = f"{_IF_DARK}{{{repainted()}}}"
PAGE = f":root{{{_named(False)}}}{_IF_DARK}{{:root{{{_named(True)}}}\n{repainted()}}}{_MARKS}"
_DARK = '[data-jp-theme-light="false"]'
#: The style sheet of a lesson: JupyterLab breaks words, and cuts code off, in a narrow window.
LESSON = """
.jp-OutputArea-output pre{word-break:normal;overflow-wrap:anywhere}
.jp-InputArea .cm-content{white-space:break-spaces;flex-shrink:1;overflow-wrap:anywhere}
.jp-RenderedMarkdown td code{font-size:.9em;padding:1px 2px}
.jp-RenderedMarkdown :is(details,li pre){margin-bottom:.7em}
@media (max-width:1199px){
.jp-RenderedMarkdown td:has(code){min-width:7em}
.jp-RenderedMarkdown td code{overflow-wrap:anywhere}
}
""".replace("\n.", "\n.jp-Notebook:has(.chatq,.chatq-ballot) .").replace("\n", "")
#: The style sheet of all that a notebook shows, and of the lesson around it.
SHEET = (
    f".chatq{{{_named(False)}color-scheme:light;color:var(--chatq-ink)}}"
    ".jp-Notebook:has(.chatq) img{color-scheme:light}"
    f"@media screen{{{_DARK} .chatq{{{_named(True)}color-scheme:dark}}"
    f"{_DARK} .jp-Notebook:has(.chatq) img{{color-scheme:dark}}}}{_MARKS}"
    """
.chatq-frame{display:inline-block;box-sizing:border-box;max-width:100%;overflow-x:auto;
 background:var(--chatq-paper);border:1px solid var(--chatq-edge);border-radius:8px;
 padding:8px 10px;font-size:13px;line-height:1.45}
.chatq-frame table{border-collapse:separate;border-spacing:0;margin:0;color:inherit}
.chatq .chatq-frame :is(th,td){background:var(--chatq-paper);color:inherit;padding:3px 7px;
 max-width:17em;border-bottom:1px solid var(--chatq-rule);text-align:left;vertical-align:top;
 white-space:normal;
 overflow-wrap:break-word}
.chatq .chatq-frame thead th{border-bottom:2px solid var(--chatq-edge);vertical-align:bottom;
 font-weight:600}
.chatq .chatq-frame caption{text-align:left;padding:0 0 6px;color:var(--chatq-quiet)}
.chatq .chatq-frame tbody th{position:sticky;left:0;z-index:1;font-weight:600;min-width:7.5em;
 max-width:18em}
.chatq-frame small{font-size:12px;font-weight:400;color:var(--chatq-quiet)}
.chatq-frame .chatq-number{font-weight:400;color:var(--chatq-quiet)}
.chatq .chatq-frame .chatq-short{white-space:nowrap}
.chatq .chatq-frame .chatq-missed{background:var(--chatq-missed);color:var(--chatq-bad);
 font-weight:600}
.chatq-note{white-space:pre-wrap;padding-top:6px;font-size:12px;color:var(--chatq-quiet)}
.chatq-frame>.chatq-note{width:0;min-width:max(100%,32em)}
.chatq-picture{max-width:100%}
.chatq>:is(.chatq-frame,.chatq-picture){margin-top:5px}
.chatq:not(.chatq-panel){container-type:inline-size}
@container (max-width:480px){
.chatq-frame{padding:6px}
.chatq .chatq-frame :is(th,td){padding:3px 4px}
.chatq .chatq-frame tbody th{min-width:6.5em}}
""".replace("\n", "")  # one line: it is stored with each output
    + LESSON
)
#: The style sheet of a panel: what it draws has no page of its own.
PANEL = f"{SHEET}@media screen{{{repainted(f'{_DARK} .chatq-panel ')}}}"
