"""What a user may script: which request gets which reply. Without a script the emulator composes its answers."""

from fnmatch import fnmatchcase
from typing import Annotated, Any

from msgspec import Meta, field

from ..spec import Count, Duration, Name, Spec
from .prompt import Finish, Prompt

Status = Annotated[int, Meta(ge=400, le=599, description="An HTTP error status.", examples=[429])]


class Match(Spec, frozen=True):
    """Which requests a reply is for: every field given must fit. Without fields it fits every request.

    `model` is a glob. `contains` is looked for, without regard to case, in the last message (the user's, or
    the result of a tool). `nth` counts the requests that fit the other fields, from 1.
    """

    provider: Name | None = None
    model: Annotated[str, Meta(min_length=1, examples=["gpt-*"])] | None = None
    contains: Annotated[str, Meta(min_length=1)] | None = None
    tools: bool | None = None
    nth: Annotated[int, Meta(ge=1)] | None = None

    def fits(self, prompt: Prompt) -> bool:
        """Whether everything but `nth` fits."""
        if self.provider is not None and self.provider != prompt.provider:
            return False
        if self.model is not None and not fnmatchcase(prompt.model, self.model):
            return False
        if self.tools is not None and self.tools != bool(prompt.tools):
            return False
        return self.contains is None or self.contains.casefold() in prompt.last.casefold()


class ScriptedUsage(Spec, frozen=True):
    """Token figures to report; `input` includes `cached`. What is left out is counted."""

    input: Count | None = None
    output: Count | None = None
    cached: Count | None = None


class ScriptedCall(Spec, frozen=True):
    """A tool call the model makes."""

    name: Annotated[str, Meta(min_length=1)]
    arguments: dict[str, Any] = field(default_factory=dict)


class Reply(Spec, frozen=True):
    """One scripted answer, or one error. What is left out is composed from the request.

    `delay` passes before the first byte, `chunk_delay` before every further chunk of a stream; `chunks` is the
    number of pieces the text is streamed in. `status` makes the reply the provider's own error; `error` is its
    message and `code` its code (OpenAI `code`, Anthropic `type`, Google `status`). `headers` are added.
    """

    match: Match = Match()
    text: str | None = None
    tool_calls: tuple[ScriptedCall, ...] = ()
    json: Any = None
    reasoning: str | None = None
    usage: ScriptedUsage | None = None
    finish: Finish | None = None
    delay: Duration | None = None
    chunk_delay: Duration | None = None
    chunks: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    status: Status | None = None
    error: str | None = None
    code: str | None = None
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.text is not None and self.json is not None:
            raise ValueError("a reply has `text` or `json`, not both")
        if self.status is None:
            if self.error is not None or self.code is not None:
                raise ValueError("`error` and `code` need a `status`")
        elif self.text is not None or self.json is not None or self.tool_calls:
            raise ValueError("a reply with a `status` is an error: it has no `text`, `json` or `tool_calls`")


class Script(Spec, frozen=True, tag_field="kind", tag="emulator"):
    """The emulator's file. `keys` are the only API keys accepted (any, when empty). `models` says by provider
    what its model list shows; a provider listed there refuses every other model."""

    keys: tuple[str, ...] = ()
    models: dict[str, tuple[str, ...]] = field(default_factory=dict)
    replies: tuple[Reply, ...] = ()


class Cues:
    """Chooses the reply for each request and remembers how often every `nth` was met."""

    def __init__(self, replies: tuple[Reply, ...]) -> None:
        self._replies = replies
        self._met = [0] * len(replies)

    def next(self, prompt: Prompt) -> Reply | None:
        """The first reply that fits, or None where the answer is to be composed."""
        chosen: Reply | None = None
        for place, reply in enumerate(self._replies):
            if not reply.match.fits(prompt):
                continue
            # Counted even when an earlier reply wins, so that `nth: 2` means the second request, not the
            # second one that nobody else answered.
            self._met[place] += 1
            if chosen is None and reply.match.nth in (None, self._met[place]):
                chosen = reply
        return chosen
