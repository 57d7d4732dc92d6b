"""`python -m tests.conformance`: see the package's own words."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests' own modules, as pytest finds them

from .cases import CASES, WIRES, Case, cells, faults_yaml
from .measure import Target, measured
from .run import conform
from .stand import Places, model_of, places
from .table import markdown, write


def main() -> int:
    """Run what was asked for."""
    options = _options()
    if options.faults:
        print(faults_yaml())
    elif options.base_url is None:
        table = asyncio.run(conform()).table
        print(table, end="")
        if options.write:
            write(table)
    else:
        print(asyncio.run(_theirs(options)), end="")
    return 0


async def _theirs(options: argparse.Namespace) -> str:
    cases = tuple(case for case in CASES if case.name in options.only)
    async with places(cases, options.port) as found:
        wanted = list(cells(cases, tuple(options.wires)))
        models = {cell: model_of(cell, options.model_prefix, shared=True) for cell in wanted}
        _say(found, cases, sorted(set(models.values())))
        if not options.now:
            await asyncio.to_thread(input, "Enter when the gateway is ready: ")
        target = Target(options.base_url.rstrip("/"), options.key, models, found.emulator)
        return markdown(await measured(target, wanted))


def _say(found: Places, cases: tuple[Case, ...], models: list[str]) -> None:
    print("\n".join(f"{wire}: {found.url(wire)}" for wire in WIRES), file=sys.stderr)
    for case in cases:
        if case.network:
            print("\n".join(f"{wire} {case.name}: {found.url(wire, case)}" for wire in WIRES), file=sys.stderr)
    print(f"models: {' '.join(models)}", file=sys.stderr)


def _among(known: Sequence[str]) -> Callable[[str], list[str]]:
    def parse(text: str) -> list[str]:
        names = text.split(",")
        if unknown := [name for name in names if name not in known]:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return names

    return parse


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description="Faults, and what callers see.")
    parser.add_argument("--write", action="store_true", help="put the table into docs/stream-contract.md")
    parser.add_argument("--faults", action="store_true", help="print the faults file and stop")
    parser.add_argument("--base-url", help="another gateway, without /v1")
    parser.add_argument("--key", default="", help="its key")
    parser.add_argument("--model-prefix", default="", help="what stands before the names of its models")
    names = [case.name for case in CASES]
    parser.add_argument("--only", type=_among(names), default=names, metavar="A,B", help="cases by name")
    parser.add_argument("--wires", type=_among(WIRES), default=WIRES, metavar="A,B", help=f"of {', '.join(WIRES)}")
    parser.add_argument("--port", type=int, default=0, help="of the emulator")
    parser.add_argument("--now", action="store_true", help="do not wait for Enter")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
