"""Exact token counts, for the few requests whose estimate is close to a limit.

tiktoken's table costs 70 MB and would be fetched from the network; so it is loaded on the first such request, in a
thread, and only when it is already in `TIKTOKEN_CACHE_DIR`. Until then the estimate serves.
"""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .chat import ChatRequest
from .features import Features, estimate

if TYPE_CHECKING:
    from tiktoken import Encoding

ENCODING = "o200k_base"
_TABLE = "fb374d419588a4632f3f557e76b4b70aebbca790"
"""The file name under which tiktoken keeps the o200k_base table."""

MARGIN = 0.25
"""How far an estimate may be off, as a share."""


class Tokens:
    """Counts with the table once it is there. One for a process."""

    def __init__(self) -> None:
        self._encoding: Encoding | None = None
        self._absent = False

    async def refine(self, chat: ChatRequest, features: Features) -> None:
        """Replace the estimate of text by an exact count, off the event loop; nothing happens without the table."""
        if not self._absent:
            features.tokens = await asyncio.to_thread(self._count, chat, features.tokens)

    def _count(self, chat: ChatRequest, estimated: int) -> int:
        encoding = self._load()
        if encoding is None:
            return estimated
        texts = list(_texts(chat))
        exact = sum(map(len, encoding.encode_ordinary_batch(texts, num_threads=1)))
        return estimated - sum(map(estimate, texts)) + exact

    def _load(self) -> "Encoding | None":
        if self._encoding is None and not self._absent:
            folder = os.environ.get("TIKTOKEN_CACHE_DIR", "")
            if not folder or not Path(folder, _TABLE).is_file():
                self._absent = True
                return None
            import tiktoken  # with its table the largest thing in the process: not before it is needed

            self._encoding = tiktoken.get_encoding(ENCODING)
        return self._encoding


def near_limit(tokens: int, contexts: tuple[int, ...]) -> bool:
    """Whether an estimate is so close to one of the context windows (ascending) that it could be on either side."""
    if not contexts or tokens < contexts[0] * (1 - MARGIN):
        return False
    return any(abs(tokens - context) <= MARGIN * context for context in contexts)


def _texts(chat: ChatRequest) -> Iterator[str]:
    for message in chat.messages:
        if isinstance(message.content, str):
            yield message.content
        else:
            yield from (part.text for part in message.content or () if part.text)
