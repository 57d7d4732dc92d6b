"""The provider-neutral chat: request, response, delta, usage and the closed list of failures.

The request is typed after OpenAI's chat completions, the field's lingua franca, so the OpenAI surface decodes
straight into it in one pass; unknown fields stay in the raw body and travel on same-protocol calls.
Every struct is plain data: no I/O, no vendor names.
"""

from enum import StrEnum
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

body_fields = msgspec.json.Decoder(dict[str, Raw]).decode
"""A request body's top-level fields, each still as its own bytes: to look at or pass on what was sent."""


class ImageURL(Struct, omit_defaults=True):
    """An image by `https:` or `data:` URL; `detail` is low, high or auto."""

    url: str
    detail: str | None = None


class Audio(Struct, omit_defaults=True):
    """Base64 audio and its container format (wav, mp3)."""

    data: str
    format: str = "wav"


class File(Struct, omit_defaults=True):
    """A document: a data URL (`file_data`) or a provider's own `file_id`."""

    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None


class Part(Struct, omit_defaults=True):
    """One piece of a message. `type` says which field is filled; unknown types are kept and named as lost."""

    type: str
    text: str | None = None
    image_url: ImageURL | str | None = None
    input_audio: Audio | None = None
    file: File | None = None
    refusal: str | None = None
    cache_control: dict[str, Any] | None = None


class FunctionCall(Struct, omit_defaults=True):
    """A function's name and its arguments as JSON text."""

    name: str = ""
    arguments: str = ""


class ToolCall(Struct, omit_defaults=True):
    """A call the model asks for. In a stream `index` says which call a fragment belongs to.

    `extra_content` is where Google's own OpenAI-compatible endpoint puts `{"google": {"thought_signature": ...}}`.
    """

    id: str | None = None
    type: str = "function"
    function: FunctionCall | None = None
    index: int | None = None
    extra_content: dict[str, Any] | None = None


class Reasoning(Struct, omit_defaults=True):
    """One block of thinking that must travel back unchanged (OpenRouter's `reasoning_details` shape).

    `type` is `reasoning.text` (with `text` and `signature`) or `reasoning.encrypted` (with `data`); `format`
    names the protocol that signed it (`anthropic`, `google`), so that no other provider is ever sent it.
    """

    type: str
    text: str | None = None
    signature: str | None = None
    data: str | None = None
    format: str | None = None
    index: int | None = None


class Message(Struct, omit_defaults=True):
    """One turn. Roles: system, developer, user, assistant, tool, function (legacy)."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: FunctionCall | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[Reasoning] | None = None


class FunctionSpec(Struct, omit_defaults=True):
    """A function offered to the model; `parameters` is a JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(Struct, omit_defaults=True):
    """A tool offered to the model. Types other than `function` travel on same-protocol calls only."""

    type: str
    function: FunctionSpec | None = None


class NamedFunction(Struct):
    """A function by name."""

    name: str


class NamedTool(Struct):
    """tool_choice naming one function."""

    type: str
    function: NamedFunction | None = None


class JSONSchema(Struct, omit_defaults=True):
    """The schema of a structured answer."""

    name: str
    schema: dict[str, Any] | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(Struct, omit_defaults=True):
    """text, json_object or json_schema."""

    type: str
    json_schema: JSONSchema | None = None


class StreamOptions(Struct, omit_defaults=True):
    """Whether a stream ends with a chunk of usage."""

    include_usage: bool = False


class ChatRequest(Struct, omit_defaults=True):
    """What a caller asks for, after one decode of its body. Absent and null mean the same."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    n: int | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    user: str | None = None

    @property
    def output_limit(self) -> int | None:
        """The caller's cap on output tokens, whichever of the two names it used."""
        return self.max_completion_tokens if self.max_completion_tokens is not None else self.max_tokens

    @property
    def stops(self) -> list[str]:
        """Stop sequences as a list."""
        if self.stop is None:
            return []
        return [self.stop] if isinstance(self.stop, str) else self.stop

    @property
    def include_usage(self) -> bool:
        """Whether a streaming caller asked for the final usage chunk."""
        return self.stream_options is not None and self.stream_options.include_usage


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Usage(Struct, frozen=True):
    """Tokens of one attempt, all integers. `input_tokens` includes every cached and written token.

    Audio and image input is what was not cached; `cached_audio_tokens` are part of `cached_tokens`. Reasoning, audio
    and image output are part of the output. `service_tier` is the one the provider says it served, empty for its
    standard one. `estimated` marks figures the provider did not send.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_5m_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    audio_input_tokens: int = 0
    audio_output_tokens: int = 0
    estimated: bool = False
    image_input_tokens: int = 0
    image_output_tokens: int = 0
    cached_audio_tokens: int = 0
    service_tier: str = ""


class FailureKind(StrEnum):
    """Everything that can go wrong with one attempt: a closed list, so policies can decide for each."""

    REFUSED = "refused"
    DNS = "dns"
    TLS = "tls"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    RESET = "reset"
    BAD_REQUEST = "bad_request"
    AUTHENTICATION = "authentication"
    NOT_FOUND = "not_found"
    REQUEST_TIMEOUT = "request_timeout"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    QUOTA = "quota"
    SERVER_ERROR = "server_error"
    BAD_GATEWAY = "bad_gateway"
    UNAVAILABLE = "unavailable"
    OVERLOADED = "overloaded"
    STREAM_ERROR = "stream_error"
    MALFORMED = "malformed"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    CONTENT_FILTER = "content_filter"
    CONTEXT_OVERFLOW = "context_overflow"
    SATURATED = "saturated"
    OVER_BUDGET = "over_budget"
    UNPRICED = "unpriced"
    OVER_LIMIT = "over_limit"
    CANCELLED = "cancelled"


class Failure(Struct, frozen=True):
    """One attempt's failure. `message` is the provider's own text, bounded, not yet sanitised.

    `status` is the upstream's HTTP status or None; `retry_after` is in seconds.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    retry_after: float | None = None
    param: str | None = None
    code: str | None = None


class Choice(Struct, omit_defaults=True):
    """One answer of a completion."""

    message: Message
    index: int = 0
    finish_reason: FinishReason | str | None = None
    logprobs: Any = None


class Completion(Struct):
    """A whole answer. `wire` holds the provider's own bytes when `choices` were not taken apart:
    the caller speaks the same protocol and gets them as they are."""

    usage: Usage | None = None
    id: str = ""
    model: str = ""
    created: int = 0
    choices: list[Choice] = []
    wire: bytes | None = None
    finish_reason: str | None = None
    empty: bool = False
    extra: dict[str, Any] | None = None


class Delta(Struct, gc=False):
    """One step of a streamed answer.

    `wire` is a block of the provider's own bytes for a same-protocol caller; otherwise the fields say what changed.
    `content` true marks the commit point: the caller may see a token of this delta.
    """

    wire: bytes | None = None
    content: bool = False
    index: int = 0
    text: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    details: list[Reasoning] | None = None
    tool_calls: list[ToolCall] | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    failure: Failure | None = None
    logprobs: Any = None


class Outgoing(Struct, frozen=True):
    """One HTTP request to a provider, ready to send. `lost` names the fields the translation could not carry."""

    url: str
    headers: dict[str, str]
    body: bytes
    lost: tuple[str, ...] = ()


class Problem(Struct, frozen=True):
    """What a caller is told when there is no answer. `kind` is the error's `type` on the wire."""

    status: int
    kind: str
    message: str
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None
