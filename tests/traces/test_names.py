"""Attribute names against OpenTelemetry's own list."""

import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from inspect import getsource

import pytest
from opentelemetry.semconv import _incubating, schemas
from opentelemetry.semconv import attributes as stable

from sidecar.telemetry import names

OURS = "sidecar."
WRITTEN = {name: text for name, text in vars(names).items() if name.isupper() and "." in text and "/" not in text}
WRITTEN.pop("VERSION")


def official() -> Iterator[tuple[str, str]]:
    """Every attribute of the conventions, with the sentence that says when it is not to be used any more."""
    for package in (stable, import_module(f"{_incubating.__name__}.attributes")):
        for info in pkgutil.iter_modules(package.__path__):
            module = import_module(f"{package.__name__}.{info.name}")
            text = getsource(module)
            for found in re.finditer(
                r'^[A-Z0-9_]+: Final = (?:\(\s*)?"([^"]+)"\s*\)?\s*(?:"""(.*?)""")?', text, re.M | re.S
            ):
                yield found[1], (found[2] or "").strip()


OFFICIAL = dict(official())


@pytest.mark.parametrize("name", sorted(text for text in WRITTEN.values() if not text.startswith(OURS)))
def test_a_name_is_one_of_the_conventions(name: str) -> None:
    assert name in OFFICIAL
    gone = re.match(r"Deprecated: (?!Moved to the \[OpenTelemetry GenAI)", OFFICIAL[name])
    assert not gone, OFFICIAL[name]


def test_a_name_stands_once_and_our_own_are_under_our_own() -> None:
    assert len(set(WRITTEN.values())) == len(WRITTEN)
    assert not [name for name in OFFICIAL if name.startswith(OURS)]
    assert all(re.fullmatch(r"sidecar\.[a-z_]+", name) for name in WRITTEN.values() if name.startswith(OURS))


def test_the_version_is_one_that_exists() -> None:
    assert names.SCHEMA_URL in {schema.value for schema in schemas.Schemas}
