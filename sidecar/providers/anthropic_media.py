"""Images and files of a chat as Anthropic's sources."""

import binascii
from urllib.parse import unquote_to_bytes

from ..chat import Part
from .anthropic_wire import Content, DocumentBlock, ImageBlock, Source

_IMAGES = {
    "image/jpeg": "image/jpeg",
    "image/jpg": "image/jpeg",
    "image/png": "image/png",
    "image/gif": "image/gif",
    "image/webp": "image/webp",
}
_PDF = "application/pdf"
_MAX_TITLE = 500


def image(part: Part) -> Content | None:
    """An image by data URL or web address, None when the API has no way to take it."""
    url = part.image_url if isinstance(part.image_url, str) or part.image_url is None else part.image_url.url
    return None if not url else _image(url, part)


def file(part: Part) -> Content | None:
    """A PDF, a text or an image in a `file` part, or one the provider already has; None for anything else."""
    given = part.file
    if given is None:
        return None
    title = given.filename[:_MAX_TITLE] if given.filename else None
    if given.file_id:
        return DocumentBlock(Source("file", file_id=given.file_id), title, part.cache_control)
    data = given.file_data or ""
    if data.startswith(("https://", "http://")):
        return DocumentBlock(Source("url", url=data), title, part.cache_control)
    media, encoded = _split(data) if data.startswith("data:") else (_guess(given.filename), data)
    if media == _PDF and encoded:
        return DocumentBlock(Source("base64", _PDF, encoded), title, part.cache_control)
    if media in _IMAGES and data.startswith("data:"):
        return _image(data, part)
    if media.startswith("text/") and (text := _text(encoded)):
        return DocumentBlock(Source("text", "text/plain", text), title, part.cache_control)
    return None


def _image(url: str, part: Part) -> Content | None:
    if url.startswith(("https://", "http://")):
        return ImageBlock(Source("url", url=url), part.cache_control)
    media, encoded = _split(url)
    known = _IMAGES.get(media)
    return ImageBlock(Source("base64", known, encoded), part.cache_control) if known and encoded else None


def _split(url: str) -> tuple[str, str]:
    """Media type and base64 of a data URL; both empty when it is none."""
    head, comma, payload = url.partition(",")
    if not comma or not head.startswith("data:"):
        return "", ""
    media, *parameters = head[5:].split(";")
    if "base64" not in parameters:
        payload = binascii.b2a_base64(unquote_to_bytes(payload), newline=False).decode()
    return media.strip().lower(), payload


def _guess(filename: str | None) -> str:
    """What bare base64 is. OpenAI's own examples send PDFs that way."""
    return _PDF if (filename or "").lower().endswith(".pdf") else ""


def _text(encoded: str) -> str | None:
    try:
        text = binascii.a2b_base64(encoded).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return text if text.strip() else None
