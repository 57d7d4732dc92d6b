"""Files of cases to trials: read strictly, defaults and tables laid out, names looked up, each with its place.

Every case becomes a small document of its own, whose nodes keep the places where they were written, so that one check
finds what is wrong with cases, rows and defaults alike.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from msgspec import Struct, field

from ..config.check import check
from ..config.codes import Code
from ..config.diagnostic import Diagnostic, Place, Severity, error
from ..config.document import DataPath, Document, decode, parse, read
from ..config.nodes import Node, Span
from ..engine.trial import Asked, World
from ..policy import Loaded
from ..stages.base import Problem
from .link import Names, names_of, problems, world
from .request import UnfitError, asked
from .spec import Case, Expect, Suite

SUFFIXES = ("_test.yaml", "_test.yml")


class Trial(Struct, frozen=True):
    """One case, ready to be walked. `document` has the place of everything it says."""

    name: str
    asked: Asked
    world: World
    expect: Expect
    document: Document

    @property
    def place(self) -> Place:
        """Where the case, or its row, is written."""
        return self.document.place(("name",))


class Suites(Struct):
    """The trials of some files, what is wrong in them, and the texts. `cases` counts all that were sound."""

    trials: list[Trial] = field(default_factory=list)
    cases: int = 0
    findings: list[Diagnostic] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)


def files_beside(folder: Path, policies: Iterable[str]) -> list[Path]:
    """The files of cases of a gateway in `folder`: beside it, and beside and below its policies. Sorted, each once."""
    found = [path for path in folder.iterdir() if path.name.endswith(SUFFIXES)]
    return _once([*found, *files_of(folder, policies)])


def files_of(folder: Path, policies: Iterable[str]) -> list[Path]:
    """Of these the ones that lie with its policies."""
    places = [folder / include for include in policies]
    return _once(
        path
        for place in places
        for path in (below(place) if place.is_dir() else below(place.parent) if place.parent != folder else [])
    )


def _once(paths: Iterable[Path]) -> list[Path]:
    return sorted({path.resolve(): path for path in reversed(list(paths)) if path.is_file()}.values())


def below(folder: Path) -> list[Path]:
    """The files of cases in a folder and those inside it; hidden ones are none."""
    return sorted(
        path
        for path in folder.rglob("*_test.y*ml")
        if path.name.endswith(SUFFIXES) and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_suites(files: Iterable[Path], loaded: Loaded | None) -> Suites:
    """All cases of the files. Without a policy that could be loaded names are not looked up, and nothing can be tried.
    Never raises."""
    suites = Suites()
    names = None
    if loaded is not None and loaded.policy is not None and loaded.graph is not None:
        names = names_of(loaded.policy, loaded.graph)
    for path in files:
        file = str(path)
        data, faults = read(path, file)
        text, unfit = decode(data, file)
        documents, wrong = parse(text, file) if not (faults or unfit) else ([], [])
        suites.texts[file] = text
        suites.findings += [*faults, *unfit, *wrong]
        for document in documents:
            _add(suites, document, names)
    suites.findings = list(dict.fromkeys(suites.findings))
    return suites


def _add(suites: Suites, document: Document, names: Names | None) -> None:
    # No environment: the same cases mean the same wherever they run.
    suite, faults = check(document, {"test": Suite}, {})
    suites.findings += faults
    if suite is None:
        return
    seen: dict[str, Place] = {}
    for laid_out in _laid_out(document):
        if isinstance(laid_out, Diagnostic):
            suites.findings.append(laid_out)
            continue
        case, faults = check(laid_out, {"case": Case}, {})
        suites.findings += faults
        if not isinstance(case, Case):
            continue
        suites.cases += 1
        place = laid_out.place(("name",))
        if case.name in seen:
            also = (seen[case.name], "the first one is here")
            message = f"there are two cases called `{case.name}`"
            help_ = "`--run` and reports tell cases apart by name"
            suites.findings.append(Diagnostic(Code.DUPLICATE_NAME, Severity.ERROR, message, place, help_, also))
        seen.setdefault(case.name, place)
        suites.findings += _tried(suites.trials, laid_out, case, names)


def _tried(trials: list[Trial], document: Document, case: Case, names: Names | None) -> list[Diagnostic]:
    """Append the case as a trial, or return what is wrong with it."""
    wrong = [] if names is None else [*problems(case, names)]
    if case.expect == Expect():
        help_ = "add `expect: {tier: ...}`, or more"
        wrong.append(Problem(("name",), Code.MISSING_FIELD, "the case expects nothing", help_))
    try:
        request = asked(case.request)
    except UnfitError as unfit:
        wrong.append(Problem(unfit.path, Code.BAD_VALUE, str(unfit)))
    else:
        if not wrong and names is not None:
            trials.append(Trial(case.name, request, world(case, names), case.expect, document))
    return [_found(document, problem) for problem in wrong]


def _found(document: Document, problem: Problem) -> Diagnostic:
    """At the value; at the key where a key is what is wrong, or the value is a whole mapping."""
    node, path = document.node(problem.path), problem.path
    keyed = problem.code is Code.UNKNOWN_NODE or path[-2:-1] in _KEYED
    by_key = keyed or node is None or node.children is not None
    return error(problem.code, problem.message, document.place(path, by_key), problem.help)


_KEYED = tuple((field,) for field in ("down", "speed", "dropped", "failures"))
"""Fields whose keys are names."""


def _laid_out(document: Document) -> Iterator[Document | Diagnostic]:
    """Each case with the defaults under it; of a table, each row."""
    defaults = document.node(("defaults",))
    for index in range(len(document.data["cases"])):
        node = document.node(("cases", index))
        if node is None or not isinstance(node.children, dict):
            continue
        whole = node if defaults is None else _over(defaults, node, whole=("caller",))
        if "table" not in node.children:
            yield _as_document(document, whole)
            continue
        columns, rows = (_entries(document, ("cases", index, "table", part)) for part in ("columns", "rows"))
        for number, row in enumerate(rows, 1):
            cells = row.children if isinstance(row.children, list) else []
            if len(cells) != len(columns):
                message = f"the row has {len(cells)} cells for {len(columns)} columns"
                yield error(
                    Code.BAD_VALUE, message, Place(document.file, *row.span), "a cell that is to be empty is `null`"
                )
            else:
                yield _as_document(document, _row(whole, list(zip(columns, cells, strict=True)), row.span, number))


def _entries(document: Document, path: DataPath) -> list[Node]:
    node = document.node(path)
    return node.children if node is not None and isinstance(node.children, list) else []


def _row(case: Node, cells: list[tuple[Node, Node]], span: Span, number: int) -> Node:
    children = dict(case.children) if isinstance(case.children, dict) else {}
    children.pop("table")
    name = Node(span, f"{children['name'].data}[{number}]")
    row = _mapping(case, children | {"name": name})
    for column, cell in cells:
        if cell.data is not None:
            for step in reversed(str(column.data).split(".")):
                cell = Node(cell.span, {step: cell.data}, {step: cell}, {step: column.span})
            row = _over(row, cell)
    return row


def _over(base: Node, node: Node, whole: tuple[str, ...] = ()) -> Node:
    """`node` laid over `base`, mapping by mapping; those named in `whole` replace, and of prompt and messages the later
    one counts."""
    if not isinstance(base.children, dict) or not isinstance(node.children, dict):
        return node
    under: Mapping[str, Node] = base.children
    if {"prompt", "messages"} & node.children.keys():
        under = {key: child for key, child in under.items() if key not in ("prompt", "messages")}
    merged = dict(under)
    for key, child in node.children.items():
        merged[key] = child if key in whole or key not in under else _over(under[key], child)
    return _mapping(node, merged, {**base.keys, **node.keys})


def _mapping(node: Node, children: dict[str, Node], keys: dict[str, Span] | None = None) -> Node:
    data = {key: child.data for key, child in children.items()}
    return Node(node.span, data, children, node.keys if keys is None else keys)


def _as_document(document: Document, root: Node) -> Document:
    return Document(document.file, document.index, "case", root.data, document.text, root)
