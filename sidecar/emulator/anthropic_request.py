"""Reading Anthropic messages requests: what the provider accepts, and its own words for what it refuses."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import msgspec
from msgspec import Struct

from .prompt import Prompt, Refusal, ToolOffer, ToolResult
from .signature import signed
from .wire import Fault, Target, decoded, encode

PROTOCOL = "anthropic"


class _Block(Struct):
    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    id: str | None = None
    name: str | None = None
    tool_use_id: str | None = None
    content: "str | list[_Block] | None" = None
    cache_control: dict[str, Any] | None = None

    def words(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return self.text or "\n".join(block.words() for block in self.content or ())


class _Message(Struct):
    role: Literal["user", "assistant", "system"]
    content: str | list[_Block]

    def blocks(self) -> list[_Block]:
        return self.content if isinstance(self.content, list) else [_Block("text", text=self.content)]

    def words(self) -> str:
        return "\n".join(filter(None, (block.words() for block in self.blocks())))


class _Thinking(Struct):
    type: Literal["enabled", "disabled", "adaptive"]
    budget_tokens: int | None = None
    display: str | None = None


class _Tool(Struct):
    name: str
    type: str | None = None
    input_schema: dict[str, Any] | None = None
    cache_control: dict[str, Any] | None = None


class _Choice(Struct):
    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool = False


class _Format(Struct):
    type: str
    schema: dict[str, Any] | None = None


class _Output(Struct):
    format: _Format | None = None


class _Request(Struct):
    model: str
    max_tokens: int
    messages: list[_Message]
    system: str | list[_Block] | None = None
    stream: bool = False
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    thinking: _Thinking | None = None
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    output_config: _Output | None = None
    output_format: _Format | None = None
    cache_control: dict[str, Any] | None = None


_decode = msgspec.json.Decoder(_Request).decode
_INDEX = re.compile(r"\[(\d+)\]")
_DOCS = "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"


def read(body: bytes, target: Target) -> Prompt:
    """Decodes, checks what Anthropic checks, and says what was understood."""
    request = decoded(_decode, body, "The request body is not valid JSON: expected value at line 1 column 1", _worded)
    _check(request)
    _check_thinking(request)
    _check_signatures(request.messages)
    _check_tools(request.messages)
    system = request.system or ""
    if isinstance(system, list):
        system = "\n".join(block.words() for block in system)
    turns = [message.words() for message in request.messages]
    choice = request.tool_choice
    thinking = request.thinking
    forced = choice is not None and choice.type in ("any", "tool")
    form = request.output_format or (request.output_config.format if request.output_config else None)
    prefix, marked = _prefix(request, system)
    return Prompt(
        protocol=PROTOCOL,
        provider=target.provider,
        model=request.model,
        system=system,
        turns=[f"{m.role}: {text}" for m, text in zip(request.messages, turns, strict=True)],
        last=turns[-1],
        asked=_asked(request.messages),
        results=_results(request.messages),
        images=sum(_images(message.blocks()) for message in request.messages),
        tools=[
            ToolOffer(tool.name, tool.input_schema) for tool in request.tools or () if tool.input_schema is not None
        ],
        tools_size=len(encode(request.tools)) if request.tools else 0,
        choice="auto" if choice is None or choice.type == "auto" else "none" if choice.type == "none" else "required",
        named=choice.name if choice is not None and choice.type == "tool" else None,
        parallel=choice is None or not choice.disable_parallel_tool_use,
        limit=request.max_tokens,
        stops=request.stop_sequences or [],
        json=form is not None,
        schema=form.schema if form is not None else None,
        # Adaptive thinking decides for itself; it does not think where a tool is forced.
        thinking=thinking is not None and (thinking.type == "enabled" or (thinking.type == "adaptive" and not forced)),
        show=thinking is not None and thinking.display != "omitted",
        stream=request.stream,
        prefix=prefix,
        marked=marked,
    )


def _worded(fault: Fault) -> Refusal:
    path = _INDEX.sub(r".\1", fault.path)
    if fault.wanted is None:
        return Refusal(400, f"{path}: Field required")
    return Refusal(400, f"{path}: Input should be a valid {fault.wanted}")


def _check(request: _Request) -> None:
    if request.max_tokens < 1:
        raise Refusal(400, "max_tokens: Input should be greater than or equal to 1")
    if not request.messages:
        raise Refusal(400, "messages: at least one message is required")
    if request.messages[0].role == "assistant":
        raise Refusal(400, 'messages: first message must use the "user" role')
    if request.temperature is not None and not 0 <= request.temperature <= 1:
        raise Refusal(400, "temperature: range: 0..1")
    last = len(request.messages) - 1
    for place, message in enumerate(request.messages):
        # Only the last assistant turn may be empty: it is a prefill.
        if not message.content and not (place == last and message.role == "assistant"):
            fault = "all messages must have non-empty content except for the optional final assistant message"
            raise Refusal(400, f"messages.{place}: {fault}")
        if any(block.type == "text" and not block.text for block in message.blocks()) and message.content:
            raise Refusal(400, "messages: text content blocks must be non-empty")


def _check_thinking(request: _Request) -> None:
    thinking = request.thinking
    if thinking is None or thinking.type != "enabled":
        return
    if thinking.budget_tokens is None:
        raise Refusal(400, "thinking.enabled.budget_tokens: Field required")
    if thinking.budget_tokens < 1024:
        raise Refusal(400, "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024")
    if request.max_tokens <= thinking.budget_tokens:
        fault = "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at "
        raise Refusal(400, f"{fault}{_DOCS}#max-tokens-and-context-window-size-with-extended-thinking")
    if request.temperature not in (None, 1):
        fault = "`temperature` may only be set to 1 when thinking is enabled. Please consult our documentation at "
        raise Refusal(400, f"{fault}{_DOCS}#important-considerations-when-using-extended-thinking")
    if request.tool_choice is not None and request.tool_choice.type in ("any", "tool"):
        raise Refusal(400, "Thinking may not be enabled when tool_choice forces tool use.")
    _check_kept(request.messages)


def _check_kept(messages: Sequence[_Message]) -> None:
    """While tools run, the assistant turn they belong to must still start with its thinking."""
    place = len(messages) - 2
    if place < 0 or not any(block.type == "tool_result" for block in messages[-1].blocks()):
        return
    first = messages[place].blocks()[0].type if messages[place].blocks() else "nothing"
    if messages[place].role == "assistant" and first not in ("thinking", "redacted_thinking"):
        raise Refusal(
            400,
            f"messages.{place}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{first}`. When "
            "`thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the "
            "lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from "
            "previous turns. To avoid this requirement, disable `thinking`. Please consult our documentation at "
            + _DOCS,
        )


def _check_signatures(messages: Sequence[_Message]) -> None:
    """Thinking comes back exactly as it was handed out, or the provider refuses the whole conversation."""
    for place, index, block in _placed(messages):
        if block.type == "redacted_thinking":
            raise Refusal(400, f"messages.{place}.content.{index}: Invalid `data` in `redacted_thinking` block")
        if block.type != "thinking":
            continue
        if block.signature is None:
            raise Refusal(400, f"messages.{place}.content.{index}.thinking.signature: Field required")
        if not signed(block.thinking or "", block.signature):
            raise Refusal(400, f"messages.{place}.content.{index}: Invalid `signature` in `thinking` block")


def _check_tools(messages: Sequence[_Message]) -> None:
    """Every call has its result in the very next message, and every result its call in the one before."""
    owed: list[str] = []
    for place, message in enumerate(messages):
        blocks = message.blocks()
        given = [block.tool_use_id or "" for block in blocks if block.type == "tool_result"]
        for index, block in enumerate(blocks):
            if block.type == "tool_result" and block.tool_use_id not in owed:
                raise Refusal(
                    400,
                    f"messages.{place}.content.{index}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{block.tool_use_id}. Each `tool_result` block must have a corresponding `tool_use` block in the "
                    "previous message.",
                )
        _check_given(owed, given, place - 1)
        owed = [block.id or "" for block in blocks if block.type == "tool_use"]
    _check_given(owed, [], len(messages) - 1)


def _check_given(owed: Sequence[str], given: Sequence[str], place: int) -> None:
    missing = [one for one in owed if one not in given]
    if missing:
        raise Refusal(
            400,
            f"messages.{place}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message.",
        )


def _placed(messages: Sequence[_Message]) -> Iterator[tuple[int, int, _Block]]:
    for place, message in enumerate(messages):
        for index, block in enumerate(message.blocks()):
            yield place, index, block


def _asked(messages: Sequence[_Message]) -> str:
    """The last text a user wrote; a turn of nothing but tool results is no question."""
    for message in reversed(messages):
        text = "\n".join(block.text for block in message.blocks() if block.type == "text" and block.text)
        if message.role == "user" and text:
            return text
    return ""


def _results(messages: Sequence[_Message]) -> list[ToolResult]:
    names = {block.id: block.name or "" for _, _, block in _placed(messages) if block.type == "tool_use"}
    return [
        ToolResult(names.get(block.tool_use_id, ""), block.words())
        for block in messages[-1].blocks()
        if block.type == "tool_result"
    ]


def _images(blocks: Sequence[_Block]) -> int:
    nested = sum(_images(block.content) for block in blocks if isinstance(block.content, list))
    return nested + sum(block.type == "image" for block in blocks)


def _prefix(request: _Request, system: str) -> tuple[str, Literal["5m", "1h"] | None]:
    """Everything up to the last `cache_control`, which is what Anthropic would keep, and for how long."""
    said: list[str] = [encode(request.tools).decode()] if request.tools else []
    end, control = 0, request.cache_control
    for tool in request.tools or ():
        if tool.cache_control is not None:
            end, control = len(said), tool.cache_control
    said.append(system)
    for part in request.system if isinstance(request.system, list) else ():
        if part.cache_control is not None:
            end, control = len(said), part.cache_control
    for _, _, block in _placed(request.messages):
        said.append(block.words())
        if block.cache_control is not None:
            end, control = len(said), block.cache_control
    if control is None:
        return "", None
    kept = said if control is request.cache_control else said[:end]
    return "\x1e".join(kept), "1h" if control.get("ttl") == "1h" else "5m"
