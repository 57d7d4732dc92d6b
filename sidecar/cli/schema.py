"""`sidecar schema --write|--check`: the JSON Schemas that editors complete from, generated from the Structs."""

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec

from ..cases.spec import Suite
from ..config.schema import json_schemas, stale, write
from ..emulator import Faults
from ..policy import KINDS
from ..registry.card import Catalogue
from ..scrape.spec import Scraper

FOLDER = Path("schemas")
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def options(parser: argparse.ArgumentParser) -> None:
    """Write, check, or print."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--write", action="store_true", help="write them")
    what.add_argument("--check", action="store_true", help="exit 1 when a file is missing or out of date")
    parser.add_argument("--folder", type=Path, default=FOLDER)


def action(options: argparse.Namespace) -> int:
    """0 when the files are right (or were written), 1 when not."""
    schemas = every_schema()
    if options.write:
        write(options.folder, schemas)
        sys.stdout.write(f"ok: {len(schemas)} schemas in {options.folder}/\n")
        return 0
    if options.check:
        old = stale(options.folder, schemas)
        for name in old:
            sys.stderr.write(f"{options.folder / name}: out of date; run `sidecar schema --write`\n")
        if not old:
            sys.stdout.write(f"ok: {len(schemas)} schemas are up to date\n")
        return int(bool(old))
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(schemas), indent=2).decode() + "\n")
    return 0


def every_schema() -> dict[str, dict[str, Any]]:
    """File name -> schema: one a kind, one for any kind, one for faults.yaml, one for scrapers, one for
    cases, one for models.json."""
    catalogue = {"$schema": _DIALECT, "$id": "models.schema.json", **msgspec.json.schema(Catalogue)}
    faults = json_schemas({"faults": Faults})["faults.schema.json"]  # no kind that a gateway would take
    scraper = json_schemas({"scraper": Scraper})["scraper.schema.json"]  # nor this
    cases = json_schemas({"test": Suite})["test.schema.json"]
    named = {
        "faults.schema.json": faults,
        "scraper.schema.json": scraper,
        "test.schema.json": cases,
        "models.schema.json": catalogue,
    }
    return {**json_schemas(KINDS), **named}
