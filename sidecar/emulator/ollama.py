"""Ollama's own chat protocol (api.md and recorded exchanges): newline-delimited JSON, streamed by default."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from . import wording
from .answer import Answer, Turn
from .faults import FaultName
from .prompt import Prompt, Refusal, ToolOffer, ToolResult
from .wire import Fault, Said, Target, bearer, decoded, encode, front_page

VERSION = "0.12.6"


class _Function(Struct):
    name: str = ""
    arguments: dict[str, Any] = {}


class _Call(Struct):
    function: _Function


class _Message(Struct):
    role: str
    content: str = ""
    images: list[str] | None = None
    tool_calls: list[_Call] | None = None
    tool_name: str | None = None


class _Offer(Struct):
    name: str = ""
    parameters: dict[str, Any] | None = None


class _Tool(Struct):
    function: _Offer


class _Options(Struct):
    num_predict: int | None = None
    stop: list[str] | str | None = None


class _Request(Struct):
    model: str = ""
    messages: list[_Message] = []
    stream: bool | None = None
    tools: list[_Tool] | None = None
    format: str | dict[str, Any] | None = None
    options: _Options | None = None
    think: bool | str | None = None


_decode = msgspec.json.Decoder(_Request).decode
_ROLES = frozenset({"system", "user", "assistant", "tool"})
_SAYS = {
    400: "invalid request",
    401: "unauthorized",
    403: "forbidden",
    404: "model '{model}' not found",
    413: "http: request body too large",
    429: "too many requests",
    500: "an internal error was encountered",
    503: "server busy, please try again. maximum pending requests exceeded",
}
_FAULTS: dict[FaultName, Said] = {
    "request_timeout": Said(408, "request timed out"),
    "quota": Said(429, "you've reached your weekly usage limit, please upgrade to continue"),
    "bad_gateway": Said(502, "502 Bad Gateway", media="text/html", page=front_page("nginx")),
    "unavailable": Said(503, "Service Temporarily Unavailable"),
    "overloaded": Said(503),
    "context_overflow": Said(400, "prompt too long; exceeded max context length by {tokens} tokens"),
}


class Ollama:
    """`POST /api/chat`, `GET /api/tags`, `GET /api/version`."""

    name = "ollama"
    models: Sequence[str] = ("llama3.2:latest", "qwen3:latest", "gemma3:latest")
    faults: Mapping[FaultName, Said] = _FAULTS
    opening = 0
    declines = "I'm sorry, but I can't help with that."

    def admit(self, headers: Mapping[str, str], query: Mapping[str, str], keys: Collection[str]) -> None:
        """A local server asks for no key; one that is sent is looked at."""
        key = bearer(headers)
        if key and keys and key not in keys:
            raise Refusal(401)

    def read(self, body: bytes, target: Target) -> Prompt:
        """Decodes, checks what Ollama checks, and says what was understood."""
        request = decoded(_decode, body, "invalid character in JSON body", _worded)
        _check(request)
        turns = [message.content for message in request.messages]
        options = request.options or _Options()
        stop = options.stop
        tools = [ToolOffer(one.function.name, one.function.parameters or {}) for one in request.tools or ()]
        asked = (message.content for message in reversed(request.messages) if message.role == "user")
        return Prompt(
            protocol=self.name,
            provider=target.provider,
            model=request.model,
            turns=[f"{m.role}: {m.content}" for m in request.messages],
            last=turns[-1] if turns else "",
            asked=next(asked, ""),
            results=_results(request.messages),
            images=sum(len(message.images or ()) for message in request.messages),
            tools=tools,
            tools_size=len(encode(request.tools)) if tools else 0,
            limit=options.num_predict if options.num_predict is not None and options.num_predict > 0 else None,
            stops=[stop] if isinstance(stop, str) else stop or [],
            json=bool(request.format),
            schema=request.format if isinstance(request.format, dict) else None,
            thinking=bool(request.think),
            show=True,
            stream=request.stream is not False,
            framing="ndjson",
        )

    def whole(self, turn: Turn) -> bytes:
        """One JSON object."""
        answer = turn.answers[0]
        message: dict[str, Any] = {"role": "assistant", "content": answer.text}
        if answer.thinking:
            message["thinking"] = answer.thinking
        if answer.calls:
            message["tool_calls"] = _calls(answer)
        return encode(_closing(turn, message))

    def chunks(self, turn: Turn) -> Iterator[bytes]:
        """A line for each piece, a line for all tool calls, and the line that is `done`."""
        answer = turn.answers[0]
        for piece in wording.pieces(answer.thinking, None):
            yield _line(turn, {"role": "assistant", "content": "", "thinking": piece})
        for piece in wording.pieces(answer.text, turn.chunks):
            yield _line(turn, {"role": "assistant", "content": piece})
        if answer.calls:
            yield _line(turn, {"role": "assistant", "content": "", "tool_calls": _calls(answer)})
        yield encode(_closing(turn, {"role": "assistant", "content": ""})) + b"\n"

    def media(self, prompt: Prompt) -> str:
        """NDJSON or JSON."""
        return "application/x-ndjson" if prompt.stream else "application/json; charset=utf-8"

    def refusal(self, fault: Refusal, model: str, request_id: str) -> tuple[int, bytes]:
        """`{"error": "..."}`."""
        status = fault.status
        message = fault.message or _SAYS.get(status, _SAYS[500 if status >= 500 else 400]).format(model=model)
        return status, encode({"error": message})

    def event(self, error: bytes, prompt: Prompt, *, first: bool) -> bytes:
        """The error object as one more line."""
        return error + b"\n"

    def stamp(self, request_id: str) -> list[tuple[str, str]]:
        """Ollama sends no headers of its own."""
        return []

    def listing(self, names: Sequence[str], now: int) -> bytes:
        """`GET /api/tags`."""
        details = {
            "parent_model": "",
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "3.2B",
            "quantization_level": "Q4_K_M",
        }
        cards = [
            {
                "name": name,
                "model": name,
                "modified_at": _time(now),
                "size": 2_019_393_189,
                "digest": f"{place:064x}",
                "details": details,
            }
            for place, name in enumerate(names)
        ]
        return encode({"models": cards})


def _worded(fault: Fault) -> Refusal:
    if fault.wanted is None:
        return Refusal(400, f"{fault.path} is required")
    return Refusal(400, f"json: cannot unmarshal {fault.got} into Go struct field .{fault.path} of type {fault.wanted}")


def _check(request: _Request) -> None:
    if not request.model:
        raise Refusal(400, "model is required")
    if isinstance(request.format, str) and request.format not in ("", "json"):
        raise Refusal(400, f'invalid format: "{request.format}"; expected "json" or a JSON schema')
    for message in request.messages:
        if message.role not in _ROLES:
            raise Refusal(400, f'invalid role "{message.role}", must be one of system, user, assistant, tool')
        for image in message.images or ():
            # Ollama wants bare base64: a data URL fails at its colon.
            if ":" in image[:16]:
                raise Refusal(400, f"illegal base64 data at input byte {image.index(':')}")


def _results(messages: Sequence[_Message]) -> list[ToolResult]:
    found: list[ToolResult] = []
    for message in reversed(messages):
        if message.role != "tool":
            break
        found.append(ToolResult(message.tool_name or "", message.content))
    return found[::-1]


def _calls(answer: Answer) -> list[dict[str, Any]]:
    return [
        {"function": {"index": place, "name": call.name, "arguments": call.arguments}}
        for place, call in enumerate(answer.calls)
    ]


def _line(turn: Turn, message: dict[str, Any]) -> bytes:
    said = {"model": turn.prompt.model, "created_at": _time(turn.created), "message": message, "done": False}
    return encode(said) + b"\n"


def _closing(turn: Turn, message: dict[str, Any]) -> dict[str, Any]:
    usage, answer = turn.usage, turn.answers[0]
    # Nanoseconds, made up but in proportion to the tokens.
    reading, writing = usage.input * 1_000_000, usage.output * 10_000_000
    return {
        "model": turn.prompt.model,
        "created_at": _time(turn.created),
        "message": message,
        "done_reason": "length" if answer.finish == "length" else "stop",
        "done": True,
        "total_duration": reading + writing + 2_000_000,
        "load_duration": 2_000_000,
        "prompt_eval_count": usage.input,
        "prompt_eval_duration": reading,
        "eval_count": usage.output,
        "eval_duration": writing,
    }


def _time(now: int) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
