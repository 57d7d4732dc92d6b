"""Request -> features: the vocabulary that rules in YAML may use, and what the decision is made from.

Pure and bounded: text is capped before anything looks at it, so a large prompt costs no more than a small one.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from .chat import ChatRequest, Message

TEXT_LIMIT = 4000
"""Characters of the last user message that rules and patterns see (a regex over 32 kB costs 39 ms)."""

_IMAGE_TOKENS = {"low": 85, "high": 1105}
_IMAGE_DEFAULT = 1105
_DOCUMENT_TOKENS = 3000
_AUDIO_TOKENS = 1000
_MESSAGE_TOKENS = 4
_CODE_MARKS = (
    "```",
    "def ",
    "class ",
    "import ",
    "function ",
    "#include",
    "SELECT ",
    "</",
    "=> ",
    "();",
    "{\n",
    "Traceback",
)


class Features(Struct):
    """What is known of one request before a model is chosen. Every field is a name in CEL rules.

    `tokens` estimates all input, tools and images included; `last_tokens` the last user message.
    """

    model: str = ""
    tokens: int = 0
    system_tokens: int = 0
    last_tokens: int = 0
    max_tokens: int = 0
    messages: int = 0
    turns: int = 0
    tools: int = 0
    tool_results: int = 0
    images: int = 0
    documents: int = 0
    audio: int = 0
    has_code: bool = False
    json_object: bool = False
    json_schema: bool = False
    reasoning: bool = False
    reasoning_effort: str = ""
    stream: bool = False
    choices: int = 1
    temperature: float = 1.0
    text: str = ""
    task: str = ""
    strategy: str = ""
    conversation: str = ""
    tenant: str = ""
    key: str = ""
    user: str = ""
    headers: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    claims: Mapping[str, Any] = {}


FEATURES: Mapping[str, type] = {
    f.name: dict if f.name in ("headers", "labels", "claims") else f.type for f in msgspec.structs.fields(Features)
}
"""Name -> Python type of each feature: what compiling a rule checks names and types against."""


def estimate(text: str) -> int:
    """Tokens of a text, roughly: UTF-8 bytes over four holds within about 25 % for prose in most scripts."""
    return (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))) // 4 + 1


def extract(chat: ChatRequest, headers: Mapping[str, str]) -> Features:
    """Features of a parsed request. `headers` have lower-case names; identity is added by the authenticate stage."""
    features = Features(chat.model)
    features.headers = headers
    features.messages = len(chat.messages)
    features.max_tokens = chat.output_limit or 0
    # Fields that most requests leave out are looked at, not copied.
    if chat.stream:
        features.stream = True
    if chat.n is not None:
        features.choices = chat.n or 1
    if chat.reasoning_effort is not None:
        features.reasoning_effort = chat.reasoning_effort
        features.reasoning = chat.reasoning_effort != "none"
    if chat.temperature is not None:
        features.temperature = chat.temperature
    if chat.user is not None:
        features.user = chat.user
    if "x-sidecar-task" in headers:
        features.task = headers["x-sidecar-task"]
    if "x-sidecar-strategy" in headers:
        features.strategy = headers["x-sidecar-strategy"]
    if "x-sidecar-conversation" in headers:
        features.conversation = headers["x-sidecar-conversation"]
    _count_messages(features, chat.messages)
    if chat.tools:
        features.tools = len(chat.tools)
        features.tokens += len(msgspec.json.encode(chat.tools)) // 4
    wanted = chat.response_format
    if wanted is not None:
        features.json_object = wanted.type == "json_object"
        features.json_schema = wanted.type == "json_schema"
        if wanted.json_schema is not None:
            features.tokens += len(msgspec.json.encode(wanted.json_schema)) // 4
    text = features.text
    for mark in _CODE_MARKS:
        if mark in text:
            features.has_code = True
            break
    return features


def needs(features: Features) -> frozenset[str]:
    """The capabilities without which a model cannot answer this request."""
    wanted = []
    if features.tools or features.tool_results:
        wanted.append("tools")
    if features.images:
        wanted.append("vision")
    if features.json_schema:
        wanted.append("json_schema")
    elif features.json_object:
        wanted.append("json_object")
    if features.audio:
        wanted.append("audio")
    if features.documents:
        wanted.append("documents")
    return frozenset(wanted) if wanted else _NOTHING


_NOTHING: frozenset[str] = frozenset()


def _count_messages(features: Features, messages: list[Message]) -> None:
    total = 0
    for message in messages:
        content = message.content
        if isinstance(content, str):
            tokens = estimate(content)
            text = content
        elif content is None:
            tokens, text = 0, ""
        else:
            tokens, text = _count_parts(features, message)
        if message.tool_calls:
            tokens += sum(len(c.function.arguments) // 4 + 8 for c in message.tool_calls if c.function)
        if message.reasoning_content:
            tokens += estimate(message.reasoning_content)
        total += tokens + _MESSAGE_TOKENS
        role = message.role
        if role == "user":
            features.turns += 1
            features.last_tokens = tokens
            features.text = text
        elif role in ("system", "developer"):
            features.system_tokens += tokens
        elif role in ("tool", "function"):
            features.tool_results += 1
    if len(features.text) > TEXT_LIMIT:
        features.text = features.text[:TEXT_LIMIT]
    features.tokens = total


def _count_parts(features: Features, message: Message) -> tuple[int, str]:
    tokens, texts = 0, []
    for part in message.content if isinstance(message.content, list) else ():
        if part.text:
            tokens += estimate(part.text)
            texts.append(part.text)
        elif part.image_url is not None:
            features.images += 1
            detail = None if isinstance(part.image_url, str) else part.image_url.detail
            tokens += _IMAGE_TOKENS.get(detail or "", _IMAGE_DEFAULT)
        elif part.input_audio is not None:
            features.audio += 1
            tokens += _AUDIO_TOKENS
        elif part.file is not None:
            features.documents += 1
            tokens += _DOCUMENT_TOKENS
    return tokens, "\n".join(texts)
