"""Small specs that have one of everything, and the way from YAML text to rendered text."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from sidecar.config.check import check
from sidecar.config.diagnostic import Diagnostic
from sidecar.config.document import Document, parse
from sidecar.config.render import render_text
from sidecar.spec import URL, Duration, Name, Port, Ratio, SecretRef, Spec


class Cold(Spec, tag="cold", tag_field="kind"):
    """Served cold."""

    minutes: Annotated[int, Meta(ge=1, le=600)] = 5


class Hot(Spec, tag="hot", tag_field="kind", kw_only=True):
    """Served hot."""

    until: Duration = "30m"
    retries: int = 2
    plates: Annotated[tuple[Name, ...], Meta(min_length=1)]


class Kitchen(Spec):
    """Where it is made."""

    url: URL
    api_key: SecretRef | None = None
    share: Ratio | None = None


class Menu(Spec, tag="menu", tag_field="kind"):
    """What there is."""

    noun: ClassVar[str] = "card"

    name: Name
    courses: list[Cold | Hot] = []
    size: Literal["small", "medium", "large"] = "medium"


class Gateway(Spec):
    """The house. It has no field `kind`: the document's is not handed on."""

    port: Port = 8787
    open: bool = True
    greeting: str = ""
    kitchens: dict[Name, Kitchen] = {}
    tables: str | list[int] = []
    pair: tuple[int, str] = (1, "a")
    step: Annotated[float, Meta(multiple_of=0.5)] = 1.0

    def __post_init__(self) -> None:
        if self.greeting == "go away":
            raise ValueError("`greeting` is rude")


KINDS: Mapping[str, type[Spec]] = {"gateway": Gateway, "menu": Menu}


def read(
    text: str, environ: Mapping[str, str] | None = None, *, strict: bool = True, file: str = "gateway.yaml"
) -> tuple[list[Spec | None], list[Diagnostic]]:
    documents, findings = parse(text, file)
    specs: list[Spec | None] = []
    for document in documents:
        spec, faults = check(document, KINDS, environ or {}, strict=strict)
        specs.append(spec)
        findings += faults
    return specs, findings


def complain(
    text: str, environ: Mapping[str, str] | None = None, *, strict: bool = True, file: str = "gateway.yaml"
) -> str:
    return render_text(read(text, environ, strict=strict, file=file)[1], {file: text.removeprefix("\ufeff")})


def house(text: str, environ: Mapping[str, str] | None = None, *, strict: bool = True) -> Gateway:
    """The one sound gateway of a text."""
    (spec,), findings = read(text, environ, strict=strict)
    assert isinstance(spec, Gateway), findings
    return spec


def only(text: str) -> Document:
    (document,), _ = parse(text, "gateway.yaml")
    return document
