"""The Messages API's JSON as typed structs: blocks and body of a request, answer, stream event, error.

Wire facts: the Anthropic OpenAPI document of 2026-08-18 (`CreateMessageParams`, `Message`, `MessageStreamEvent`)
and the official SDK's types where it is newer (`output_tokens_details`, `between_tools`, file sources).
"""

from typing import Any

from msgspec import Raw, Struct

Cache = dict[str, Any] | None


class Source(Struct, omit_defaults=True):
    """Where an image or a document is: `base64`, `url`, `text` or `file`."""

    type: str
    media_type: str | None = None
    data: str | None = None
    url: str | None = None
    file_id: str | None = None


class TextBlock(Struct, tag_field="type", tag="text", omit_defaults=True):
    """Text; the API refuses it blank."""

    text: str
    cache_control: Cache = None


class ImageBlock(Struct, tag_field="type", tag="image", omit_defaults=True):
    """An image of a user turn or a tool's result."""

    source: Source
    cache_control: Cache = None


class DocumentBlock(Struct, tag_field="type", tag="document", omit_defaults=True):
    """A PDF or a plain text."""

    source: Source
    title: str | None = None
    cache_control: Cache = None


class ThinkingBlock(Struct, tag_field="type", tag="thinking"):
    """Thinking as this API signed it."""

    thinking: str
    signature: str


class RedactedBlock(Struct, tag_field="type", tag="redacted_thinking"):
    """Thinking that only this API can read."""

    data: str


class ToolUseBlock(Struct, tag_field="type", tag="tool_use"):
    """A call the model made. `input` is an object."""

    id: str
    name: str
    input: Raw


class ToolResultBlock(Struct, tag_field="type", tag="tool_result", omit_defaults=True):
    """What a call gave."""

    tool_use_id: str
    content: "str | list[TextBlock | ImageBlock | DocumentBlock] | None" = None
    cache_control: Cache = None


Content = TextBlock | ImageBlock | DocumentBlock
Block = Content | ThinkingBlock | RedactedBlock | ToolUseBlock | ToolResultBlock


class Turn(Struct):
    """One turn; `role` is user or assistant."""

    role: str
    content: list[Block]


class Declared(Struct, omit_defaults=True):
    """A function offered to the model."""

    name: str
    input_schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class Body(Struct, omit_defaults=True):
    """A request."""

    model: str
    max_tokens: int
    messages: list[Turn]
    system: str | list[TextBlock] | None = None
    tools: list[Declared] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: dict[str, Any] | None = None
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: list[str] | None = None
    metadata: dict[str, str] | None = None
    stream: bool | None = None


class CacheCreation(Struct):
    """Written cache tokens by how long they live."""

    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class OutputDetails(Struct):
    """What the output tokens were spent on."""

    thinking_tokens: int | None = None


class Counts(Struct):
    """The API's usage. `input_tokens` is without what was read from or written to a cache. Fast mode is a `speed`, not
    a service tier, though it is billed as one."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_creation: CacheCreation | None = None
    output_tokens_details: OutputDetails | None = None
    service_tier: Any = None
    speed: Any = None


class Piece(Struct):
    """A block or a block's delta of an answer. The types differ in their fields and new ones come without notice,
    so everything but the type is read as it is and looked at when the type is known."""

    type: str = ""
    text: Any = None
    thinking: Any = None
    signature: Any = None
    data: Any = None
    id: Any = None
    name: Any = None
    input: Raw = Raw()
    partial_json: Any = None


class StopDetails(Struct):
    """Why the model would not answer."""

    explanation: str | None = None


class WireError(Struct):
    """An error's type and text."""

    type: str | None = None
    message: str | None = None


class Answer(Struct):
    """A whole message; or, with `error`, an error's envelope."""

    type: str = ""
    id: str | None = None
    model: str | None = None
    content: list[Piece] | None = None
    stop_reason: str | None = None
    stop_details: StopDetails | None = None
    usage: Counts | None = None
    error: WireError | None = None


class Stop(Struct):
    """How a streamed message ended."""

    stop_reason: str | None = None
    stop_details: StopDetails | None = None


class Started(Struct):
    """`message_start`."""

    message: Answer


class BlockStart(Struct):
    """`content_block_start`."""

    index: int
    content_block: Piece


class BlockDelta(Struct):
    """`content_block_delta`."""

    index: int
    delta: Piece


class BlockStop(Struct):
    """`content_block_stop`."""

    index: int


class MessageDelta(Struct):
    """`message_delta`: the stop reason and the counts so far, all cumulative."""

    delta: Stop
    usage: Counts | None = None
