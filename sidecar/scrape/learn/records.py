"""Lists of records in JSON: all of a page, or an island in a script tag, an attribute, or a component of Markdown."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct
from parsel import Selector

from ..select import Page
from ..table import tidy
from .place import Keys, Place
from .sheet import literal
from .tables import quoted

_MOST_ISLANDS = 80
_MOST_LISTS = 60
_MOST_KEYS = 24
_DEEP = 8
_SHORT = 60
_COMMA = re.compile(r",(?=\s*[\]}])")
_PROPERTY = re.compile(r"\b([A-Za-z]\w*)=\{\s*(?=\[)")
_OPENED = re.compile(r"<([A-Z]\w*)\s")
_ATTRIBUTE = re.compile(r"""\b([A-Za-z][\w-]*)="([^"{}<>]{1,60})\"""")


class _List(Struct, frozen=True):
    """A list of records: its query, its header where records are lists, and what tells it from other lists."""

    query: str
    header: tuple[str, ...]
    guards: tuple[str, ...]


def json_lists(page: Page) -> Iterator[Place]:
    """The lists of a page that is all JSON."""
    if page.type == "json":
        for each in _lists(page.data):
            yield Place([_keys({"from": "json"}, each)], f"`{each.query[:80]}`")


def html_islands(page: Page) -> Iterator[Place]:
    """The lists in the script tags and attributes of an HTML page."""
    if page.html is None:
        return
    count = 0
    for node in page.html.xpath("//script[not(@src)] | //*[@*[starts-with(., '{') or starts-with(., '[')]]"):
        texts = {f"@{name}": value for name, value in node.attrib.items() if len(value) > 2 * _SHORT}
        if node.root.tag == "script":
            texts = {"text()": node.xpath("string()").get() or ""}
        for part, text in texts.items():
            data = _parsed(text)
            if data is None or count >= _MOST_ISLANDS:
                continue
            count += 1
            tag = node.root.tag
            tests = [*_labels(node), f"[{part}]"]
            for each in _lists(data):
                bare: list[Keys] = [{"from": "island", "xpath": f"//{tag}{test}/{part}"} for test in tests]
                yield Place(
                    [_keys(keys, each, guard) for keys in bare for guard in ("", *each.guards)],
                    f"data in <{tag}>: `{each.query[:60]}`",
                )


def _labels(node: Selector) -> list[str]:
    """What an element says of itself; an id first, and what looks like a file or a hash last."""
    told = [
        (name, value)
        for name, value in node.attrib.items()
        if 0 < len(value) <= _SHORT and re.fullmatch(r"[a-z][a-z-]*", name) and name not in ("class", "style", "uid")
    ]
    told.sort(key=lambda each: (each[0] != "id", bool(re.search(r"[/\d{]", each[1])), -len(each[1])))
    return [f"[@{name}={quoted(value)}]" for name, value in told[:3]]


def markdown_islands(page: Page) -> Iterator[Place]:
    """Lists that a component of a Markdown page is given: `<Prices tier="standard" rows={[...]} />`."""
    if page.type != "markdown":
        return
    for match in list(_PROPERTY.finditer(page.text))[:_MOST_ISLANDS]:
        opened = list(_OPENED.finditer(page.text, max(0, match.start() - 4000), match.start()))
        text = page.text[match.end() : match.end() + 200_000]
        data = _first(_COMMA.sub("", text))
        if not opened or data is None:
            continue
        name, inside = opened[-1][1], page.text[opened[-1].end() : match.start()]
        between = rf"(?:(?!<{name}).)*?"
        told = ["", *(rf'{literal(key)}="{literal(value)}"{between}' for key, value in _ATTRIBUTE.findall(inside)[:4])]
        patterns = [rf"(?s)<{name}\s{between}{each}{match[1]}=\{{\s*(\[.*?\])\s*\}}" for each in told]
        for each in _lists(data):
            ways = [_keys({"from": "island", "pattern": pattern}, each) for pattern in patterns]
            yield Place(ways, f"<{name}>, `{match[1]}`")


def _keys(keys: Keys, each: _List, guard: str = "") -> Keys:
    header = {"header": list(each.header)} if each.header else {}
    return {**keys, "rows": f"{guard}{each.query}", **header}


def _parsed(text: str) -> Any:
    if text.strip()[:1] not in ("{", "["):
        return None
    try:
        return json.loads(_COMMA.sub("", text))
    except (ValueError, RecursionError):
        return None


def _first(text: str) -> Any:
    """The JSON that a text begins with."""
    try:
        return json.JSONDecoder().raw_decode(text)[0]
    except (ValueError, RecursionError):
        return None


def _lists(data: Any) -> list[_List]:
    """The lists of records in a document. Some pages write each value as `[type, value]`: those are seen through."""
    tagged = _is_tagged(data)
    plain = _untagged(data) if tagged else data
    guards: tuple[str, ...] = ()
    if isinstance(plain, dict):
        step = "[1]" if tagged else ""
        guards = tuple(
            f"{_key(key)}{step} == '{value}' && "
            for key, value in plain.items()
            if isinstance(value, str) and re.fullmatch(r"[\w .-]{1,40}", value)
        )[:6]
    found: list[_List] = []
    for path, rows in _walk(plain, (), 0):
        each = _query(path, rows, tagged)
        if each is not None and len(each[0]) <= 900:
            found.append(_List(*each, guards))
        if len(found) >= _MOST_LISTS:
            break
    return found


def _walk(value: Any, path: tuple[str | None, ...], deep: int) -> Iterator[tuple[tuple[str | None, ...], list[Any]]]:
    """Every list of records with the keys that lead to it; None is each member of a list."""
    if deep > _DEEP:
        return
    if isinstance(value, dict):
        for key, child in list(value.items())[:200]:
            if isinstance(key, str) and len(key) <= _SHORT:
                yield from _walk(child, (*path, key), deep + 1)
    elif isinstance(value, list) and value:
        if all(isinstance(each, list) for each in value) or all(isinstance(each, dict) for each in value):
            yield path, value
        members = [each for each in value if isinstance(each, dict)]
        for key in dict.fromkeys(key for each in members[:50] for key in each if isinstance(key, str)):
            children = [each[key] for each in members if isinstance(each.get(key), list)]
            if children:
                yield from _walk([x for child in children for x in child], (*path, None, key), deep + 1)


def _query(path: Sequence[str | None], rows: list[Any], tagged: bool) -> tuple[str, tuple[str, ...]] | None:
    """The query for a list, and a header when its records are lists."""
    step = "[1]" if tagged else ""
    query = ""
    for index, key in enumerate(path):
        if key is None:
            query += "[*][1]" if tagged else "[]"
        else:
            query += f"{'.' if index else ''}{_key(key)}{step}"
    if None in path:
        query += "[]"
    query = query or "@"
    if isinstance(rows[0], list):
        width = max(len(row) for row in rows)
        if not 2 < width <= _MOST_KEYS:
            return None
        return (f"map(&map(&[1], [1]), {query})" if tagged else query), tuple(f"c{at}" for at in range(1, width + 1))
    keys = _flat(rows)
    if len(keys) < 3:
        return None
    if not tagged and all(len(key) == 1 for key in keys):
        return query, ()
    inner = ", ".join(
        f"{_key(key[-1] if len(key) == 1 else '_'.join(key))}: {'.'.join(f'{_key(k)}{step}' for k in key)}"
        for key in keys
    )
    return (
        f"map(&[1].{{{inner}}}, {query})" if tagged else f"{query}{'' if query.endswith('[]') else '[]'}.{{{inner}}}"
    ), ()


def _flat(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Paths in records to what may be a name or a figure: short texts and numbers, as many as a query can take."""
    found: dict[tuple[str, ...], int] = {}
    for row in rows[:50]:
        waiting: list[tuple[tuple[str, ...], Any]] = [((), row)]
        while waiting:
            path, value = waiting.pop()
            if isinstance(value, dict) and len(path) < 3:
                waiting += [((*path, key), child) for key, child in list(value.items())[:60] if isinstance(key, str)]
            elif path and _scalar(value):
                found[path] = found.get(path, 0) + 1
    often = sorted((path for path in found if 2 * found[path] > len(rows[:50])), key=lambda path: -_figure(rows, path))
    return sorted(often[: _MOST_KEYS // 2])


def _scalar(value: Any) -> bool:
    """Whether a value may be a name or a figure."""
    if isinstance(value, str):
        return len(value) <= _SHORT
    return isinstance(value, int | float) and not isinstance(value, bool)


def _figure(rows: Sequence[dict[str, Any]], path: tuple[str, ...]) -> float:
    """How much a path looks like figures or names rather than dates and links."""
    value: Any = rows[0]
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    words = tidy(" ".join(path)).lower()
    return 2.0 * bool(re.search(r"price|cost|input|output|prompt|completion|cache", words)) + (
        1.5 * (path[-1] in ("id", "name", "model", "slug")) + isinstance(value, int | float)
    )


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z_]\w*", key) else json.dumps(key)


def _is_tagged(data: Any) -> bool:
    values = list(data.values()) if isinstance(data, dict) else []
    return bool(values) and all(
        isinstance(v, list) and 1 <= len(v) <= 2 and isinstance(v[0], int) and not isinstance(v[0], bool)
        for v in values
    )


def _untagged(value: Any, deep: int = 0) -> Any:
    """`[type, value]` as the value, all the way down."""
    if deep > 4 * _DEEP:
        return None
    if deep == 0 and isinstance(value, dict):
        return {key: _untagged(child, 1) for key, child in value.items()}
    if not isinstance(value, list) or len(value) != 2:
        return None
    inner = value[1]
    if isinstance(inner, dict):
        return {key: _untagged(child, deep + 1) for key, child in inner.items()}
    if isinstance(inner, list):
        return [_untagged(child, deep + 1) for child in inner]
    return inner
