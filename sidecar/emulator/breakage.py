"""How an answer fails: the provider's own error in its place, or its bytes cut, garbled or held back."""

from itertools import chain, repeat

from msgspec import structs

from ..spec import seconds
from .delivery import Ending, Response
from .faults import Fault, FaultName
from .prompt import Finish, Prompt, Refusal
from .script import Reply, ScriptedUsage
from .wire import Said, Wire

JSON = ("content-type", "application/json")

_STATUSES: dict[FaultName, int] = {
    "bad_request": 400,
    "authentication": 401,
    "permission": 403,
    "not_found": 404,
    "request_timeout": 408,
    "too_large": 413,
    "rate_limited": 429,
    "quota": 429,
    "server_error": 500,
    "bad_gateway": 502,
    "unavailable": 503,
    "overloaded": 529,
    "context_overflow": 400,
}
_GARBAGE = b"\xff\xfe{"
_DRIP = "200ms"
_PIECES = 4
"""Enough that one of them neither opens a stream nor closes it, on any wire."""


def refused(fault: Fault, wire: Wire, prompt: Prompt, request_id: str) -> Response | None:
    """The provider's error instead of an answer; None for the faults that strike while one is given."""
    said = wire.faults.get(fault.fault)
    if said is None and fault.fault in _STATUSES:
        said = Said(_STATUSES[fault.fault])
    if said is None:
        return None
    retry = () if fault.retry_after is None else (("retry-after", f"{seconds(fault.retry_after):g}"),)
    if said.media is not None:
        # The server in front of the provider speaks, and knows nothing of its protocol.
        page = said.page.format(message=fault.message or said.message)
        return Response(said.status, [("content-type", said.media), *retry], page.encode())
    status, content = _error(fault, said, wire, prompt, request_id)
    if prompt.framing == "array" and prompt.stream:
        content = b"[" + content + b"]"
    return Response(status, [JSON, *wire.stamp(request_id), *retry], content)


def replied(fault: Fault, wire: Wire, prompt: Prompt, reply: Reply | None) -> Reply | None:
    """The reply as the fault has it: no words for `empty`, and for `content_filter` where that is an answer; some that
    can be repeated for `total_timeout`, whatever the prompt says of an end."""
    match fault.fault:
        case "empty":
            return _worded(reply, "", "stop", ScriptedUsage(output=0))
        case "content_filter":
            return _worded(reply, wire.declines, "stop" if wire.declines else "content_filter", None)
        case "total_timeout":
            prompt.limit, prompt.stops = None, []
            return structs.replace(_worded(reply, "and so on, " * _PIECES, "stop", None), chunks=_PIECES)
        case _:
            return reply


def _worded(reply: Reply | None, text: str, finish: Finish, usage: ScriptedUsage | None) -> Reply:
    return structs.replace(
        reply or Reply(),
        text=text,
        tool_calls=(),
        json=None,
        reasoning="",
        usage=usage,
        finish=finish,
        status=None,
        error=None,
        code=None,
    )


def spoil(fault: Fault, response: Response, wire: Wire, prompt: Prompt, request_id: str) -> None:
    """Changes what will be sent, where the fault strikes during an answer."""
    match fault.fault:
        case "slow":
            response.delay += seconds(fault.delay or "0")
        case "first_token_timeout":
            response.ending = "silence"
            if response.chunks is None:
                response.held = True
            else:
                response.chunks = iter(())
        case "total_timeout":
            _endless(fault, response, wire)
        case "reset" if fault.after == 0:
            response.ending, response.held = "reset", True
        case "stream_error" | "malformed" | "truncated" | "reset" | "idle_timeout":
            broken = _broken_whole if response.chunks is None else _broken_stream
            broken(fault, response, wire, prompt, request_id)
        case _:
            pass


def _endless(fault: Fault, response: Response, wire: Wire) -> None:
    """A stream with a piece that comes again and again; before JSON, which may begin with it, white space."""
    response.pace = seconds(fault.delay or _DRIP)
    if response.chunks is None:
        response.chunks = repeat(b" ")
        return
    chunks = list(response.chunks)
    again = wire.opening + 1
    response.chunks = chain(chunks[:again], repeat(chunks[again]))


def _broken_whole(fault: Fault, response: Response, wire: Wire, prompt: Prompt, request_id: str) -> None:
    content = response.content
    match fault.fault:
        case "stream_error":
            response.content = _stream_error(fault, wire, prompt, request_id)
        case "malformed":
            response.content = _garbled(content)
        case "truncated":
            response.content = content[: len(content) // 2]
        case _:
            response.declared = len(content)
            response.content = content[: len(content) // 2]
            response.ending = _ending(fault)


def _broken_stream(fault: Fault, response: Response, wire: Wire, prompt: Prompt, request_id: str) -> None:
    chunks = list(response.chunks or ())
    after = 1 if fault.after is None else fault.after
    # The last chunk holds the end of the stream, which must not come.
    cut = min(wire.opening + after, len(chunks) - 1)
    sent = chunks[:cut]
    match fault.fault:
        case "stream_error":
            sent.append(wire.event(_stream_error(fault, wire, prompt, request_id), prompt, first=not sent))
        case "malformed":
            sent += [_garbled(chunks[cut]), *chunks[cut + 1 :]]
        case "truncated":
            pass
        case _:
            response.ending = _ending(fault)
    response.chunks = iter(sent)


def _ending(fault: Fault) -> Ending:
    return "reset" if fault.fault == "reset" else "silence"


def _stream_error(fault: Fault, wire: Wire, prompt: Prompt, request_id: str) -> bytes:
    return _error(fault, Said(500), wire, prompt, request_id)[1]


def _error(fault: Fault, said: Said, wire: Wire, prompt: Prompt, request_id: str) -> tuple[int, bytes]:
    text = fault.message or (said.message and said.message.format(tokens=prompt.tokens()))
    wait = None if fault.retry_after is None else seconds(fault.retry_after)
    refusal = Refusal(said.status, text, code=said.code, param=said.param, details=said.details, wait=wait)
    return wire.refusal(refusal, prompt.model, request_id)


def _garbled(content: bytes) -> bytes:
    """The last quarter replaced by bytes that are neither UTF-8 nor JSON, within the same framing."""
    core = content.rstrip(b"\r\n")
    return core[: len(core) - len(core) // 4] + _GARBAGE + content[len(core) :]
