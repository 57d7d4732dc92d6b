"""A built-in corpus: about what apps ask, made up from a seed. The same requests on every machine and version."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from ..cases.request import asked
from ..cases.spec import Request
from ..engine.trial import Asked

SIZE = 200

_QUESTIONS = {
    "English": "What is the capital of Portugal, and since when?",
    "German": "Wie lange braucht das Licht von der Sonne zur Erde?",
    "French": "Quelle est la différence entre un avocat et un notaire ?",
    "Portuguese": "Como faço para devolver uma encomenda?",
    "Japanese": "この請求書の支払期限はいつですか。",
    "Arabic": "ما هي أوقات العمل في المكتب؟",
    "Hindi": "मेरा पासवर्ड कैसे बदलें?",
    "Chinese": "请解释一下这个错误是什么意思。",
}
_TOPICS = {
    "question": "{question}",
    "summary": "Summarise the following text in three sentences. {question}",
    "translation": "Translate into English: {question}",
    "code": "Fix this function:\n```python\ndef mean(xs):\n    return sum(xs)\n```\n{question}",
    "design": "Find the root cause and compare the trade-offs. {question}",
    "proof": "Prove that there are infinitely many primes. {question}",
    "extraction": "Extract names, dates and amounts. {question}",
}
_TASKS = {"translation": "translate", "extraction": "extract", "summary": "summarise"}
_SIZES = ((45, 0), (25, 300), (15, 2_500), (9, 12_000), (4, 45_000), (2, 150_000))
"""Weight, and about how many tokens are in the last message, or before it."""
_TOPIC_WEIGHTS = ((40, "question"), (15, "summary"), (10, "translation"), (15, "code"), (8, "design"), (4, "proof"),
                  (8, "extraction"))  # fmt: skip
_LANGUAGE_WEIGHTS = ((50, "English"), *((7, name) for name in _QUESTIONS if name != "English"))
_SHAPES = ((62, "plain"), (14, "tools"), (6, "agent"), (8, "image"), (10, "schema"))
_SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}


def sample() -> Iterator[tuple[str, Asked]]:
    """Each request with a few words on what it is."""
    for number in range(SIZE):
        topic, language = _drawn(number, "topic", _TOPIC_WEIGHTS), _drawn(number, "language", _LANGUAGE_WEIGHTS)
        shape, size = _drawn(number, "shape", _SHAPES), _drawn(number, "size", _SIZES)
        prompt = _TOPICS[topic].format(question=_QUESTIONS[language])
        if _chance(number, "tagged", 25) and topic in _TASKS:
            headers = {"x-sidecar-task": _TASKS[topic]}
        else:
            headers = {"x-sidecar-task": "legal"} if _chance(number, "legal", 3) else {}
        pasted = shape != "image" and _chance(number, "pasted", 60)
        messages, body = _shaped(shape, prompt)
        if _chance(number, "thinks", 4):
            body["reasoning_effort"] = "high"
        written = Request(
            messages=messages,
            tools={"tools": 3, "agent": 10}.get(shape, 0),
            stream=_chance(number, "stream", 60),
            max_tokens=1000 if _chance(number, "bounded", 20) else None,
            headers=headers,
            body=body,
            last_tokens=size if size and pasted else None,
            tokens=size + 1_300 if size and not pasted else None,
        )
        what = topic if shape == "plain" else f"{topic}, {shape}"
        yield f"sample {number + 1}: {what}, {language}" + (f", {size:,} tokens" if size else ""), asked(written)


def _shaped(shape: str, prompt: str) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """The conversation, and further fields of the body."""
    if shape == "image":
        image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
        return ({"role": "user", "content": [{"type": "text", "text": prompt}, image]},), {}
    user = {"role": "user", "content": prompt}
    if shape == "schema":
        wanted = {"type": "json_schema", "json_schema": {"name": "answer", "schema": _SCHEMA}}
        return (user,), {"response_format": wanted}
    if shape == "agent":
        calls = [{"id": f"c{n}", "type": "function", "function": _CALL} for n in range(3)]
        results = [{"role": "tool", "tool_call_id": f"c{n}", "content": "done"} for n in range(3)]
        return (user, {"role": "assistant", "content": None, "tool_calls": calls}, *results), {}
    return (user,), {}


_CALL: Mapping[str, str] = {"name": "tool_1", "arguments": "{}"}


def _number(number: int, what: str) -> int:
    """0 to 99, the same for ever."""
    return int.from_bytes(blake2b(f"{number} {what}".encode(), digest_size=4).digest(), "big") % 100


def _chance(number: int, what: str, percent: int) -> bool:
    return _number(number, what) < percent


def _drawn(number: int, what: str, options: Sequence[tuple[int, Any]]) -> Any:
    """One of the options, by weight; the weights add up to about 100."""
    left = _number(number, what)
    for weight, option in options:
        left -= weight
        if left < 0:
            return option
    return options[0][1]
