"""What the emulator understood of a request, the same for all four protocols, and its word for refusing one."""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Literal

from msgspec import Struct

Finish = Literal["stop", "length", "tool_calls", "content_filter"]

IMAGE_TOKENS = 85


class ToolOffer(Struct, frozen=True):
    """A tool of the request and the JSON Schema of its arguments."""

    name: str
    schema: dict[str, Any]


class ToolResult(Struct, frozen=True):
    """What a tool gave back."""

    name: str
    text: str


class Prompt(Struct, kw_only=True):
    """One chat request.

    `turns` are the texts of all messages in order (role first), `last` is the text of the last message and
    `asked` that of the last user message. `results` is filled when the conversation ends with tool results.
    `choice` says whether tools may be called; a name in `named` forces that one. `thinking` asks the model to
    think, `show` says whether the caller is given the text. `prefix` is the part a provider would cache, and
    `marked` is the caller's explicit wish to do so, as its lifetime. `framing` is how a stream is cut up.
    """

    protocol: str
    provider: str
    model: str
    system: str = ""
    turns: list[str] = []
    last: str = ""
    asked: str = ""
    results: list[ToolResult] = []
    images: int = 0
    tools: list[ToolOffer] = []
    tools_size: int = 0
    choice: Literal["auto", "none", "required"] = "auto"
    named: str | None = None
    parallel: bool = True
    limit: int | None = None
    stops: list[str] = []
    count: int = 1
    json: bool = False
    schema: dict[str, Any] | None = None
    thinking: bool = False
    show: bool = False
    logprobs: int | None = None
    stream: bool = False
    include_usage: bool = False
    framing: Literal["sse", "array", "ndjson"] = "sse"
    prefix: str = ""
    marked: Literal["5m", "1h"] | None = None

    def seed(self) -> int:
        """A number that depends on the model and the whole conversation, on nothing else."""
        digest = blake2b(self.model.encode(errors="replace"), digest_size=8)
        for text in (self.system, *self.turns):
            digest.update(b"\x1e" + text.encode(errors="replace"))
        digest.update(self.images.to_bytes(4, "big"))
        return int.from_bytes(digest.digest(), "big")

    def tokens(self) -> int:
        """The size of the input by the emulator's simple rule."""
        size = len(self.system) + sum(map(len, self.turns)) + self.tools_size
        return max(1, (size + 3) // 4 + 3 * len(self.turns) + IMAGE_TOKENS * self.images)


class Refusal(Exception):
    """The provider refuses the request: it becomes the provider's own error body.

    `code` overrides the provider's usual word for the status; `param` names the field (OpenAI); `details` and the
    seconds to `wait` stand in the body (Google).
    """

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        code: str | None = None,
        param: str | None = None,
        details: Sequence[Mapping[str, Any]] = (),
        wait: float | None = None,
    ) -> None:
        super().__init__(message or str(status))
        self.status = status
        self.message = message
        self.code = code
        self.param = param
        self.details = details
        self.wait = wait


def tokens(text: str) -> int:
    """Tokens of an output text: a quarter of its characters, rounded up."""
    return (len(text) + 3) // 4
