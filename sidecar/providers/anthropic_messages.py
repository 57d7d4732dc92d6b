"""A chat's messages as Anthropic's system prompt and alternating turns."""

import re
from typing import Any

import msgspec
from msgspec import Raw

from ..chat import FunctionCall, Message, Part, Reasoning
from .anthropic_media import file, image
from .anthropic_wire import (
    Block,
    Content,
    RedactedBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
    Turn,
)

FORMAT = "anthropic"
"""`Reasoning.format` of thinking that this API signed."""

_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")
_object = msgspec.json.Decoder(dict[str, Raw])
_encode = msgspec.json.Encoder().encode
_SYSTEM = ("system", "developer")


class Transcript:
    """The messages of one chat in Anthropic's shape; `lost` names what is not in it, each name once."""

    def __init__(self, messages: list[Message]) -> None:
        self.system: list[TextBlock] = []
        self.turns: list[Turn] = []
        self.lost: dict[str, None] = {}
        self._open: list[tuple[str, str]] = []
        for position, message in enumerate(messages):
            self._add(position, message)
        self._finish()

    def broken_loop(self) -> bool:
        """True when the API would miss a thinking block: manual thinking wants the turns since the user's last
        words to start with one, and what another model or an unsigned history said has none."""
        calls = False
        for turn in reversed(self.turns):
            if turn.role == "user":
                if not isinstance(turn.content[0], ToolResultBlock):
                    break
            elif isinstance(turn.content[0], ThinkingBlock | RedactedBlock):
                return False
            else:
                calls = True
        return calls

    def _add(self, position: int, message: Message) -> None:
        role = message.role
        if message.name and role != "function":
            self.lost["name"] = None
        if role in _SYSTEM:
            if self.turns:
                self.lost[f"messages[{position}].role:system position"] = None
            blocks = self._content(message)
            self.system += [block for block in blocks if isinstance(block, TextBlock)]
            if not all(isinstance(block, TextBlock) for block in blocks):
                self.lost["messages[].content:system media"] = None
        elif role == "assistant":
            self._assistant(position, message)
        elif role in ("tool", "function"):
            self._result(message)
        else:
            self._extend("user", list(self._content(message)))

    def _assistant(self, position: int, message: Message) -> None:
        blocks: list[Block] = list(self._signed(message))
        blocks += [block for block in self._content(message) if self._is_text(block)]
        if message.refusal and message.refusal.strip():
            blocks.append(TextBlock(message.refusal))
        for number, call in enumerate(message.tool_calls or ()):
            if call.function is None:
                self.lost["tool_calls"] = None
                continue
            blocks.append(self._call(call.id or f"call_{position}_{number}", call.function))
        if message.function_call is not None:
            blocks.append(self._call(f"call_{position}", message.function_call))
        self._extend("assistant", blocks)

    def _is_text(self, block: Content) -> bool:
        if isinstance(block, TextBlock):
            return True
        # The API takes images and documents from users and tools only.
        self.lost["messages[].content:assistant media"] = None
        return False

    def _signed(self, message: Message) -> list[ThinkingBlock | RedactedBlock]:
        """The thinking that goes back, unchanged. Another provider's, or one without its signature, never does."""
        blocks: list[ThinkingBlock | RedactedBlock] = []
        details: list[Reasoning] = message.reasoning_details or []
        for detail in details:
            if detail.format == FORMAT and detail.type == "reasoning.text" and detail.signature:
                blocks.append(ThinkingBlock(detail.text or "", detail.signature))
            elif detail.format == FORMAT and detail.type == "reasoning.encrypted" and detail.data:
                blocks.append(RedactedBlock(detail.data))
            else:
                self.lost["reasoning_details"] = None
        if message.reasoning_content and not details:
            self.lost["reasoning_content"] = None
        return blocks

    def _call(self, call_id: str, function: FunctionCall) -> ToolUseBlock:
        self._open.append((call_id, function.name))
        return ToolUseBlock(_safe(call_id), function.name, self._arguments(function.arguments))

    def _arguments(self, text: str) -> Raw:
        if not text.strip():
            return Raw(b"{}")
        try:
            _object.decode(text)
        except (msgspec.DecodeError, RecursionError):
            # Anthropic's own advice for what a model wrote and no parser reads: wrapped, under this name.
            self.lost["tool_calls.function.arguments"] = None
            return Raw(_encode({"INVALID_JSON": text}))
        return Raw(text.encode())

    def _result(self, message: Message) -> None:
        call_id = self._answered(message)
        cache: dict[str, Any] | None = None
        content: str | list[Content] | None
        if isinstance(message.content, list):
            content = self._content(message) or None
            if isinstance(content, list) and content[-1].cache_control is not None:
                # A result is cached as a whole: the mark belongs on the block itself.
                cache, content[-1].cache_control = content[-1].cache_control, None
        else:
            content = message.content or None
        self._extend("user", [ToolResultBlock(_safe(call_id), content, cache)])

    def _answered(self, message: Message) -> str:
        """The id of the call a result belongs to; a legacy `function` message knows only the name."""
        wanted = message.tool_call_id
        for known in self._open:
            if known[0] == wanted or (not wanted and message.name in (None, known[1])):
                self._open.remove(known)
                return known[0]
        return wanted or "call"

    def _content(self, message: Message) -> list[Content]:
        content = message.content
        if content is None:
            return []
        if isinstance(content, str):
            return [TextBlock(content)] if content.strip() else []
        return [block for part in content if (block := self._part(part)) is not None]

    def _part(self, part: Part) -> Content | None:
        if part.type in ("text", "refusal"):
            text = part.text if part.type == "text" else part.refusal
            # The API refuses blank text, and blank text says nothing.
            return TextBlock(text, part.cache_control) if text and text.strip() else None
        block: Content | None = None
        name = "messages[].content"
        if part.type == "image_url":
            block, name = image(part), "image_url"
        elif part.type == "file":
            block, name = file(part), "file"
        elif part.type == "input_audio":
            name = "input_audio"
        if block is None:
            self.lost[name] = None
        return block

    def _extend(self, role: str, blocks: list[Block]) -> None:
        if not blocks:
            return
        if not self.turns or self.turns[-1].role != role:
            self.turns.append(Turn(role, blocks))
            return
        content = self.turns[-1].content
        if isinstance(blocks[0], ToolResultBlock):
            # Results must come before anything else the turn says.
            results = sum(isinstance(block, ToolResultBlock) for block in content)
            content[results:results] = blocks
        else:
            content += blocks

    def _finish(self) -> None:
        if not self.turns and self.system:
            # The API wants at least one turn; OpenAI's takes a system prompt alone.
            self.turns.append(Turn("user", list(self.system)))
            self.system = []
            self.lost["messages[].role:system only"] = None
        if self.turns and self.turns[-1].role == "assistant":
            last = self.turns[-1].content[-1]
            if isinstance(last, TextBlock):
                # A turn to be continued must not end in white space.
                last.text = last.text.rstrip()


def _safe(call_id: str) -> str:
    """An id in the API's alphabet: other providers' ids hold dots and colons."""
    return _UNSAFE.sub("_", call_id)
