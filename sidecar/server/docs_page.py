"""OpenAPI document -> HTML reference, written on the server: works without a script and without internet.

`/docs` reads from top to bottom; `/redoc` is the same with the examples in a column of their own.
"""

import json
import shlex
from collections.abc import Iterator
from typing import Any, Literal

from .page import Child, Column, Html, code_block, document, inline, join, prose, table, tag

SHEET = "docs.css"
Layout = Literal["docs", "redoc"]
Node = dict[str, Any]
_BASE = "http://127.0.0.1:8787"


def reference(spec: Node, layout: Layout) -> Html:
    """The whole page."""
    info = spec["info"]
    operations = list(_operations(spec))
    schemas = spec["components"]["schemas"]
    header = tag("header", tag("h1", f"{info['title']} API"), tag("p", f"version {info['version']}"))
    main = tag(
        "main",
        prose(info["description"]),
        _security(spec),
        [_operation(spec, *operation) for operation in operations],
        [_schema(name, schema) for name, schema in schemas.items()],
    )
    footer = tag("footer", tag("p", tag("a", "openapi.json", href="/openapi.json"), " · ", *_elsewhere(layout)))
    return document(
        f"{info['title']} API reference",
        SHEET,
        header,
        tag("div", _contents(spec, operations), main, class_="columns"),
        footer,
        kind=layout,
    )


def _elsewhere(layout: Layout) -> list[Child]:
    other = "/redoc" if layout == "docs" else "/docs"
    text = "with examples beside" if layout == "docs" else "in one column"
    return [tag("a", text, href=other), " · ", tag("a", "status", href="/status")]


def _operations(spec: Node) -> Iterator[tuple[str, str, Node]]:
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _contents(spec: Node, operations: list[tuple[str, str, Node]]) -> Html:
    parts: list[Html] = []
    for group in spec["tags"]:
        links = [
            tag("li", tag("a", path, href=f"#{operation['operationId']}"))
            for _, path, operation in operations
            if group["name"] in operation["tags"]
        ]
        parts += [tag("h2", group["name"]), tag("ul", links)]
    names = [tag("li", tag("a", name, href=f"#{name}")) for name in spec["components"]["schemas"]]
    return tag("nav", parts, tag("h2", "Schemas"), tag("ul", names), aria_label="Contents")


def _security(spec: Node) -> Html:
    rows = []
    for name, scheme in spec["components"]["securitySchemes"].items():
        sent = f"`Authorization: {scheme['scheme'].capitalize()} …`" if "scheme" in scheme else f"`{scheme['name']}: …`"
        rows.append([name, inline(sent), inline(scheme["description"])])
    columns = [Column("Scheme"), Column("Header"), Column("Holds")]
    content = table("Ways to send a key", columns, rows, hidden=True)
    return tag("section", tag("h2", "Access"), content, id="access")


def _operation(spec: Node, method: str, path: str, operation: Node) -> Html:
    words = join(
        tag("h2", tag("span", method.upper(), class_=f"verb {method}"), tag("code", path)),
        tag("p", tag("strong", inline(operation["summary"]))),
        prose(operation["description"]),
        tag("p", "Access: ", _access(operation["security"]), class_="quiet"),
        _parameters(spec, operation),
        _body(operation),
        _responses(operation),
        _headers(spec, operation),
    )
    return tag(
        "section",
        tag("div", words, class_="words"),
        tag("div", _samples(method, path, operation), class_="samples"),
        class_="operation",
        id=operation["operationId"],
    )


def _access(security: list[Node]) -> Html:
    if not security:
        return join("open to everybody.")
    ways = ", ".join(f"`{name}`" for way in security for name in way)
    optional = " Not needed where the policy lets callers in without." if {} in security else ""
    return inline(f"{ways}.{optional}")


def _parameters(spec: Node, operation: Node) -> Html | None:
    found = [_resolve(spec, parameter) for parameter in operation.get("parameters", ())]
    if not found:
        return None
    parts: list[Html] = []
    for place, title in (("header", "Request headers"), ("path", "In the path"), ("query", "Query parameters")):
        rows: list[list[Child]] = []
        for parameter in found:
            if parameter["in"] == place:
                given = ", ".join(f"`{example}`" for example in parameter["schema"]["examples"])
                note = f"for example {given}"
                rows.append([tag("code", parameter["name"]), _meaning(parameter["description"], note)])
        if rows:
            parts += [tag("h3", title), table(title, [Column("Name"), Column("Meaning")], rows, hidden=True)]
    return join(parts)


def _body(operation: Node) -> Html | None:
    if "requestBody" not in operation:
        return None
    rows = [[tag("code", kind), _type(media["schema"])] for kind, media in operation["requestBody"]["content"].items()]
    return join(tag("h3", "Request body"), table("Request body", [Column("Type"), Column("Schema")], rows, hidden=True))


def _responses(operation: Node) -> Html:
    rows: list[list[Child]] = []
    for status, response in operation["responses"].items():
        shapes = [
            _type(media["schema"]) if kind.endswith("json") else tag("code", kind)
            for kind, media in response["content"].items()
        ]
        rows.append([status, _list(shapes, " or "), inline(response["description"])])
    columns = [Column("Status"), Column("Body"), Column("Meaning")]
    return join(tag("h3", "Responses"), table("Responses", columns, rows, hidden=True))


def _headers(spec: Node, operation: Node) -> Html | None:
    """Every header any response may have, once, with the statuses that have it."""
    carried: dict[str, list[str]] = {}
    for status, response in operation["responses"].items():
        for name in response.get("headers", ()):
            carried.setdefault(name, []).append(status)
    if not carried:
        return None
    rows: list[list[Child]] = []
    for name, statuses in carried.items():
        header = spec["components"]["headers"][name]
        note = f"on {_which(statuses, list(operation['responses']))}; for example `{header['schema']['examples'][0]}`"
        rows.append([tag("code", name), _meaning(header["description"], note)])
    columns = [Column("Header"), Column("Meaning")]
    return join(tag("h3", "Response headers"), table("Response headers", columns, rows, hidden=True))


def _meaning(text: str, note: str) -> Html:
    return join(prose(text), tag("p", inline(note), class_="quiet"))


def _which(some: list[str], every: list[str]) -> str:
    """Some statuses, or those that are not among them, whichever is shorter to say."""
    others = [status for status in every if status not in some]
    if not others:
        return "all"
    return ", ".join(some) if len(some) <= len(others) else f"all but {', '.join(others)}"


def _samples(method: str, path: str, operation: Node) -> Html:
    """Requests as commands, then an answer of each kind."""
    parts = [tag("h3", "Examples")]
    asked = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {})
    if not asked:
        command = _command(method, path, None, _variable(operation))
        parts.append(code_block(command, f"Request to {path}"))
    for example in asked.values():
        command = _command(method, path, example["value"], _variable(operation))
        parts += [tag("h4", example["summary"]), code_block(command, example["summary"])]
    for status, response in operation["responses"].items():
        if status not in ("200", "201", "503" if path == "/ready" else ""):
            continue
        for kind, media in response["content"].items():
            title = f"{status} {kind}"
            parts += [tag("h4", title), code_block(_pretty(media["example"]), title)]
    return join(parts)


def _variable(operation: Node) -> str:
    """The environment variable that holds the key for it; empty for what is open to everybody."""
    ways = {name for way in operation["security"] for name in way}
    return "SIDECAR_ADMIN_KEY" if "admin" in ways else "SIDECAR_KEY" if ways else ""


def _command(method: str, path: str, body: Any, key: str) -> str:
    verb = "" if method == ("get" if body is None else "post") else f"-X {method.upper()} "
    lines = [f"curl {verb}{_BASE}{path}"]
    if key:
        lines.append(f'-H "Authorization: Bearer ${key}"')
    if body is not None:
        lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(_pretty(body))}"]
    return " \\\n  ".join(lines)


def _schema(name: str, schema: Node) -> Html:
    rows: list[list[Child]] = []
    required = schema.get("required", ())
    for field, inner in schema.get("properties", {}).items():
        marks = "required" if field in required else ""
        rows.append(
            [tag("code", field), _type(inner), marks, join(prose(inner.get("description", "")), _bounds(inner))]
        )
    columns = [Column("Field"), Column("Type"), Column(""), Column("Meaning")]
    fields = table(f"Fields of {name}", columns, rows, hidden=True) if rows else None
    return tag("section", tag("h2", name), prose(schema.get("description", "")), fields, id=name)


def _bounds(schema: Node) -> Html | None:
    """Limits and the values a field may have, in words."""
    words = []
    for branch in (schema, *schema.get("anyOf", ())):
        for keyword, text in _BOUNDS.items():
            if keyword in branch:
                words.append(f"{text} {branch[keyword]:,}")
        if "enum" in branch:
            words.append("one of " + ", ".join(f"`{value}`" for value in branch["enum"]))
        if "const" in branch:
            words.append(f"always `{branch['const']}`")
    return tag("p", inline("; ".join(words)), class_="quiet") if words else None


_BOUNDS = {
    "minimum": "at least",
    "maximum": "at most",
    "minLength": "characters: at least",
    "maxLength": "characters: at most",
    "minItems": "entries: at least",
    "maxItems": "entries: at most",
}


def _type(schema: Node) -> Html:
    """A schema's type in a few words, with links to the schemas it names."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return tag("a", name, href=f"#{name}")
    if "anyOf" in schema:
        # What is null unless it is set need not say that it may be null.
        optional = "default" in schema
        return _list([_type(b) for b in schema["anyOf"] if not (optional and b.get("type") == "null")], " or ")
    kinds = schema.get("type", "")
    kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if kind == "array":
        items: Node = schema.get("items") or next(iter(schema.get("prefixItems", ())), {})
        return join("array of ", _type(items))
    return join(kind or ("text" if "enum" in schema or "const" in schema else "any"))


def _list(items: list[Html], between: str = ", ") -> Html:
    return join([part for place, item in enumerate(items) for part in ((between, item) if place else (item,))])


def _resolve(spec: Node, node: Node) -> Node:
    """A parameter, or the one it refers to."""
    found: Any = spec
    for step in node["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
