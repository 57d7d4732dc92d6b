"""A streamed /v1/messages answer as Deltas."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from ..chat import Delta, Failure, FailureKind, FunctionCall, ToolCall, Usage
from .anthropic_answer import arguments, completion, finish, merged, thought, usage, word
from .anthropic_errors import errored
from .anthropic_wire import Answer, BlockDelta, BlockStart, BlockStop, Counts, MessageDelta, Piece, Started
from .sse import MAX_EVENT, Events


class _Typed(Struct):
    type: str = ""


class _Open(Struct):
    """A block that is being written. `call` counts the tool calls; `said` is what came of it so far."""

    piece: Piece
    call: int
    said: list[str]
    signature: list[str]


_typed = msgspec.json.Decoder(_Typed)
_started = msgspec.json.Decoder(Started)
_block_start = msgspec.json.Decoder(BlockStart)
_block_delta = msgspec.json.Decoder(BlockDelta)
_block_stop = msgspec.json.Decoder(BlockStop)
_message_delta = msgspec.json.Decoder(MessageDelta)
_error = msgspec.json.Decoder(Answer)
# Server tools stream their input as `tool_use` does and it is none of the caller's: those blocks are not followed.
_FOLLOWED = frozenset({"thinking", "redacted_thinking", "tool_use"})
_NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class Reader:
    """Reads one stream; a whole JSON body too, which is what some servers answer to `stream: true`."""

    __slots__ = ("_body", "_calls", "_counts", "_details", "_done", "_events", "_held", "_open", "_reason", "_refusal")

    def __init__(self) -> None:
        self._events = Events()
        self._body: list[bytes] | None = None
        self._held = -1
        self._open: dict[int, _Open] = {}
        self._calls = 0
        self._details = 0
        self._counts = Counts()
        self._reason: str | None = None
        self._refusal: str | None = None
        self._done = False

    def feed(self, data: bytes) -> Sequence[Delta]:
        """The deltas of the events these bytes complete; of a JSON body nothing until its end."""
        if self._done:
            return ()
        if self._held < 0:
            data = data.lstrip(b"\xef\xbb\xbf \t\r\n")
            if not data:
                return ()
            self._held = 0
            self._body = [] if data[:1] == b"{" else None
        out: list[Delta] = []
        if self._body is not None:
            self._body.append(data)
            self._held += len(data)
        else:
            self._read(self._events.feed(data), out)
        if not self._done and (self._events.overflowed or self._held > MAX_EVENT):
            self._fail(out, Failure(FailureKind.MALFORMED, "an event of the stream is too long"))
        return out

    def end(self) -> Sequence[Delta]:
        """What was still open, and `truncated` unless `message_stop` came."""
        if self._done:
            return ()
        out: list[Delta] = []
        if self._body is not None:
            self._whole(b"".join(self._body), out)
        else:
            # A last event cut in the middle is a cut stream, not a malformed one.
            self._read([event for event in self._events.end() if _reads(event[1])], out)
        if not self._done:
            self._fail(out, Failure(FailureKind.TRUNCATED, "the stream ended before `message_stop`"))
        return out

    def _read(self, events: list[tuple[str, bytes]], out: list[Delta]) -> None:
        for _, data in events:
            if self._done:
                return
            try:
                kind = _typed.decode(data).type
                if kind in _HANDLERS:
                    _HANDLERS[kind](self, data, out)
            except _NOT_JSON as fault:
                text = f"an event of the stream cannot be read: {fault}"
                self._fail(out, Failure(FailureKind.MALFORMED, text))

    def _on_start(self, data: bytes, out: list[Delta]) -> None:
        counts = _started.decode(data).message.usage
        if counts is not None:
            # Said at once: a stream that breaks off has used its input.
            self._counts = merged(self._counts, counts)
            out.append(Delta(usage=usage(self._counts)))

    def _on_block_start(self, data: bytes, out: list[Delta]) -> None:
        event = _block_start.decode(data)
        piece = event.content_block
        if piece.type in _FOLLOWED:
            opened = self._open[event.index] = _Open(piece, self._calls, [], [])
        if piece.type == "text" and (text := word(piece.text)):
            out.append(Delta(content=True, text=text))
        elif piece.type == "thinking" and (text := word(piece.thinking)):
            opened.said.append(text)
            out.append(Delta(content=True, reasoning=text))
        elif piece.type == "tool_use":
            call = ToolCall(word(piece.id), function=FunctionCall(word(piece.name), ""), index=self._calls)
            self._calls += 1
            out.append(Delta(content=True, tool_calls=[call]))

    def _on_block_delta(self, data: bytes, out: list[Delta]) -> None:
        event = _block_delta.decode(data)
        delta, opened = event.delta, self._open.get(event.index)
        if delta.type == "text_delta":
            if text := word(delta.text):
                out.append(Delta(content=True, text=text))
        elif opened is None:
            return
        elif delta.type == "thinking_delta":
            if text := word(delta.thinking):
                opened.said.append(text)
                out.append(Delta(content=True, reasoning=text))
        elif delta.type == "signature_delta":
            opened.signature.append(word(delta.signature))
        elif delta.type == "input_json_delta" and (text := word(delta.partial_json)):
            opened.said.append(text)
            out.append(_fragment(opened.call, text))

    def _on_block_stop(self, data: bytes, out: list[Delta]) -> None:
        opened = self._open.pop(_block_stop.decode(data).index, None)
        if opened is None:
            return
        piece = opened.piece
        if piece.type == "tool_use" and not opened.said:
            # Without fragments the input is what the start held: whole, or the empty object.
            out.append(_fragment(opened.call, arguments(piece.input)))
        elif piece.type in ("thinking", "redacted_thinking"):
            signature = "".join(opened.signature) or piece.signature
            whole = Piece(piece.type, thinking="".join(opened.said), signature=signature, data=piece.data)
            if (detail := thought(whole, self._details)) is not None:
                self._details += 1
                out.append(Delta(details=[detail]))

    def _on_delta(self, data: bytes, out: list[Delta]) -> None:
        event = _message_delta.decode(data)
        self._reason = event.delta.stop_reason or self._reason
        if event.delta.stop_details is not None:
            self._refusal = event.delta.stop_details.explanation
        if event.usage is not None:
            self._counts = merged(self._counts, event.usage)

    def _on_stop(self, data: bytes, out: list[Delta]) -> None:
        self._done = True
        # A refusal's explanation is no answer token: with nothing before it another model may still be asked.
        refusal = self._refusal if self._reason == "refusal" else None
        out.append(Delta(refusal=refusal, finish_reason=finish(self._reason), usage=self._usage()))

    def _on_error(self, data: bytes, out: list[Delta]) -> None:
        self._fail(out, errored(_error.decode(data).error, None, FailureKind.STREAM_ERROR))

    def _whole(self, body: bytes, out: list[Delta]) -> None:
        if not _reads(body):
            return
        answer = completion(body)
        if isinstance(answer, Failure):
            self._fail(out, answer)
            return
        self._done = True
        choice = answer.choices[0]
        message = choice.message
        for index, call in enumerate(message.tool_calls or ()):
            call.index = index
        if message.reasoning_content or message.reasoning_details:
            thoughts, details = message.reasoning_content, message.reasoning_details
            out.append(Delta(content=bool(thoughts), reasoning=thoughts, details=details))
        if isinstance(message.content, str) and message.content:
            out.append(Delta(content=True, text=message.content))
        if message.tool_calls:
            out.append(Delta(content=True, tool_calls=message.tool_calls))
        out.append(Delta(refusal=message.refusal, finish_reason=choice.finish_reason, usage=answer.usage))

    def _usage(self) -> Usage | None:
        return None if self._counts == Counts() else usage(self._counts)

    def _fail(self, out: list[Delta], failure: Failure) -> None:
        self._done = True
        self._body = None
        self._open.clear()
        out.append(Delta(failure=failure, usage=self._usage()))


_HANDLERS = {
    "message_start": Reader._on_start,
    "content_block_start": Reader._on_block_start,
    "content_block_delta": Reader._on_block_delta,
    "content_block_stop": Reader._on_block_stop,
    "message_delta": Reader._on_delta,
    "message_stop": Reader._on_stop,
    "error": Reader._on_error,
}


def _fragment(index: int, text: str) -> Delta:
    return Delta(content=True, tool_calls=[ToolCall(function=FunctionCall(arguments=text), index=index)])


def _reads(data: bytes) -> bool:
    """Whether these bytes are JSON to their end."""
    try:
        msgspec.json.decode(data, type=msgspec.Raw)
    except _NOT_JSON:
        return False
    return True
