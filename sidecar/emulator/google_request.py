"""Reading Google generateContent requests: what the provider accepts, and its own words for what it refuses."""

import re
from base64 import b64decode
from binascii import Error
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from .google_names import camel, check_names
from .prompt import Prompt, Refusal, ToolOffer, ToolResult
from .signature import is_token
from .wire import Fault, Target, decoded, encode

PROTOCOL = "google"


class _Data(Struct, rename="camel"):
    mime_type: str = ""
    data: str = ""


class _FileData(Struct, rename="camel"):
    file_uri: str
    mime_type: str = ""


class _Call(Struct):
    name: str
    args: dict[str, Any] | None = None
    id: str | None = None


class _Response(Struct):
    name: str
    response: dict[str, Any] | None = None
    id: str | None = None


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    inline_data: _Data | None = None
    file_data: _FileData | None = None
    function_call: _Call | None = None
    function_response: _Response | None = None

    def words(self) -> str:
        if self.function_response is not None:
            return encode(self.function_response.response).decode()
        return self.text or ""


class _Content(Struct):
    parts: list[_Part] = []
    role: str | None = None

    def words(self) -> str:
        return "\n".join(filter(None, (part.words() for part in self.parts)))


class _Thinking(Struct, rename="camel"):
    include_thoughts: bool = False
    thinking_budget: int | None = None
    thinking_level: str | None = None


class _Generation(Struct, rename="camel"):
    candidate_count: int | None = None
    stop_sequences: list[str] | None = None
    max_output_tokens: int | None = None
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: dict[str, Any] | None = None
    thinking_config: _Thinking | None = None


class _Function(Struct, rename="camel"):
    name: str
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None


class _Tool(Struct, rename="camel"):
    function_declarations: list[_Function] | None = None


class _Calling(Struct, rename="camel"):
    mode: str | None = None
    allowed_function_names: list[str] | None = None


class _ToolConfig(Struct, rename="camel"):
    function_calling_config: _Calling | None = None


class _Request(Struct, rename="camel"):
    contents: list[_Content] = []
    system_instruction: _Content | None = None
    generation_config: _Generation | None = None
    tools: list[_Tool] | None = None
    tool_config: _ToolConfig | None = None


_STRICT = re.compile(r"^gemini-3")


def read(body: bytes, target: Target) -> Prompt:
    """Decodes, checks what Google checks, and says what was understood."""
    request = decoded(
        _converted, body, "Invalid JSON payload received. Parsing terminated before end of input.", _worded
    )
    if not request.contents:
        raise Refusal(400, "* GenerateContentRequest.contents: contents is not specified\n")
    _check_roles(request.contents)
    _check_pairs(request.contents)
    _check_signatures(request.contents, target.model)
    how = request.generation_config or _Generation()
    thinking = how.thinking_config
    calling = request.tool_config.function_calling_config if request.tool_config else None
    system = request.system_instruction.words() if request.system_instruction else ""
    turns = [content.words() for content in request.contents]
    parts = [part for content in request.contents for part in content.parts]
    tools = _tools(request, calling)
    return Prompt(
        protocol=PROTOCOL,
        provider=target.provider,
        model=target.model,
        system=system,
        turns=[f"{c.role or 'user'}: {text}" for c, text in zip(request.contents, turns, strict=True)],
        last=turns[-1],
        asked=_asked(request.contents),
        results=[
            ToolResult(part.function_response.name, encode(part.function_response.response).decode())
            for part in request.contents[-1].parts
            if part.function_response is not None
        ],
        images=sum(_is_image(part) for part in parts),
        tools=tools,
        tools_size=len(encode(request.tools)) if tools else 0,
        choice=_choice(calling),
        limit=how.max_output_tokens,
        stops=how.stop_sequences or [],
        count=how.candidate_count or 1,
        json=how.response_mime_type == "application/json",
        schema=how.response_json_schema or how.response_schema,
        thinking=thinking is not None
        and thinking.thinking_budget != 0
        and (thinking.include_thoughts or bool(thinking.thinking_budget) or thinking.thinking_level is not None),
        show=thinking is not None and thinking.include_thoughts,
        stream=target.stream,
        framing="sse" if target.sse else "array",
        prefix=system,
    )


def _converted(body: bytes) -> _Request:
    raw = msgspec.json.decode(body)
    if not isinstance(raw, dict):
        raise Refusal(400, 'Invalid JSON payload received. Unknown name "": Root element must be a message.')
    tidy = camel(raw)
    check_names(tidy)
    return msgspec.convert(tidy, _Request)


def _worded(fault: Fault) -> Refusal:
    if fault.wanted is None:
        return Refusal(400, f"* GenerateContentRequest.{fault.path}: required field is not specified\n")
    return Refusal(400, f"Invalid value at '{fault.path}' ({fault.wanted}), got {fault.got}")


def _check_roles(contents: Sequence[_Content]) -> None:
    for content in contents:
        if content.role not in (None, "user", "model", "function"):
            raise Refusal(400, "Please use a valid role: user, model.")
        if not content.parts:
            raise Refusal(400, "* GenerateContentRequest.contents[0].parts: contents.parts must not be empty.\n")


def _check_pairs(contents: Sequence[_Content]) -> None:
    """A turn of calls is followed by one turn with as many responses, and responses by nothing else."""
    owed = 0
    for content in contents:
        given = sum(part.function_response is not None for part in content.parts)
        if given and not owed:
            message = "Please ensure that function response turn comes immediately after a function call turn."
            raise Refusal(400, message)
        if owed and given != owed:
            raise Refusal(
                400,
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn.",
            )
        owed = sum(part.function_call is not None for part in content.parts)


def _check_signatures(contents: Sequence[_Content], model: str) -> None:
    """A signature that comes back was handed out here, and with Gemini 3 the calls of the current turn have one."""
    for content in contents:
        for part in content.parts:
            if part.thought_signature is not None and not is_token(part.thought_signature):
                raise Refusal(400, "Corrupted thought signature.")
    if not _STRICT.match(model):
        return
    for place, content in _current(contents):
        calls = [part for part in content.parts if part.function_call is not None]
        # Parallel calls share the signature of the first one.
        if calls and calls[0].thought_signature is None and calls[0].function_call is not None:
            raise Refusal(
                400,
                "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                f"data, function call `default_api:{calls[0].function_call.name}` , position {place + 1}. Please "
                "refer to https://ai.google.dev/gemini-api/docs/thought-signatures for more details.",
            )


def _current(contents: Sequence[_Content]) -> Iterator[tuple[int, _Content]]:
    """The model's contents since the user last wrote something other than tool responses."""
    start = 0
    for place, content in enumerate(contents):
        if content.role != "model" and any(part.function_response is None for part in content.parts):
            start = place
    for place in range(start, len(contents)):
        if contents[place].role == "model":
            yield place, contents[place]


def _asked(contents: Sequence[_Content]) -> str:
    for content in reversed(contents):
        text = "\n".join(part.text for part in content.parts if part.text)
        if content.role != "model" and text:
            return text
    return ""


def _is_image(part: _Part) -> bool:
    if part.inline_data is not None:
        try:
            b64decode(part.inline_data.data.replace("-", "+").replace("_", "/"), validate=True)
        except (Error, ValueError) as fault:
            raise Refusal(400, "Invalid value at 'contents.parts.inline_data.data' (TYPE_BYTES)") from fault
        return part.inline_data.mime_type.startswith("image/")
    return part.file_data is not None and part.file_data.mime_type.startswith("image/")


def _tools(request: _Request, calling: _Calling | None) -> list[ToolOffer]:
    allowed = calling.allowed_function_names if calling is not None else None
    return [
        ToolOffer(one.name, one.parameters_json_schema or one.parameters or {})
        for tool in request.tools or ()
        for one in tool.function_declarations or ()
        if not allowed or one.name in allowed
    ]


def _choice(calling: _Calling | None) -> Any:
    mode = (calling.mode or "AUTO").upper() if calling is not None else "AUTO"
    return {"ANY": "required", "NONE": "none"}.get(mode, "auto")
