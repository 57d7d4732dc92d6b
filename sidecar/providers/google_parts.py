"""What Gemini's answers hold, in the neutral types: parts, calls and their ids, usage, log probabilities."""

import re
from hashlib import blake2s
from itertools import pairwise
from typing import Any

import msgspec

from ..chat import FunctionCall, Reasoning, ToolCall, Usage
from .base import service_tier
from .google_wire import AnswerPart, Call, Logprobs, Modality, PartialArg, Token, UsageMetadata

_STEP = re.compile(r"\.([^.\[\]]+)|\[([0-9]{1,6})\]|\['([^']*)'\]")
_FREE = object()
_encode = msgspec.json.Encoder().encode


class Calls:
    """The function calls of one candidate: counts them, names those without an id, joins those sent in pieces."""

    __slots__ = ("_args", "_candidate", "_open", "_signature", "count")

    def __init__(self, candidate: int) -> None:
        self._candidate = candidate
        self.count = 0
        self._open: Call | None = None
        self._signature: str | None = None
        self._args: dict[str, Any] = {}

    def take(self, call: Call, signature: str | None, seed: str) -> list[ToolCall]:
        """The calls that this part completes. `seed` is unique to the answer: clients match results to calls by
        id over a whole conversation, so an index alone would repeat."""
        done: list[ToolCall] = []
        if call.name:
            done = self.close(seed)
            if not call.will_continue and not call.partial_args:
                return [*done, self._whole(call, signature, seed)]
            self._open, self._signature, self._args = call, signature, dict(call.args or {})
        for piece in call.partial_args or ():
            _put(self._args, piece)
        return done if call.will_continue else [*done, *self.close(seed)]

    def close(self, seed: str) -> list[ToolCall]:
        """The call that is still open, if one is."""
        call, self._open = self._open, None
        if call is None:
            return []
        return [self._whole(Call(call.name, self._args, call.id), self._signature, seed)]

    def _whole(self, call: Call, signature: str | None, seed: str) -> ToolCall:
        index = self.count
        self.count += 1
        return ToolCall(
            id=call.id or call_id(seed, self._candidate, index),
            function=FunctionCall(call.name or "", _encode(call.args or {}).decode()),
            index=index,
            extra_content={"google": {"thought_signature": signature}} if signature else None,
        )


def call_id(seed: str, candidate: int, index: int) -> str:
    """An id of letters, digits and underscores, under 40 characters: other providers refuse more."""
    return f"call_{blake2s(seed.encode('utf-8', 'replace'), digest_size=10).hexdigest()}_{candidate}_{index}"


def _put(args: dict[str, Any], piece: PartialArg) -> None:
    """Set one value at its JSON path; the pieces of a string are joined."""
    steps = [int(at) if at else name or quoted for name, at, quoted in _STEP.findall(piece.json_path)]
    node: Any = args
    for step, following in pairwise(steps):
        node = _child(node, step, [] if isinstance(following, int) else {})
    if not steps:
        return
    value: Any = piece.string_value
    if value is None:
        value = piece.number_value if piece.number_value is not None else piece.bool_value
    held = _child(node, steps[-1], _FREE)
    if held is _FREE:
        node[steps[-1]] = value
    elif isinstance(held, str) and isinstance(value, str):
        node[steps[-1]] = held + value


def _child(node: Any, step: str | int, fresh: Any) -> Any:
    """What is at `step`, put there if it was free; None when the path does not fit what is already there."""
    if isinstance(node, dict) and isinstance(step, str):
        return node.setdefault(step, fresh)
    if isinstance(node, list) and isinstance(step, int) and step <= len(node):
        if step == len(node):
            node.append(fresh)
        return node[step]
    return None


def signed(part: AnswerPart, index: int) -> list[Reasoning] | None:
    """The signature of a text part, as a block that must travel back. Calls carry theirs themselves."""
    if part.thought_signature is None or part.thought:
        return None
    return [Reasoning("reasoning.encrypted", data=part.thought_signature, format="google", index=index)]


def usage(wire: UsageMetadata | None) -> Usage | None:
    """Tokens as they are billed, or None when the metadata holds no counts (Vertex's early chunks)."""
    if wire is None or wire.prompt_token_count is None:
        return None
    thoughts = wire.thoughts_token_count or 0
    prompt, cached, said = wire.prompt_tokens_details, wire.cache_tokens_details, wire.candidates_tokens_details
    return Usage(
        input_tokens=wire.prompt_token_count + (wire.tool_use_prompt_token_count or 0),
        output_tokens=(wire.candidates_token_count or 0) + thoughts,
        cached_tokens=wire.cached_content_token_count or 0,
        reasoning_tokens=thoughts,
        audio_input_tokens=max(0, _of("AUDIO", prompt) - _of("AUDIO", cached)),
        audio_output_tokens=_of("AUDIO", said),
        image_input_tokens=max(0, _of("IMAGE", prompt) - _of("IMAGE", cached)),
        image_output_tokens=_of("IMAGE", said),
        cached_audio_tokens=_of("AUDIO", cached),
        service_tier=service_tier(wire.service_tier) or _traffic(wire.traffic_type),
    )


def _of(modality: str, details: list[Modality] | None) -> int:
    return sum(entry.token_count or 0 for entry in details or () if entry.modality == modality)


def _traffic(kind: object) -> str:
    """Vertex's traffic type as a service tier: `ON_DEMAND_FLEX` is flex, `ON_DEMAND` the standard one."""
    prefix = "ON_DEMAND_"
    return service_tier(kind.removeprefix(prefix)) if isinstance(kind, str) and kind.startswith(prefix) else ""


def logprobs(wire: Logprobs | None) -> dict[str, Any] | None:
    """OpenAI's shape: the chosen tokens, each with the likeliest of its step."""
    if wire is None or not wire.chosen_candidates:
        return None
    tops = wire.top_candidates or []
    content = []
    for index, token in enumerate(wire.chosen_candidates):
        likely = (tops[index].candidates or []) if index < len(tops) else []
        content.append({**_token(token), "top_logprobs": [_token(other) for other in likely]})
    return {"content": content, "refusal": None}


def _token(token: Token) -> dict[str, Any]:
    return {
        "token": token.token,
        "logprob": token.log_probability or 0.0,
        "bytes": list(token.token.encode("utf-8", "replace")),
    }
