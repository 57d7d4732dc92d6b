"""Anthropic's Messages API."""

from collections.abc import Mapping

import msgspec

from ..chat import ChatRequest, Completion, Failure, Outgoing
from .anthropic_answer import completion
from .anthropic_errors import failed
from .anthropic_request import Draft
from .anthropic_stream import Reader
from .base import StreamReader, Target

VERSION = "2023-06-01"
_FILES = "files-api-2025-04-14"
_encode = msgspec.json.Encoder().encode


class Anthropic:
    """Adapter for `protocol: anthropic`. The base URL is the official SDK's, without `/v1`."""

    protocol = "anthropic"

    def request(self, chat: ChatRequest, raw: bytes, target: Target) -> Outgoing:
        """The chat in Anthropic's shape, and by name everything that is not in it."""
        draft = Draft(chat, target)
        headers = {"content-type": "application/json", "anthropic-version": VERSION, **target.headers}
        if target.key is not None:
            headers["x-api-key"] = target.key.reveal()
        if draft.files:
            given = headers.get("anthropic-beta")
            headers["anthropic-beta"] = f"{given},{_FILES}" if given else _FILES
        return Outgoing(f"{target.base_url}/v1/messages", headers, _encode(draft.body), tuple(draft.lost))

    def response(self, body: bytes) -> Completion | Failure:
        """Text blocks joined, thinking with its signatures, calls; what only the provider used is left out."""
        return completion(body)

    def reader(self, chat: ChatRequest) -> StreamReader:
        """A fresh reader of one stream."""
        return Reader()

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """`{"type": "error", "error": {...}}` or whatever else a server in between sent."""
        return failed(status, headers, body)
