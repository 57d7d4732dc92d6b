"""Bytes to a page: what type it is, whether all of it is there, and whether it is the page at all."""

import re

from .finding import QuarantineError, Reason
from .select import Page
from .spec import Scraper, Source

MAX_BYTES = 16 * 2**20
"""Largest page that is read."""

_MARKUP = re.compile(
    r"\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype html|html|head|body|div|script)\b", re.I | re.S
)
# In a title or heading these mean that somebody stands between us and the page.
_WALL = re.compile(
    r"just a moment|attention required|are you (?:a )?(?:human|robot)|verify(?:ing)? (?:that )?you|security check|"
    r"checking your browser|access denied|\bforbidden\b|captcha|unusual traffic|before you continue|"
    r"(?:cookie|privacy) (?:consent|settings)|consent required|we value your privacy|"
    r"^\s*(?:sign|log) ?in\b|(?:sign|log) ?in to\b|too many requests|service unavailable|bad gateway|not found",
    re.IGNORECASE | re.MULTILINE,
)
# Further words that only count once the tables are missing: sound pages have them in menus and scripts.
_BEHIND = re.compile(
    r"enable javascript and cookies|cf-chl|challenge-platform|recaptcha|hcaptcha|accept all|sign in|log in",
    re.IGNORECASE,
)


def open_page(scraper: Scraper, data: bytes) -> tuple[Page, Source]:
    """The page and the source that it is. Raises QuarantineError when it is none, or not all of it."""
    if len(data) > MAX_BYTES:
        raise QuarantineError(Reason.WRONG_PAGE, f"the page is larger than {MAX_BYTES // 2**20} MiB")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise QuarantineError(Reason.TRUNCATED, f"byte {fault.start} of the page is not UTF-8") from None
    page = page_of(text, strict=any(source.type == "json" for source in scraper.sources))
    if wall := _WALL.search(page.titles):
        raise QuarantineError(Reason.WALL, f"`{page.titles[:80]}`: {wall[0].strip().lower()}")
    # A page's marks may be in an attribute, so they are looked for in what was served, not in what is seen.
    for source in scraper.sources:
        if source.type == page.type and (source.marks is None or re.search(source.marks, text)):
            _complete(page, source)
            return page, source
    raise behind(
        page, QuarantineError(Reason.WRONG_PAGE, f"no source of `{scraper.name}` is {_said(page.type)} like this")
    )


def behind(page: Page, fault: QuarantineError) -> QuarantineError:
    """The fault, or that a wall stands before the page when that is why something is missing."""
    wall = None if page.type == "json" else _BEHIND.search(page.text)
    if wall is None or len(page.visible) > 5_000:
        return fault
    return QuarantineError(Reason.WALL, f"{fault.message}; the page says `{wall[0].lower()}`")


def page_of(text: str, *, strict: bool = False) -> Page:
    """A text as the page that it looks like. `strict`: one that begins like JSON must be JSON, or QuarantineError."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            return Page(text, "json")
        except (ValueError, RecursionError):
            if strict:
                raise QuarantineError(Reason.TRUNCATED, "the page is not all of a JSON document") from None
    return Page(text, "html" if _MARKUP.match(text) else "markdown")


def _complete(page: Page, source: Source) -> None:
    if page.type == "html" and not page.text.rstrip().lower().endswith("</html>"):
        raise QuarantineError(Reason.TRUNCATED, "the page does not end with </html>")
    shown = page.visible
    for statement in source.states:
        if not re.search(statement, shown):
            raise QuarantineError(Reason.NOT_STATED, f"the page does not say `{statement}`")


def _said(type: str) -> str:
    return {"html": "an HTML page", "json": "a JSON document", "markdown": "a Markdown page"}[type]
