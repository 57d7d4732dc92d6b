"""What each of the four wires is: pure functions between a provider's bytes and `Prompt`, `Turn`, `Refusal`."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from .answer import Turn
from .faults import FaultName
from .prompt import Prompt, Refusal

_T = TypeVar("_T")
_FAULT = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>.*)`)?$", re.DOTALL)
_TYPES = re.compile(r"^Expected `(?P<wanted>[^`]*)`, got `(?P<got>[^`]*)`")
_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]*)`")

ENVOY = "upstream connect error or disconnect/reset before headers. reset reason: overflow"
"""What a balancer says when no server behind it takes the request."""

encode = msgspec.json.Encoder().encode
"""One encoder for everything the emulator says."""


class Target(NamedTuple):
    """What the URL says: the provider's name, and for Google the model and how the answer is to be sent."""

    provider: str
    model: str = ""
    stream: bool = False
    sse: bool = False


class Fault(NamedTuple):
    """Where a body does not fit and how: `wanted` is None when the field is missing."""

    path: str
    wanted: str | None
    got: str


class Said(NamedTuple):
    """A provider's error; without a `message` its usual one for the status, in which `{tokens}` are the prompt's.

    With a `media` type the server in front of the provider answers instead: the message stands in its `page`.
    """

    status: int
    message: str | None = None
    code: str | None = None
    param: str | None = None
    details: Sequence[Mapping[str, Any]] = ()
    media: str | None = None
    page: str = "{message}"


def front_page(server: str) -> str:
    """The page that nginx and its kin make of an error."""
    return (
        "<html>\r\n<head><title>{message}</title></head>\r\n<body>\r\n<center><h1>{message}</h1></center>\r\n"
        f"<hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
    )


def bearer(headers: Mapping[str, str]) -> str:
    """The token of `Authorization: Bearer`, or nothing."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


class Wire(Protocol):
    """One protocol as its provider speaks it."""

    name: str
    models: Sequence[str]
    faults: Mapping[FaultName, Said]
    """The errors that are not the fault's usual status in the provider's usual words."""
    opening: int
    """How many chunks of a stream come before the first that holds content."""
    declines: str
    """What stands for a filtered answer where the protocol has no word for one."""

    def admit(self, headers: Mapping[str, str], query: Mapping[str, str], keys: Collection[str]) -> None:
        """Checks what the provider checks before it looks at the body. Any key will do where `keys` is empty."""

    def read(self, body: bytes, target: Target) -> Prompt:
        """The request; a bad one raises `Refusal` with the provider's own words."""

    def whole(self, turn: Turn) -> bytes:
        """The answer in one piece."""

    def chunks(self, turn: Turn) -> Iterator[bytes]:
        """The answer as a stream: what opens it, one chunk for each piece of content, what closes it."""

    def media(self, prompt: Prompt) -> str:
        """The content type of an answer to this request."""

    def refusal(self, fault: Refusal, model: str, request_id: str) -> tuple[int, bytes]:
        """Status and body of an error."""

    def event(self, error: bytes, prompt: Prompt, *, first: bool) -> bytes:
        """An error within a stream; `first` when nothing was sent before it."""

    def stamp(self, request_id: str) -> list[tuple[str, str]]:
        """Headers on every response."""

    def listing(self, names: Sequence[str], now: int) -> bytes:
        """The list of models."""


def decoded(decode: Callable[[bytes], _T], body: bytes, unreadable: str, say: Callable[[Fault], Refusal]) -> _T:
    """The typed body. `unreadable` is said of what is no JSON, `say` words a field that does not fit."""
    try:
        return decode(body)
    except msgspec.ValidationError as fault:
        raise say(located(str(fault))) from fault
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        raise Refusal(400, unreadable) from fault


def located(text: str) -> Fault:
    """msgspec's message taken apart, so that each provider can say it in its own way."""
    whole = _FAULT.match(text)
    what, path = (whole["what"], whole["path"] or "") if whole else (text, "")
    path = path.removeprefix(".")
    missing = _MISSING.match(what)
    if missing:
        return Fault(f"{path}.{missing['field']}" if path else missing["field"], None, "")
    types = _TYPES.match(what)
    return Fault(path, types["wanted"] if types else what, types["got"] if types else "value")
