"""The emulator's prose: plausible, plainly not a model's, and the same for the same conversation."""

import re
from itertools import pairwise

import msgspec

from .draw import Draw
from .prompt import Prompt

_OPENERS = (
    "Here is a short answer about {topic}.",
    "Let us look at {topic}.",
    "In brief, this is what matters about {topic}.",
    "A few words on {topic}.",
)
_SENTENCES = (
    "The first thing to settle is what exactly is being asked.",
    "Most of the difficulty disappears once the parts are named.",
    "A small example usually shows more than a long definition.",
    "The common case is simple, and the rare one deserves a test.",
    "It helps to measure before changing anything.",
    "There are two ways to go, and the plain one is nearly always enough.",
    "What looks like one question is often two.",
    "The figures should be checked against a second source.",
    "Nothing here depends on the order of the steps.",
    "If in doubt, start with the smallest version that works.",
    "The trade-off is between speed now and ease later.",
    "Careful readers will notice that one assumption is left open.",
)
_THOUGHTS = (
    "The question is clear enough to answer directly.",
    "I should name the parts first and then put them together.",
    "One reading of this is more likely than the others.",
    "A short answer will do here.",
    "I will check the assumption before relying on it.",
)
_WORD = re.compile(r"\s*\S+|\s+$")
_QUOTED = 400
_TOPIC = 60
_MAX_SENTENCES = 12

_encode = msgspec.json.Encoder().encode


def answer(prompt: Prompt, draw: Draw) -> str:
    """The text of an answer: what the tools gave back, what was seen, then a few sentences on the question."""
    said: list[str] = []
    for result in prompt.results:
        said.append(f'The tool {result.name or "you ran"} returned: "{result.text[:_QUOTED]}".')
    if prompt.images:
        said.append(f"I can see {prompt.images} image{'s' if prompt.images > 1 else ''}.")
    said.append(draw.pick(_OPENERS).format(topic=_topic(prompt.asked)))
    # Longer questions get longer answers, from two sentences up to a dozen.
    count = min(_MAX_SENTENCES, 2 + draw.below(3) + len(prompt.asked) // 300)
    start, step = draw.below(len(_SENTENCES)), draw.pick((1, 5, 7, 11))
    said.extend(_SENTENCES[(start + step * place) % len(_SENTENCES)] for place in range(count))
    return " ".join(said)


def thoughts(prompt: Prompt, draw: Draw) -> str:
    """The text of the thinking before an answer."""
    start = draw.below(len(_THOUGHTS))
    picked = (_THOUGHTS[(start + place) % len(_THOUGHTS)] for place in range(2 + draw.below(2)))
    return " ".join((f"This is about {_topic(prompt.asked)}.", *picked))


def loose_json(text: str) -> str:
    """JSON mode without a schema."""
    return _encode({"answer": text, "words": len(text.split())}).decode()


def pieces(text: str, count: int | None) -> list[str]:
    """The chunks of a stream: so many equal ones where a script says so, otherwise word by word."""
    if not text:
        return []
    if count is None:
        return _WORD.findall(text)
    count = min(count, len(text))
    cuts = [len(text) * place // count for place in range(count + 1)]
    return [text[start:end] for start, end in pairwise(cuts)]


def _topic(asked: str) -> str:
    words = " ".join(asked[: 4 * _TOPIC].split())
    if not words:
        return "this"
    return f'"{words}"' if len(words) <= _TOPIC else f'"{words[:_TOPIC].rsplit(" ", 1)[0]} ..."'
