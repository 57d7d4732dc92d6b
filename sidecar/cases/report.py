"""Results for people, programs, GitHub and CI servers. Texts of files are made printable: they may be hostile."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from typing import Any

import msgspec

from ..config.diagnostic import Place
from ..config.render import github_command, printable
from ..engine.explain import as_text
from .coverage import Coverage
from .judge import Difference, Result


def as_lines(results: Sequence[Result]) -> str:
    """Every failing case: a clickable line, one for each difference, and the walk as `sidecar explain` prints it."""
    lines = []
    for result in results:
        if not result.differences:
            continue
        lines.append(f"{position(result.trial.place)} FAILED {printable(result.trial.name)}")
        for difference in result.differences:
            lines.append(f"  {position(result.place(difference))} {printable(str(difference))}")
        lines += [f"    {printable(line)}" for line in as_text(result.explanation).splitlines()]
    return "".join(f"{line}\n" for line in lines)


def coverage_lines(coverage: Coverage) -> str:
    """What was never taken, one clickable line each."""
    return "".join(f"{position(missed.place)} never taken: {printable(missed.what)}\n" for missed in coverage.missed)


def summary(results: Sequence[Result], coverage: Coverage) -> str:
    """One line that proves that something was looked at."""
    failed = sum(bool(result.differences) for result in results)
    cases = f"{len(results)} case{'' if len(results) == 1 else 's'}"
    said = f"failed: {failed} of {cases}" if failed else f"ok: {cases}"
    return f"{said}, {coverage.taken} of {coverage.total} rules and edges taken ({coverage.percent} %)\n"


def as_json(results: Sequence[Result], coverage: Coverage) -> str:
    """One JSON object: `cases` with their differences and, where they failed, the explanation; `coverage`; counts."""
    data = {
        "cases": [_row(result) for result in results],
        "passed": sum(not result.differences for result in results),
        "failed": sum(bool(result.differences) for result in results),
        "coverage": {
            "taken": coverage.taken,
            "total": coverage.total,
            "percent": coverage.percent,
            "missed": [{"what": missed.what, **_at(missed.place)} for missed in coverage.missed],
        },
    }
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n"


def as_github(results: Sequence[Result]) -> str:
    """One workflow command a difference, which GitHub shows beside the line in a pull request."""
    return "".join(
        github_command("error", result.place(difference), "test", f"{result.trial.name}: {difference}")
        for result in results
        for difference in result.differences
    )


def as_junit(results: Sequence[Result]) -> bytes:
    """JUnit's XML: a suite a file, a case a case; the failure's text holds the walk."""
    root = ET.Element("testsuites", name="sidecar test")
    by_file: dict[str, list[Result]] = {}
    for result in results:
        by_file.setdefault(result.trial.document.file, []).append(result)
    for file, of_file in by_file.items():
        failures = str(sum(bool(result.differences) for result in of_file))
        counts = {"name": printable(file), "tests": str(len(of_file)), "failures": failures, "errors": "0"}
        suite = ET.SubElement(root, "testsuite", counts)
        for result in of_file:
            place = result.trial.place
            case = ET.SubElement(
                suite, "testcase", classname=printable(file), name=printable(result.trial.name), line=str(place.line)
            )
            if result.differences:
                message = printable("; ".join(map(str, result.differences)))
                walk = as_text(result.explanation).splitlines()
                ET.SubElement(case, "failure", message=message).text = "\n".join(map(printable, walk))
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def position(place: Place) -> str:
    """What terminals and editors make a link of."""
    return f"{printable(place.file)}:{place.line}:{place.column}:"


def _row(result: Result) -> dict[str, Any]:
    return {
        "name": result.trial.name,
        **_at(result.trial.place),
        "passed": not result.differences,
        "differences": [_difference(result, difference) for difference in result.differences],
        "explanation": result.explanation if result.differences else None,
    }


def _difference(result: Result, difference: Difference) -> dict[str, Any]:
    field = ".".join(difference.field)
    place = result.place(difference)
    return {"field": field, "expected": difference.expected, "seen": difference.seen, **_at(place)}


def _at(place: Place) -> dict[str, Any]:
    return {"file": place.file, "line": place.line, "column": place.column}
