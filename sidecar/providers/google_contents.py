"""Messages in Gemini's shape: turns that alternate, results named after their call, signatures where they were."""

import re
from base64 import b64encode
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import msgspec

from ..chat import ChatRequest, FunctionCall, Message, ToolCall
from ..chat import Part as ChatPart
from .google_wire import DUMMY_SIGNATURE, Blob, Call, Content, FileData, Part, Result

_GENERATION = re.compile(r"gemini-(\d+)")

# Not the mimetypes module: it reads the machine's own tables from disk.
_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
    "heif": "image/heif",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/md",
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
    "wav": "audio/wav",
    "mp3": "audio/mp3",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
}

_object = msgspec.json.Decoder(dict[str, Any])


def generation(model: str) -> int:
    """Gemini's major version; the moving `-latest` names are at 3, everything else is 0."""
    found = _GENERATION.search(model)
    if found is not None:
        return int(found[1])
    return 3 if model.startswith("gemini-") and model.endswith("-latest") else 0


class Contents:
    """Gathers one conversation: the system instruction, the turns, and what could not be carried."""

    __slots__ = ("_names", "lost", "system", "turns")

    def __init__(self, chat: ChatRequest) -> None:
        self.system: list[Part] = []
        self.turns: list[Content] = []
        self.lost: list[str] = []
        self._names: dict[str, str] = {}
        for message in chat.messages:
            self._add(message)
        if not self.turns and self.system:
            # Gemini refuses a request without contents; OpenAI answers a lone system message.
            self.turns, self.system = [Content(self.system, "user")], []

    def sign(self, model: str) -> None:
        """Fill in the documented dummy where Gemini 3 would refuse the call for want of a signature."""
        if generation(model) < 3:
            return
        for turn in self.turns:
            first = next((part for part in turn.parts if part.function_call is not None), None)
            if first is not None and first.thought_signature is None:
                first.thought_signature = DUMMY_SIGNATURE
                self.lost.append("thought_signature")

    def _add(self, message: Message) -> None:
        if message.role in ("tool", "function"):
            self._turn("user", self._result(message))
            return
        if message.name:
            self.lost.append("name")
        if message.role == "assistant":
            self._turn("model", self._assistant(message))
        elif message.role in ("system", "developer"):
            for part in self._parts(message.content):
                if part.text is None:
                    self.lost.append("system_media")
                else:
                    self.system.append(part)
        else:
            self._turn("user", self._parts(message.content))

    def _turn(self, role: str, parts: list[Part]) -> None:
        if not parts:
            return
        if self.turns and self.turns[-1].role == role:
            self.turns[-1].parts.extend(parts)
        else:
            self.turns.append(Content(parts, role))

    def _assistant(self, message: Message) -> list[Part]:
        parts = self._parts(message.content)
        if message.refusal:
            parts.append(Part(text=message.refusal))
        self._sign_text(message, parts)
        for call in message.tool_calls or ():
            parts.append(self._call(call))
        if message.function_call is not None:
            parts.append(self._call(ToolCall(function=message.function_call)))
        return parts

    def _sign_text(self, message: Message, parts: list[Part]) -> None:
        """Google signs the last part of an answer: the signature goes back on the last text."""
        details = message.reasoning_details
        if not details:
            return
        own = [detail.data for detail in details if detail.format == "google" and detail.data]
        if len(own) != len(details) or len(own) > 1:
            self.lost.append("reasoning_details")
        if not own:
            return
        if not parts or parts[-1].text is None:
            parts.append(Part(text=""))
        parts[-1].thought_signature = own[-1]

    def _call(self, call: ToolCall) -> Part:
        function = call.function or FunctionCall()
        if call.id:
            self._names[call.id] = function.name
        try:
            args = _object.decode(function.arguments or "{}")
        except (ValueError, RecursionError):
            self.lost.append("arguments")
            args = {"arguments": function.arguments}
        return Part(
            function_call=Call(function.name, args, call.id or None),
            thought_signature=_signature(call.extra_content),
        )

    def _result(self, message: Message) -> list[Part]:
        parts = self._parts(message.content)
        text = "\n".join(part.text for part in parts if part.text is not None)
        try:
            response = _object.decode(text)
        except (ValueError, RecursionError):
            response = {"result": text}
        call = message.tool_call_id
        name = self._names.get(call or "") or message.name
        if not name:
            self.lost.append("tool_call_id")
            name = "unknown"
        result = Part(function_response=Result(name, response, call or None))
        # A result is JSON only; its media follow it in the same turn.
        return [result, *(part for part in parts if part.text is None)]

    def _parts(self, content: str | list[ChatPart] | None) -> list[Part]:
        if isinstance(content, str):
            return [Part(text=content)] if content else []
        return [part for given in content or () if (part := self._part(given)) is not None]

    def _part(self, given: ChatPart) -> Part | None:
        if given.cache_control:
            self.lost.append("cache_control")
        part = None
        if given.text is not None or given.refusal is not None:
            text = given.text if given.text is not None else given.refusal
            return Part(text=text) if text else None
        if given.image_url is not None:
            image = given.image_url
            if not isinstance(image, str) and image.detail not in (None, "auto"):
                self.lost.append("detail")
            part = _media(image if isinstance(image, str) else image.url, None)
        elif given.input_audio is not None:
            kind = _TYPES.get(given.input_audio.format, f"audio/{given.input_audio.format}")
            part = Part(inline_data=Blob(kind, given.input_audio.data))
        elif given.file is not None:
            part = _media(given.file.file_data or given.file.file_id or "", given.file.filename)
        if part is None:
            self.lost.append(given.type)
        return part


def _media(source: str, filename: str | None) -> Part | None:
    """A part for a data URL, a URL that Google fetches, or bare base64 (which needs a file name)."""
    if source.startswith("data:"):
        head, comma, data = source[5:].partition(",")
        if not comma:
            return None
        kind, *options = head.split(";")
        if "base64" not in options:
            data = b64encode(unquote_to_bytes(data)).decode()
        return Part(inline_data=Blob(kind or _type(filename or "") or "text/plain", data))
    if "://" in source[:16]:
        return Part(file_data=FileData(source, _type(_path(source)) or _type(filename or "")))
    if source and filename and not source.startswith("file-"):
        return Part(inline_data=Blob(_type(filename) or "application/octet-stream", source))
    return None


def _path(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def _type(name: str) -> str | None:
    return _TYPES.get(name.rpartition(".")[2].lower())


def _signature(extra: dict[str, Any] | None) -> str | None:
    google = (extra or {}).get("google")
    found = google.get("thought_signature") if isinstance(google, dict) else None
    return found if isinstance(found, str) and found else None
