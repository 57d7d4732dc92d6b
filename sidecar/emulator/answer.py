"""From a request to its answer: scripted where the script says so, composed otherwise. No clock, no I/O."""

import re
from collections import OrderedDict
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct

from ..spec import seconds
from . import wording
from .draw import Draw
from .instance import instance
from .prompt import Finish, Prompt, Refusal, ToolOffer, tokens
from .script import Reply

_TWO = re.compile(r"\b(two|twice|both|2)\b", re.IGNORECASE)
_MIN_CACHED = 1024
_REMEMBERED = 4096
_NOTHING = Reply()

_encode = msgspec.json.Encoder().encode


class Call(Struct):
    """A tool call. `id` is a bare made-up identifier; each wire puts its own prefix before it."""

    id: str
    name: str
    arguments: dict[str, Any]

    def text(self) -> str:
        """The arguments as JSON text."""
        return _encode(self.arguments).decode()


class Usage(Struct):
    """Tokens of one request. `input` includes `cached` and `written`, `output` includes `reasoning`."""

    input: int
    output: int
    cached: int
    written: int
    reasoning: int


class Answer(Struct):
    """One choice. `stopped_by` is the stop sequence that ended it. `seed` numbers what is made up for it."""

    seed: int
    text: str
    thinking: str
    calls: list[Call]
    finish: Finish
    stopped_by: str | None = None

    def size(self) -> int:
        """Output tokens of this choice."""
        return tokens(self.text) + tokens(self.thinking) + sum(tokens(one.name + one.text()) + 4 for one in self.calls)


class Turn(Struct):
    """Everything a wire needs to write the answer to one request."""

    prompt: Prompt
    answers: list[Answer]
    usage: Usage
    id: str
    created: int
    chunks: int | None = None
    reasoning_shown: bool = False


class Memory:
    """Which long prefixes were sent before: what a provider's prompt cache would hold. Bounded, without expiry."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def figures(self, prompt: Prompt) -> tuple[int, int]:
        """Tokens read from the cache and tokens written to it."""
        size = tokens(prompt.prefix)
        if size < _MIN_CACHED:
            return 0, 0
        text = "\x1e".join((prompt.provider, prompt.model, prompt.prefix))
        key = blake2b(text.encode(errors="replace"), digest_size=16).digest()
        if key in self._seen:
            self._seen.move_to_end(key)
            return size, 0
        self._seen[key] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        return 0, size if prompt.marked else 0


def compose(prompt: Prompt, reply: Reply | None, memory: Memory, serial: int, now: float) -> Turn:
    """The whole answer. `serial` keeps identifiers apart; the words depend on the conversation alone."""
    script = reply or _NOTHING
    seed = prompt.seed()
    answers = [_answer(prompt, script, seed + place, serial) for place in range(prompt.count)]
    return Turn(
        prompt=prompt,
        answers=answers,
        usage=_usage(prompt, script, answers, memory.figures(prompt)),
        id=Draw(seed ^ serial).identifier(24),
        created=int(now),
        chunks=script.chunks,
        reasoning_shown=prompt.show or script.reasoning is not None,
    )


def delays(reply: Reply | None) -> tuple[float, float]:
    """Seconds before the first byte and before every further chunk."""
    if reply is None:
        return 0.0, 0.0
    return seconds(reply.delay or "0"), seconds(reply.chunk_delay or "0")


def _answer(prompt: Prompt, script: Reply, seed: int, serial: int) -> Answer:
    draw = Draw(seed)
    thinking = script.reasoning
    if thinking is None:
        thinking = wording.thoughts(prompt, draw) if prompt.thinking else ""
    calls = _calls(prompt, script, seed, serial)
    text, stopped_by = _text(prompt, script, draw, bool(calls)), None
    for stop in prompt.stops:
        if stop and stop in text:
            text, stopped_by = text[: text.index(stop)], stop
    finish: Finish = "tool_calls" if calls else "stop"
    if prompt.limit is not None:
        # Thinking is paid from the same limit, so a tight one may leave no text at all, as it does in life.
        room = 4 * max(0, prompt.limit - tokens(thinking))
        if len(text) > room:
            text, stopped_by, finish = text[:room], None, "length"
    return Answer(
        seed=seed,
        text=text,
        thinking=thinking,
        calls=calls,
        finish=script.finish or finish,
        stopped_by=None if script.finish else stopped_by,
    )


def _text(prompt: Prompt, script: Reply, draw: Draw, called: bool) -> str:
    if script.text is not None:
        return script.text
    if script.json is not None:
        return _encode(script.json).decode()
    if called:
        return ""
    if prompt.schema is not None:
        return _encode(_made(prompt.schema, draw.number(), "the answer")).decode()
    text = wording.answer(prompt, draw)
    return wording.loose_json(text) if prompt.json else text


def _calls(prompt: Prompt, script: Reply, seed: int, serial: int) -> list[Call]:
    names = Draw(seed ^ serial ^ 0x5CA1AB1E)
    if script.tool_calls:
        return [Call(names.identifier(24), one.name, one.arguments) for one in script.tool_calls]
    if script.text is not None or script.json is not None:
        return []
    return [
        Call(names.identifier(24), tool.name, _arguments(tool, seed + place))
        for place, tool in enumerate(_called(prompt))
    ]


def _called(prompt: Prompt) -> list[ToolOffer]:
    """Which of the offered tools are called, one entry a call."""
    if prompt.choice == "none" or not prompt.tools:
        return []
    wanted: list[ToolOffer]
    if prompt.named is not None:
        wanted = [tool for tool in prompt.tools if tool.name == prompt.named]
    elif prompt.choice == "required":
        wanted = _mentioned(prompt) or prompt.tools[:1]
    else:
        wanted = [] if prompt.results else _mentioned(prompt)
    if len(wanted) == 1 and _TWO.search(prompt.asked):
        wanted = wanted * 2
    return wanted if prompt.parallel else wanted[:1]


def _mentioned(prompt: Prompt) -> list[ToolOffer]:
    asked = prompt.asked.casefold()
    return [tool for tool in prompt.tools if re.search(rf"(?<!\w){re.escape(tool.name.casefold())}(?!\w)", asked)]


def _arguments(tool: ToolOffer, seed: int) -> dict[str, Any]:
    made = _made({"type": "object", **tool.schema}, seed, f"the arguments of {tool.name}")
    return made if isinstance(made, dict) else {}


def _made(schema: dict[str, Any], seed: int, what: str) -> Any:
    try:
        return instance(schema, seed)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError) as fault:
        # A schema may be wrong in any way; said aloud, because silently wrong arguments cost hours.
        raise Refusal(400, f"The emulator cannot make {what} from this schema: {fault}. Script a reply.") from fault


def _usage(prompt: Prompt, script: Reply, answers: list[Answer], cache: tuple[int, int]) -> Usage:
    said = script.usage
    counted = max(prompt.tokens(), sum(cache))
    cached = cache[0] if said is None or said.cached is None else said.cached
    total = max(counted, cached) if said is None or said.input is None else said.input
    output = sum(one.size() for one in answers) if said is None or said.output is None else said.output
    cached = min(cached, total)
    return Usage(
        input=total,
        output=output,
        cached=cached,
        written=min(cache[1], total - cached),
        reasoning=min(output, sum(tokens(one.thinking) for one in answers)),
    )
