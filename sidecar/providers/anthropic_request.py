"""A chat in the body of /v1/messages, with the names of what does not fit."""

from typing import Any

import msgspec

from ..chat import ChatRequest, NamedTool, ResponseFormat, Tool
from .anthropic_messages import Transcript
from .anthropic_models import Traits, traits
from .anthropic_schema import Closed
from .anthropic_wire import Body, Declared, DocumentBlock, TextBlock, ToolResultBlock
from .base import Target, accepted

_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh", "max": "max"}
# The share of the output limit that may be thought: OpenRouter's table for models that know budgets only.
_SHARES = {"minimal": 0.1, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95, "max": 0.95}
_LEAST_BUDGET = 1024
_MOST_BUDGET = 32_000
_MAX_USER = 512


class Draft:
    """One request in the making: the body so far and the names of what is not in it, each once."""

    def __init__(self, chat: ChatRequest, target: Target) -> None:
        transcript = Transcript(chat.messages)
        self.lost = transcript.lost
        self._transcript = transcript
        # An output limit is not optional on this wire.
        self._chat, refused = accepted(chat, target.rejects - {"max_tokens", "max_completion_tokens"})
        self.lost.update(dict.fromkeys(refused))
        self._traits: Traits = traits(target.model)
        self._target = target
        self._system = transcript.system
        self.body = Body(target.model, self._limit(), transcript.turns, stream=True if chat.stream else None)
        self._thinking()
        self._sampling()
        self._tools()
        self._format()
        self._rest()
        if self._system:
            plain = len(self._system) == 1 and self._system[0].cache_control is None
            self.body.system = self._system[0].text if plain else self._system

    @property
    def files(self) -> bool:
        """Whether a document is one that the provider stores."""
        return any(_stored(block) for turn in self.body.messages for block in turn.content)

    def _limit(self) -> int:
        asked = self._chat.output_limit
        if asked is not None and asked > self._target.max_output:
            # The API refuses more than the model can give; a fallback to a smaller model must not fail for it.
            self.lost["max_tokens"] = None
            return self._target.max_output
        return self._target.max_output if asked is None else asked

    def _thinking(self) -> None:
        effort = self._chat.reasoning_effort
        if effort is None:
            return
        if effort == "none":
            self._no_thinking()
            return
        known = _EFFORTS.get(effort)
        if known is None or "reasoning" not in self._target.capabilities:
            self.lost["reasoning_effort"] = None
        elif self._traits.adaptive:
            if known == "xhigh" and not self._traits.fine_effort:
                known = "high"
                self.lost["reasoning_effort"] = None
            # Newer models leave the thinking's text out unless asked for it.
            self.body.thinking = {"type": "adaptive", "display": "summarized"}
            self.body.output_config = {"effort": known}
        else:
            self._budget(_SHARES[effort])

    def _no_thinking(self) -> None:
        quiet = self._traits.quiet
        if quiet is None:
            self.body.output_config = {"effort": "low"}
            self.lost["reasoning_effort"] = None
        elif quiet:
            self.body.thinking = {"type": quiet}

    def _budget(self, share: float) -> None:
        limit = self.body.max_tokens
        turns = self._transcript.turns
        continued = bool(turns) and turns[-1].role == "assistant"
        # The budget is part of max_tokens, and the caller's cap on what it pays for stands.
        if limit <= _LEAST_BUDGET or continued or self._transcript.broken_loop():
            self.lost["reasoning_effort"] = None
            return
        budget = min(max(int(limit * share), _LEAST_BUDGET), _MOST_BUDGET)
        self.body.thinking = {"type": "enabled", "budget_tokens": budget}

    @property
    def _thinks(self) -> bool:
        return self.body.thinking is not None and self.body.thinking["type"] in ("adaptive", "enabled")

    def _sampling(self) -> None:
        temperature, top_p = self._chat.temperature, self._chat.top_p
        free = self._traits.sampling and not self._thinks
        if temperature == 1 and top_p is not None and not self._traits.both:
            temperature = None
        if temperature is not None:
            # 1 is the default everywhere: what is left out then is not lost.
            if free:
                self.body.temperature = min(max(temperature, 0.0), 1.0)
            if temperature != (self.body.temperature if free else 1):
                self.lost["temperature"] = None
        if top_p is not None and top_p != 1:
            if free and (self.body.temperature is None or self._traits.both):
                self.body.top_p = top_p
            else:
                self.lost["top_p"] = None

    def _tools(self) -> None:
        chat = self._chat
        declared = [made for tool in chat.tools or () if (made := self._declared(tool)) is not None]
        self.body.tools = declared or None
        if not declared:
            if chat.tool_choice not in (None, "auto", "none"):
                self.lost["tool_choice"] = None
            return
        choice = self._choice()
        if chat.parallel_tool_calls is False and (choice is None or choice["type"] != "none"):
            choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
        self.body.tool_choice = choice

    def _declared(self, tool: Tool) -> Declared | None:
        function = tool.function
        if tool.type != "function" or function is None:
            self.lost["tools"] = None
            return None
        schema = dict(function.parameters or {})
        schema.setdefault("type", "object")
        schema.setdefault("properties", {})
        strict = function.strict is True
        if strict and not self._structured:
            strict = False
            self.lost["tools[].function.strict"] = None
        if strict:
            closed = Closed(schema)
            schema = closed.schema
            if closed.lossy:
                self.lost["tools[].function.parameters"] = None
        return Declared(function.name, schema, function.description, True if strict else None)

    def _choice(self) -> dict[str, Any] | None:
        choice = self._chat.tool_choice
        if choice is None:
            return None
        if choice in ("auto", "none"):
            return {"type": choice}
        name = choice.function.name if isinstance(choice, NamedTool) and choice.function else None
        forced: dict[str, Any] | None = {"type": "tool", "name": name} if name else None
        if choice == "required":
            forced = {"type": "any"}
        manual = self.body.thinking is not None and self.body.thinking["type"] == "enabled"
        if forced is None or manual or not self._traits.forced:
            self.lost["tool_choice"] = None
            return {"type": "auto"}
        return forced

    @property
    def _structured(self) -> bool:
        return self._traits.structured or "json_schema" in self._target.capabilities

    def _format(self) -> None:
        form = self._chat.response_format
        if form is None or form.type == "text":
            return
        schema = form.json_schema.schema if form.json_schema is not None else None
        if form.type == "json_schema" and schema is not None and self._structured:
            closed = Closed(schema)
            if closed.lossy:
                self.lost["response_format.json_schema"] = None
            output = {"type": "json_schema", "schema": closed.schema}
            self.body.output_config = {**(self.body.output_config or {}), "format": output}
            return
        self.lost["response_format"] = None
        if form.type in ("json_object", "json_schema"):
            self._system = [*self._system, TextBlock(_instruction(form))]

    def _rest(self) -> None:
        chat = self._chat
        stops = chat.stops
        kept = [stop for stop in stops if stop.strip()]
        self.body.stop_sequences = kept or None
        user = chat.user
        if user and len(user) <= _MAX_USER:
            self.body.metadata = {"user_id": user}
        unsaid = {
            "stop": len(kept) < len(stops),
            "user": bool(user) and self.body.metadata is None,
            "n": chat.n is not None and chat.n > 1,
            "seed": chat.seed is not None,
            "presence_penalty": bool(chat.presence_penalty),
            "frequency_penalty": bool(chat.frequency_penalty),
            "logprobs": bool(chat.logprobs),
            "top_logprobs": chat.top_logprobs is not None,
        }
        self.lost.update(dict.fromkeys(name for name, lost in unsaid.items() if lost))


def _instruction(form: ResponseFormat) -> str:
    """What a model without constrained decoding is told. The API has no mode for `any JSON object` at all."""
    text = "Answer with one valid JSON object and nothing else: no prose, no code fence."
    if form.json_schema is None or form.json_schema.schema is None:
        return text
    schema = msgspec.json.encode(form.json_schema.schema).decode()
    return f"{text} It must conform to this JSON Schema:\n{schema}"


def _stored(block: object) -> bool:
    if isinstance(block, ToolResultBlock) and isinstance(block.content, list):
        return any(_stored(inner) for inner in block.content)
    return isinstance(block, DocumentBlock) and block.source.type == "file"
