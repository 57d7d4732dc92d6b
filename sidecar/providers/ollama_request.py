"""A chat in the body of Ollama's /api/chat, with the names of what does not fit.

Wire facts: Ollama's API document and `ChatRequest`, `Message` and `ToolCall` of its source (api/types.go). Where
OpenAI and Ollama differ, this follows Ollama's own OpenAI layer (openai/openai.go).
"""

from typing import Any

import msgspec
from msgspec import Struct

from ..chat import ChatRequest, FunctionCall, Message, NamedTool, Part, ResponseFormat, Tool, ToolCall
from .base import accepted, functions

_THINK: dict[str, bool | str] = {
    "none": False,
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "max",
    "max": "max",
}

_object = msgspec.json.Decoder(dict[str, Any])


class Function(Struct, omit_defaults=True):
    """A call's function; `arguments` is an object, not text."""

    name: str
    arguments: dict[str, Any]


class Call(Struct, omit_defaults=True):
    """A call in the history."""

    function: Function
    id: str | None = None


class Turn(Struct, omit_defaults=True):
    """One message."""

    role: str
    content: str
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class Options(Struct, omit_defaults=True):
    """What the model file may also set."""

    num_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: list[str] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class Declared(Struct, omit_defaults=True):
    """A function offered to the model. Ollama's templates read `parameters` without looking whether it is there."""

    name: str
    parameters: dict[str, Any]
    description: str | None = None


class DeclaredTool(Struct):
    """One entry of `tools`."""

    type: str
    function: Declared


class Body(Struct, omit_defaults=True):
    """The whole request. `stream` has no default: an absent one means true."""

    model: str
    messages: list[Turn]
    stream: bool
    options: Options | None = None
    format: str | dict[str, Any] | None = None
    tools: list[DeclaredTool] | None = None
    think: bool | str | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None


def build(chat: ChatRequest, model: str, rejects: frozenset[str]) -> tuple[Body, list[str]]:
    """The body and the names of the fields that are not in it."""
    chat, lost = accepted(chat, rejects)
    options = Options(
        num_predict=chat.output_limit,
        temperature=chat.temperature,
        top_p=chat.top_p,
        seed=chat.seed,
        stop=chat.stops or None,
        presence_penalty=chat.presence_penalty,
        frequency_penalty=chat.frequency_penalty,
    )
    offered = chat.tools or []
    if isinstance(chat.tool_choice, NamedTool) and chat.tool_choice.function is not None:
        # The wire cannot demand a call; offering only the named tool is as near as it comes.
        wanted = chat.tool_choice.function.name
        offered = [tool for tool in offered if tool.function is not None and tool.function.name == wanted]
    tools = None if chat.tool_choice == "none" else _tools(offered, lost)
    if chat.tool_choice not in (None, "none", "auto"):
        lost.append("tool_choice")
    if chat.parallel_tool_calls is False and tools:
        lost.append("parallel_tool_calls")
    if chat.n is not None and chat.n > 1:
        lost.append("n")
    if chat.user is not None:
        lost.append("user")
    think = None if chat.reasoning_effort is None else _THINK.get(chat.reasoning_effort)
    if chat.reasoning_effort is not None and think is None:
        lost.append("reasoning_effort")
    body = Body(
        model=model,
        messages=_turns(chat.messages, lost),
        stream=bool(chat.stream),
        options=options if options != Options() else None,
        format=_format(chat.response_format, lost),
        tools=tools,
        think=think,
        logprobs=True if chat.logprobs else None,
        top_logprobs=chat.top_logprobs if chat.logprobs else None,
    )
    return body, lost


def _format(form: ResponseFormat | None, lost: list[str]) -> str | dict[str, Any] | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_schema" and form.json_schema is not None and form.json_schema.schema:
        return form.json_schema.schema
    if form.type in ("json_object", "json_schema"):
        return "json"
    lost.append("response_format")
    return None


def _tools(tools: list[Tool], lost: list[str]) -> list[DeclaredTool] | None:
    declared = []
    for function in functions(tools, lost):
        parameters = {"type": "object", "properties": {}, **(function.parameters or {})}
        declared.append(DeclaredTool("function", Declared(function.name, parameters, function.description)))
    return declared or None


def _turns(messages: list[Message], lost: list[str]) -> list[Turn]:
    names: dict[str, str] = {}
    turns: list[Turn] = []
    for message in messages:
        turn = _turn(message, lost)
        if message.role in ("tool", "function"):
            # Both, as the models' templates use one or the other. A result that is not tied to its call makes
            # the model call again, for ever.
            turn.tool_call_id = message.tool_call_id
            turn.tool_name = names.get(message.tool_call_id or "") or message.name
            if not turn.tool_name:
                lost.append("tool_call_id")
        elif message.name:
            lost.append("name")
        calls = list(message.tool_calls or ())
        if message.function_call is not None:
            calls.append(ToolCall(function=message.function_call))
        for call in calls:
            if call.id and call.function is not None:
                names[call.id] = call.function.name
        turn.tool_calls = [_call(call, lost) for call in calls] or None
        turns.append(turn)
    return turns


def _turn(message: Message, lost: list[str]) -> Turn:
    role = {"developer": "system", "function": "tool"}.get(message.role, message.role)
    turn = Turn(role, "", thinking=message.reasoning_content or None)
    if message.reasoning_details:
        # Thinking that another provider signed is never sent elsewhere, nor is its text.
        lost.append("reasoning_details")
        turn.thinking = None
    if isinstance(message.content, str):
        turn.content = message.content
    elif message.content:
        _fill(turn, message.content, lost)
    if message.refusal and not turn.content:
        turn.content = message.refusal
    return turn


def _fill(turn: Turn, parts: list[Part], lost: list[str]) -> None:
    texts: list[str] = []
    images: list[str] = []
    for part in parts:
        if part.cache_control:
            lost.append("cache_control")
        text = part.text if part.text is not None else part.refusal
        if text is not None:
            texts.append(text)
            continue
        data = _bytes(part)
        if data is None:
            lost.append(part.type)
        else:
            images.append(data)
    turn.content = "\n".join(texts)
    turn.images = images or None


def _bytes(part: Part) -> str | None:
    """Base64 of an image or of audio (one list serves both), None for what Ollama would have to fetch."""
    if part.input_audio is not None:
        return part.input_audio.data
    if part.image_url is None:
        return None
    url = part.image_url if isinstance(part.image_url, str) else part.image_url.url
    head, _, data = url.partition(",")
    return data if head.startswith("data:") and head.endswith(";base64") and data else None


def _call(call: ToolCall, lost: list[str]) -> Call:
    function = call.function or FunctionCall()
    try:
        arguments = _object.decode(function.arguments or "{}")
    except (ValueError, RecursionError):
        lost.append("arguments")
        arguments = {"arguments": function.arguments}
    if call.extra_content:
        lost.append("extra_content")
    return Call(Function(function.name, arguments), call.id or None)
