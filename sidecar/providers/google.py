"""Google's Gemini API: generateContent and streamGenerateContent."""

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from ..chat import ChatRequest, Completion, Failure, Outgoing
from .base import StreamReader, Target
from .google_answer import Reader, completion
from .google_errors import failed
from .google_request import build

_encode = msgspec.json.Encoder().encode


class Google:
    """Adapter for `protocol: google`. The base URL is the official SDK's, without version."""

    protocol = "google"

    def request(self, chat: ChatRequest, raw: bytes, target: Target) -> Outgoing:
        """The chat in Gemini's shape. The key travels in a header: URLs end up in logs."""
        body, lost = build(chat, target.model, target.rejects)
        method = "streamGenerateContent?alt=sse" if chat.stream else "generateContent"
        headers = {"content-type": "application/json", **target.headers}
        if target.key is not None:
            headers["x-goog-api-key"] = target.key.reveal()
        url = f"{target.base_url}/v1beta/{_path(target.model)}:{method}"
        return Outgoing(url, headers, _encode(body), tuple(dict.fromkeys(lost)))

    def response(self, body: bytes) -> Completion | Failure:
        """Candidates as choices. A blocked prompt is an answer that was filtered, not a failure."""
        return completion(body)

    def reader(self, chat: ChatRequest) -> StreamReader:
        """A fresh reader of one stream."""
        return Reader(chat.n or 1)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """A bad key comes with status 400, an error may come in an array: the object itself decides."""
        return failed(status, headers, body)


def _path(model: str) -> str:
    """The model's resource name. Its own characters never end the path or name another method."""
    for collection in ("models/", "tunedModels/"):
        if model.startswith(collection):
            return collection + quote(model.removeprefix(collection), safe="")
    return "models/" + quote(model, safe="")
