"""Reading OpenAI chat requests: what the provider accepts, and its own words for what it refuses."""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from .prompt import Prompt, Refusal, ToolOffer, ToolResult
from .wire import Fault, Target, decoded, encode

PROTOCOL = "openai"


class _Part(Struct):
    type: str
    text: str | None = None


class _Function(Struct):
    name: str
    arguments: str = ""


class _Call(Struct):
    id: str
    function: _Function | None = None


class _Message(Struct):
    role: str
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None

    def text(self) -> str:
        if isinstance(self.content, list):
            return "\n".join(part.text for part in self.content if part.text)
        return self.content or ""


class _Offer(Struct):
    name: str
    parameters: dict[str, Any] | None = None


class _Tool(Struct):
    type: str
    function: _Offer | None = None


class _Schema(Struct):
    name: str
    schema: dict[str, Any] | None = None


class _Format(Struct):
    type: str
    json_schema: _Schema | None = None


class _Options(Struct):
    include_usage: bool | None = None


class _Request(Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _Options | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    n: int | None = None
    stop: str | list[str] | None = None
    tools: list[_Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: _Format | None = None
    reasoning_effort: str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


_decode = msgspec.json.Decoder(_Request).decode
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
# The reasoning models refuse what they do not know; only their own names, so that compatible servers stay lenient.
_REASONING = re.compile(r"^(o1|o3|o3-mini|o4-mini|gpt-5|gpt-5-mini|gpt-5-nano)(-\d{4}-\d{2}-\d{2})?$")
_UNREADABLE = (
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP "
    "library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON. If you have "
    "trouble figuring out how to fix this, please contact us through our help center at help.openai.com.)"
)


def read(body: bytes, target: Target) -> Prompt:
    """Decodes, checks what OpenAI checks, and says what was understood."""
    request = decoded(_decode, body, _UNREADABLE, _worded)
    _check(request)
    _check_tools(request.messages)
    tools = [_offer(tool) for tool in request.tools or () if tool.function is not None]
    choice = request.tool_choice
    form = request.response_format
    schema = form.json_schema.schema if form is not None and form.json_schema is not None else None
    limit = request.max_completion_tokens if request.max_completion_tokens is not None else request.max_tokens
    turns = [message.text() for message in request.messages]
    system = "\n".join(m.text() for m in request.messages if m.role in ("system", "developer"))
    return Prompt(
        protocol=PROTOCOL,
        provider=target.provider,
        model=request.model,
        turns=[f"{m.role}: {text}" for m, text in zip(request.messages, turns, strict=True)],
        last=turns[-1],
        asked=next((t for m, t in zip(request.messages[::-1], turns[::-1], strict=True) if m.role == "user"), ""),
        results=_results(request.messages),
        images=sum(_images(message) for message in request.messages),
        tools=tools,
        tools_size=len(encode(request.tools)) if tools else 0,
        choice="none" if choice == "none" else "required" if choice == "required" else "auto",
        named=_named(choice),
        parallel=request.parallel_tool_calls is not False,
        limit=limit,
        stops=[request.stop] if isinstance(request.stop, str) else request.stop or [],
        count=request.n or 1,
        json=form is not None and form.type in ("json_object", "json_schema"),
        schema=schema,
        thinking=request.reasoning_effort not in (None, "none"),
        # OpenAI bills reasoning and never shows it here; servers that imitate it (DeepSeek, vLLM) do show it.
        show=target.provider != PROTOCOL,
        logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        stream=bool(request.stream),
        include_usage=request.stream_options is not None and bool(request.stream_options.include_usage),
        prefix=system,
    )


def _worded(fault: Fault) -> Refusal:
    if fault.path == "model" and fault.wanted is None:
        return Refusal(400, "you must provide a model parameter")
    if fault.wanted is None:
        message = f"Missing required parameter: '{fault.path}'."
        return Refusal(400, message, code="missing_required_parameter", param=fault.path)
    message = f"Invalid type for '{fault.path}': expected {fault.wanted}, but got {fault.got} instead."
    return Refusal(400, message, code="invalid_type", param=fault.path)


def _check(request: _Request) -> None:
    if not request.messages:
        message = "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array."
        raise Refusal(400, message, code="empty_array", param="messages")
    for place, one in enumerate(request.messages):
        if one.role not in _ROLES:
            message = (
                f"Invalid value: '{one.role}'. Supported values are: 'system', 'assistant', 'user', 'function', "
                "'tool', and 'developer'."
            )
            raise Refusal(400, message, code="invalid_value", param=f"messages[{place}].role")
    bounds = (("n", request.n, 1, 128), ("temperature", request.temperature, 0, 2))
    for name, value, low, high in bounds:
        if value is not None and not low <= value <= high:
            message = f"Invalid '{name}': expected a value between {low} and {high}, but got {value} instead."
            raise Refusal(400, message, code="invalid_value", param=name)
    if request.top_logprobs is not None and not request.logprobs:
        message = "Invalid parameter: 'top_logprobs' is only allowed when 'logprobs' is enabled."
        raise Refusal(400, message, param="top_logprobs")
    if _REASONING.match(request.model):
        _check_reasoning(request)
    form = request.response_format
    if form is not None and form.type == "json_object" and not _says_json(request.messages):
        message = (
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        )
        raise Refusal(400, message, param="messages")


def _check_reasoning(request: _Request) -> None:
    if request.max_tokens is not None:
        message = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
        raise Refusal(400, message, code="unsupported_parameter", param="max_tokens")
    if request.temperature not in (None, 1):
        message = (
            f"Unsupported value: 'temperature' does not support {request.temperature} with this model. Only the "
            "default (1) value is supported."
        )
        raise Refusal(400, message, code="unsupported_value", param="temperature")


def _says_json(messages: Sequence[_Message]) -> bool:
    return any("json" in message.text().lower() for message in messages)


def _check_tools(messages: Sequence[_Message]) -> None:
    """Every tool message answers a call of the assistant turn before it, and every call is answered."""
    owed: set[str] = set()
    for place, one in enumerate(messages):
        if one.role == "tool":
            if one.tool_call_id not in owed:
                message = (
                    "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
                    "'tool_calls'."
                )
                raise Refusal(400, message, param=f"messages.[{place}].role")
            owed.discard(one.tool_call_id or "")
            continue
        if owed:
            break
        owed = {call.id for call in one.tool_calls or ()}
    if owed:
        message = (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(sorted(owed))}"
        )
        raise Refusal(400, message, param="messages")


def _offer(tool: _Tool) -> ToolOffer:
    function = tool.function
    return ToolOffer(function.name, function.parameters or {}) if function else ToolOffer("", {})


def _named(choice: str | dict[str, Any] | None) -> str | None:
    function = choice.get("function") if isinstance(choice, dict) else None
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else None


def _images(message: _Message) -> int:
    return sum(part.type == "image_url" for part in message.content) if isinstance(message.content, list) else 0


def _results(messages: Sequence[_Message]) -> list[ToolResult]:
    names = {
        call.id: call.function.name for one in messages for call in one.tool_calls or () if call.function is not None
    }
    found: list[ToolResult] = []
    for one in reversed(messages):
        if one.role != "tool":
            break
        found.append(ToolResult(names.get(one.tool_call_id or "", ""), one.text()))
    return found[::-1]
