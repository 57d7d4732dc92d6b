"""Answers of generateContent and streamGenerateContent as a Completion or as Deltas."""

from collections.abc import Sequence

from ..chat import Choice, Completion, Delta, Failure, FailureKind, Message, Reasoning, ToolCall, Usage
from .google_errors import answered
from .google_parts import Calls, logprobs, signed, usage
from .google_wire import Answer, Candidate, broken, decode, finish
from .sse import MAX_EVENT, Events


def completion(body: bytes) -> Completion | Failure:
    """A whole body as a Completion, or the failure it holds."""
    try:
        answers = decode(body)
    except (ValueError, RecursionError) as fault:
        return Failure(FailureKind.MALFORMED, f"the provider's answer cannot be read: {fault}")
    answer = answers[0] if answers else Answer()
    if answer.error is not None:
        return answered(answer.error, None, FailureKind.SERVER_ERROR)
    candidates = answer.candidates or []
    blocked = answer.prompt_feedback is not None and answer.prompt_feedback.block_reason is not None
    if not candidates and not blocked and answer.usage_metadata is None:
        return Failure(FailureKind.MALFORMED, "the provider's answer has no `candidates`")
    if len(candidates) == 1 and (kind := broken(candidates[0].finish_reason)) is not None:
        return _unusable(candidates[0], kind)
    seed = answer.response_id or body.decode("utf-8", "replace")
    choices = [_choice(candidate, position, seed) for position, candidate in enumerate(candidates)]
    if not choices:
        reason = "content_filter" if blocked else "stop"
        choices = [Choice(Message("assistant"), finish_reason=reason)]
    return Completion(
        usage=usage(answer.usage_metadata),
        id=answer.response_id or "",
        model=(answer.model_version or "").removeprefix("models/"),
        choices=choices,
        finish_reason=choices[0].finish_reason,
        empty=not any(_filled(choice.message) for choice in choices),
    )


def _choice(candidate: Candidate, position: int, seed: str) -> Choice:
    index = candidate.index if candidate.index is not None else position
    calls = Calls(index)
    texts: list[str] = []
    thoughts: list[str] = []
    details: list[Reasoning] = []
    made: list[ToolCall] = []
    parts = (candidate.content.parts if candidate.content is not None else None) or []
    for number, part in enumerate(parts):
        if part.function_call is not None:
            made += calls.take(part.function_call, part.thought_signature, seed)
        elif part.text is not None:
            (thoughts if part.thought else texts).append(part.text)
            details += signed(part, number) or ()
    made += calls.close(seed)
    message = Message(
        "assistant",
        content="".join(texts) if texts else None,
        tool_calls=made or None,
        reasoning_content="".join(thoughts) or None,
        reasoning_details=details or None,
    )
    reason = finish(candidate.finish_reason, bool(made))
    return Choice(message, index, reason, logprobs(candidate.logprobs_result))


def _filled(message: Message) -> bool:
    return bool(message.content or message.tool_calls or message.reasoning_content)


def _unusable(candidate: Candidate, kind: FailureKind) -> Failure:
    reason = candidate.finish_reason or ""
    return Failure(kind, candidate.finish_message or f"the model's answer ended with {reason}", code=reason)


class Reader:
    """Reads one stream: SSE, or one JSON body when the server ignored `alt=sse`.

    Finish reasons are held back to the end: older models send STOP with every chunk, and a call may come after it.
    """

    __slots__ = ("_body", "_calls", "_choices", "_done", "_events", "_finished", "_held", "_parts", "_usage")

    def __init__(self, choices: int = 1) -> None:
        self._choices = choices
        self._events = Events()
        self._body: list[bytes] | None = None
        self._held = -1
        self._calls: dict[int, Calls] = {}
        self._parts: dict[int, int] = {}
        self._finished: dict[int, str] = {}
        self._usage: Usage | None = None
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
            self._body = [] if data[:1] in (b"[", b"{") else None
        out: list[Delta] = []
        if self._body is not None:
            self._body.append(data)
            self._held += len(data)
        else:
            for _, payload in self._events.feed(data):
                self._read(payload, out)
        if self._events.overflowed or self._held > MAX_EVENT:
            self._fail(out, Failure(FailureKind.MALFORMED, "an event of the stream is too long"))
        return out

    def end(self) -> Sequence[Delta]:
        """The held finish reasons with the last usage, or `truncated` when one never came."""
        if self._done:
            return ()
        out: list[Delta] = []
        for payload in [b"".join(self._body)] if self._body else [data for _, data in self._events.end()]:
            self._read(payload, out, whole=False)
        if self._done:
            return out
        if not self._finished or self._calls.keys() - self._finished.keys():
            self._fail(out, Failure(FailureKind.TRUNCATED, "the stream ended before a finish reason"))
            return out
        self._done = True
        for index, reason in sorted(self._finished.items()):
            calls = self._calls.get(index)
            called = calls is not None and calls.count > 0
            out.append(Delta(index=index, finish_reason=finish(reason, called), usage=self._usage))
        return out

    def _read(self, payload: bytes, out: list[Delta], whole: bool = True) -> None:
        if self._done:
            return
        try:
            answers = decode(payload)
        except (ValueError, RecursionError) as fault:
            # What an ended body left over without its delimiter is a cut, not a fault of the sender.
            kind = FailureKind.MALFORMED if whole else FailureKind.TRUNCATED
            self._fail(out, Failure(kind, f"a chunk of the stream cannot be read: {fault}"))
            return
        for answer in answers:
            if not self._done:
                self._answer(answer, payload, out)

    def _answer(self, answer: Answer, payload: bytes, out: list[Delta]) -> None:
        if answer.error is not None:
            self._fail(out, answered(answer.error, None, FailureKind.STREAM_ERROR))
            return
        self._usage = usage(answer.usage_metadata) or self._usage
        if answer.prompt_feedback is not None and answer.prompt_feedback.block_reason is not None:
            self._finished.setdefault(0, "SAFETY")
        seed = answer.response_id or payload.decode("utf-8", "replace")
        first = len(out)
        for position, candidate in enumerate(answer.candidates or ()):
            self._candidate(candidate, position, seed, out)
        if len(out) > first and out[-1].failure is None:
            out[-1].usage = self._usage

    def _candidate(self, candidate: Candidate, position: int, seed: str, out: list[Delta]) -> None:
        index = candidate.index if candidate.index is not None else position
        calls = self._calls.get(index)
        if calls is None:
            calls = self._calls[index] = Calls(index)
        number = self._parts.get(index, 0)
        for part in (candidate.content.parts if candidate.content is not None else None) or ():
            if part.function_call is not None:
                made = calls.take(part.function_call, part.thought_signature, seed)
                if made:
                    out.append(Delta(index=index, content=True, tool_calls=made))
            elif part.text is not None:
                details = signed(part, number)
                if part.text and part.thought:
                    out.append(Delta(index=index, content=True, reasoning=part.text))
                elif part.text or details:
                    text = part.text or None
                    out.append(Delta(index=index, content=bool(text), text=text, details=details))
            number += 1
        self._parts[index] = number
        tokens = logprobs(candidate.logprobs_result)
        if tokens is not None:
            out.append(Delta(index=index, logprobs=tokens))
        if candidate.finish_reason is not None:
            self._finish(candidate, index, seed, out)

    def _finish(self, candidate: Candidate, index: int, seed: str, out: list[Delta]) -> None:
        reason = candidate.finish_reason or ""
        made = self._calls[index].close(seed)
        if made:
            out.append(Delta(index=index, content=True, tool_calls=made))
        kind = broken(reason)
        if kind is not None and self._choices == 1:
            self._fail(out, _unusable(candidate, kind))
        else:
            self._finished[index] = reason

    def _fail(self, out: list[Delta], failure: Failure) -> None:
        self._done = True
        self._body = None
        out.append(Delta(failure=failure, usage=self._usage))
