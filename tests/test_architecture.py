"""The house rules of docs/architecture.md, section 4, as data: who may import whom, how large things may grow."""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sidecar"

ROWS = """
    cli
    compare
    server cases replay
    engine
    render policy
    lint
    shape
    link graph
    gateway stages scrape importing
    call
    providers surfaces identity emulator tokens registry stores config conditions telemetry
    plain words
    features listen schedule
    chat spec threads
"""
"""Imports point down only; what stands in one row does not import each other."""

LIBRARIES = {
    "aiohttp": "engine/upstream.py",
    "yarl": "engine/upstream.py",
    "cronsim": "schedule.py",
    "cryptography": ("emulator/certificate.py", "identity/jwt.py", "identity/vault.py"),
    "granian": "listen.py",
    "httpx": ("cli/demo.py", "identity/jwks.py", "scrape/fetch.py"),
    "jmespath": "scrape/select.py",
    "jsonschema": "config/",
    "jwt": "identity/jwt.py",
    "litestar": "server/",
    "msgspec": "",
    "parsel": ("scrape/select.py", "scrape/learn/"),
    "prometheus_client": "engine/metrics.py",
    "protego": "scrape/fetch.py",
    "sqlite_utils": "stores/database.py",
    "tenacity": ("engine/export.py", "engine/retry.py", "scrape/fetch.py"),
    "tiktoken": "tokens.py",
    "uvloop": "cli/run.py",
    "watchfiles": ("engine/reload.py", "cli/test.py"),
    "yaml": "config/",
}
"""Who may import what is not ours."""

VENDORS = re.compile(r"openai|anthropic|gemini|google|ollama|claude|\bgpt", re.IGNORECASE)
MAY_NAME_VENDORS = (
    *("providers/", "registry/", "emulator/", "gateway.py", "surfaces/openai_chat.py"),
    "importing/",
    *("cli/demo.py", "cli/emulate.py"),  # the environment variables that the vendors' own SDKs read
    *("server/docs_", "config/codes.py", "spec.py"),  # examples in texts for people
)
SURFACE = re.compile(r"openai_?chat", re.IGNORECASE)
"""A surface is named after the wire it speaks."""

BANNED = {"utils", "common", "helpers", "core", "services", "managers"}
LINES, FUNCTION_LINES, PARAMETERS = 400, 50, 6

FILES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TEXTS = {name: path.read_text(encoding="utf-8") for name, path in FILES.items()}
TREES = {name: ast.parse(text) for name, text in TEXTS.items()}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Rule = Callable[[str, ast.Module], Iterator[str]]


def part(name: str) -> str:
    """The part of the house a file belongs to: `stages/score.py` to stages."""
    return name.split("/")[0].removesuffix(".py")


def imports(name: str, tree: ast.AST) -> Iterator[tuple[ast.stmt, list[str]]]:
    """Every import as a path of names; our own begin with `sidecar`."""
    package = ["sidecar", *name.split("/")[:-1]]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name.split(".")) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            inside = [*base, *(node.module or "").split(".")] if node.module else base
            yield from ((node, inside if len(inside) > 1 or not base else [*inside, a.name]) for a in node.names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    yield from (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))


def imports_point_down(name: str, tree: ast.Module) -> Iterator[str]:
    rank = {unit: row for row, units in enumerate(ROWS.split("\n")) for unit in units.split()}
    if name in ("__init__.py", "__main__.py"):
        return
    here = part(name)
    if here not in rank:
        yield "has no row"
    for node, path in imports(name, tree):
        there = path[1] if path[0] == "sidecar" and len(path) > 1 else here
        if there not in (here, "__version__") and rank.get(there, -1) <= rank.get(here, -1):
            yield f"{node.lineno}: imports {there}"


def libraries_have_one_place(name: str, tree: ast.Module) -> Iterator[str]:
    for node, path in imports(name, tree):
        if path[0] == "sidecar" or path[0] in sys.stdlib_module_names:
            continue
        if path[0] not in LIBRARIES or not name.startswith(LIBRARIES[path[0]]):
            yield f"{node.lineno}: imports {path[0]}"


def vendors_are_named_where_they_belong(name: str, tree: ast.Module) -> Iterator[str]:
    if name.startswith(MAY_NAME_VENDORS):
        return
    spoken = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        words = [getattr(node, field, None) for field in ("id", "attr", "module", "arg")]
        if isinstance(node, ast.Constant) and id(node) not in spoken:
            words.append(node.value)
        for word in words:
            if isinstance(word, str) and VENDORS.search(SURFACE.sub("", word)):
                yield f"{getattr(node, 'lineno', 0)}: {word[:60]!r}"


def sizes(name: str, tree: ast.Module) -> Iterator[str]:
    if (lines := TEXTS[name].count("\n")) > LINES:
        yield f"{lines} lines"
    for node in functions(tree):
        if (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES:
            yield f"{node.name} has {lines} lines"
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        if (count := len([a for a in given if a.arg not in ("self", "cls")])) > PARAMETERS:
            yield f"{node.name} has {count} parameters"


def no_bad_habits(name: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield f"{node.lineno}: global"
        if isinstance(node, ast.ExceptHandler) and not name.startswith("server/"):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            if any(c is None or (isinstance(c, ast.Name) and c.id in ("Exception", "BaseException")) for c in caught):
                yield f"{node.lineno}: catches everything"
    for number, line in enumerate(TEXTS[name].splitlines(), 1):
        if re.search(r"\b(TODO|FIXME|XXX)\b", line):
            yield f"{number}: {line.strip()}"
    if set(re.split(r"[/.]", name)) & BANNED:
        yield "a name that says nothing"


def imports_stand_at_the_top(name: str, tree: ast.Module) -> Iterator[str]:
    if name.startswith("cli/"):
        return
    lines = TEXTS[name].splitlines()
    for function in functions(tree):
        for node, _ in imports(name, function):
            if not any("#" in line for line in lines[node.lineno - 2 : node.lineno]):
                yield f"{node.lineno}: an import inside {function.name}, and no comment says why"


def everything_public_is_documented(name: str, tree: ast.Module) -> Iterator[str]:
    if TEXTS[name].strip() and ast.get_docstring(tree) is None:
        yield "the module"
    waiting: list[tuple[str, ast.AST]] = [("", tree)]
    while waiting:
        owner, parent = waiting.pop()
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, (*FUNCTIONS, ast.ClassDef)) and not node.name.startswith("_"):
                if ast.get_docstring(node) is None:
                    yield f"{node.lineno}: {owner}{node.name}"
                if isinstance(node, ast.ClassDef):
                    waiting.append((f"{node.name}.", node))


RULES: list[Rule] = [
    imports_point_down,
    libraries_have_one_place,
    vendors_are_named_where_they_belong,
    sizes,
    no_bad_habits,
    imports_stand_at_the_top,
    everything_public_is_documented,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule(rule: Rule) -> None:
    broken = [f"sidecar/{name}: {fault}" for name, tree in TREES.items() for fault in rule(name, tree)]
    assert not broken, "\n" + "\n".join(broken)


def test_the_edge_is_one_place() -> None:
    edges = [
        name for name, text in TEXTS.items() if re.search(r"^\s*except (Base)?Exception\b|^\s*except:", text, re.M)
    ]
    assert edges == ["server/chat_route.py"]


def test_every_library_has_a_use() -> None:
    used = {path[0] for name, tree in TREES.items() for _, path in imports(name, tree)}
    assert set(LIBRARIES) <= used
