"""HTML written on the server: elements that escape by construction, one frame for every page, a strict CSP.

No page loads anything from another host. The style sheet stands in the page and the policy names it by its hash, so
that nothing else can style. One page has a script, a file of ours; its policy lets that run, and nothing that stands in
a page.
"""

import base64
import functools
import re
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from litestar import MediaType, Response
from msgspec import Struct

ASSETS = Path(__file__).with_name("assets")
ICON = "/favicon.svg"
_SCRIPTS = "script-src 'self'; connect-src 'self'; "
_VOID = frozenset({"meta", "link", "br", "wbr"})
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_BLANK_LINE = re.compile(r"\n\s*\n")
_BARE = re.compile(r"[A-Za-z0-9.%#-]+")
"""Values of attributes that need no quotes: a page has thousands."""
_DETAILS = re.compile(r"(<details id=(\"[^\"]*\"|[^ >]+)[^>]*><summary>.*?</summary>).*?</details>", re.DOTALL)
_IDLE_IN_CSS = re.compile(r"/\*.*?\*/\s*|(?<=[{};:,])\s+|\s+(?=[{}])|;\s*(?=})|(?<=[ (:])0(?=\.\d)", re.DOTALL)
_IDLE_IN_SCRIPT = re.compile(r"^\s*(//.*)?\n?", re.MULTILINE)


class Html(str):
    """Text that is markup already. Only this module makes one; every other `str` is escaped on its way into a page."""

    __slots__ = ()


class Column(Struct, frozen=True):
    """A table's column. Figures stand to the right."""

    head: str
    number: bool = False


Child = str | None | Sequence[str | None]


def tag(name: str, /, *children: Child, **attributes: str | bool | None) -> Html:
    """An element. `class_` and `aria_label` become `class` and `aria-label`; None and False leave an attribute out."""
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    if name in _VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Html:
    """Children one after the other; text is escaped, None is nothing."""
    parts = []
    for child in children:
        if isinstance(child, str):
            parts.append(child if isinstance(child, Html) else _escaped(child))
        elif child is not None:
            parts.append(join(*child))
    return Html("".join(parts))


def table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Child]], *, hidden: bool = False) -> Html:
    """A table with a caption; the first cell of a row is its heading. It scrolls by itself where it is too wide.

    `hidden`: the caption is for screen readers only, because a heading above says the same.
    """
    heads = [tag("th", c.head, scope="col", class_="n" if c.number else None) for c in columns]
    body = [tag("tr", [_cell(i, columns[i], cell) for i, cell in enumerate(row)]) for row in rows]
    whole = tag(
        "table",
        tag("caption", caption, class_="unseen" if hidden else None),
        tag("thead", tag("tr", heads)),
        tag("tbody", body),
    )
    # A region that scrolls must be reachable by keyboard.
    return tag("div", whole, class_="scroll", role="region", aria_label=caption, tabindex="0")


def code_block(text: str, label: str) -> Html:
    """Text as it is. The block scrolls by itself, so it must be reachable by keyboard and have a name."""
    return tag("pre", tag("code", text), role="region", aria_label=label, tabindex="0")


def prose(text: str) -> Html:
    """Paragraphs of plain text, with `code` between backticks."""
    return join([tag("p", inline(part)) for part in _BLANK_LINE.split(text.strip()) if part])


def inline(text: str) -> Html:
    """One run of text, with `code` between backticks."""
    return join([tag("code", part) if place % 2 else part for place, part in enumerate(text.split("`"))])


def folded(page: Html, whole: str) -> Html:
    """A page without what its `details` (with an id, none inside another) hold: in its place a link to the same id on
    the page at path `whole`."""
    return Html(_DETAILS.sub(lambda found: _left_out(found, whole), page))


def unfolded(page: Html) -> Html:
    """A page whose `details` are open."""
    return Html(page.replace("<details id", "<details open id"))


def _left_out(found: re.Match[str], whole: str) -> str:
    ident = found[2].strip('"')
    return f'{found[1]}<p><a href="{whole}#{ident}">All of it</a></p></details>'


def document(title: str, sheet: str, *body: Child, kind: str = "", script: str | None = None) -> Html:
    """A whole page in the style of `base.css` and a sheet of its own. `kind` becomes the body's class, `script` is the
    path of a file of ours; `answer` must be told of it."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="robots", content="noindex"),
        tag("title", title),
        tag("link", rel="icon", href=ICON, type="image/svg+xml"),
        tag("style", Html(style(sheet))),
        tag("script", src=script, defer=True) if script else None,
    )
    return Html(f'<!doctype html>\n<html lang="en">{head}{tag("body", *body, class_=kind or None)}</html>\n')


def answer(
    page: str, sheet: str, *, status: int = 200, headers: dict[str, str] | None = None, script: bool = False
) -> Response[Any]:
    """A page as a response, under the policy that allows it its own style, with `script` ours, and nothing else."""
    allowed = {"content-security-policy": policy(sheet, script=script), **(headers or {})}
    content = page.encode("utf-8", "replace")
    return Response(content, status_code=status, media_type=MediaType.HTML, headers=allowed)


@functools.cache
def asset(name: str) -> str:
    """The text of a file in `assets/`."""
    return (ASSETS / name).read_text(encoding="utf-8")


@functools.cache
def style(sheet: str) -> str:
    """What stands in a page's one style element."""
    return _IDLE_IN_CSS.sub("", asset("base.css") + asset(sheet)).strip()


@functools.cache
def script(name: str) -> str:
    """A script of ours without indentation and comments."""
    return _IDLE_IN_SCRIPT.sub("", asset(name))


@functools.cache
def policy(sheet: str, *, script: bool = False) -> str:
    """The Content-Security-Policy of a page with this style sheet in it, and perhaps a script that talks to us."""
    digest = base64.b64encode(sha256(style(sheet).encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self'; {_SCRIPTS if script else ''}"
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


def _cell(place: int, column: Column, content: Child) -> Html:
    shape = "n" if column.number else None
    if place == 0:
        return tag("th", content, scope="row", class_=shape)
    return tag("td", content, class_=shape)


def _attribute(key: str, value: str | bool | None) -> str:
    name = key.rstrip("_").replace("_", "-")
    if value is None or value is False:
        return ""
    if value is True:
        return f" {name}"
    return f" {name}={value}" if _BARE.fullmatch(value) else f' {name}="{_escaped(value)}"'


def _escaped(text: str) -> str:
    """Text that cannot end what it stands in; characters no page may hold are shown as a replacement mark."""
    return escape(_CONTROL.sub("\ufffd", text), quote=True)
