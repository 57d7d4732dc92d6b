"""Takes out of a text what looks like a secret or like a person's data, by pattern. It cannot find everything."""

import re

KEY_LIKE = re.compile(
    r"(?:sk|gw|pk|rk|org|proj)[-_][A-Za-z0-9_*-]{8,}"
    r"|AIza[A-Za-z0-9_-]{10,}|[Bb]earer +[^\s\"']{6,}|eyJ[A-Za-z0-9_.-]{20,}"
)
"""Keys of providers and of gateways, bearer tokens, JWTs."""
_ELSEWHERE = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[opsur]_[A-Za-z0-9]{16,}|\bxox[abprs]-[A-Za-z0-9-]{8,}"
    r"|-----BEGIN [A-Z ]{0,32}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,32}PRIVATE KEY-----)?"
)
_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_DIGITS = re.compile(r"\d(?:[ ./-]?\d){7,}")
HIDDEN = "***"


def redacted(text: str) -> str:
    """The text without keys, e-mail addresses and runs of eight or more digits (cards, accounts, telephones)."""
    for pattern in (KEY_LIKE, _ELSEWHERE, _EMAIL, _DIGITS):
        text = pattern.sub(HIDDEN, text)
    return text


def shortened(text: str, limit: int) -> str:
    """At most `limit` characters, never ending within a word or a number: half of a key is not known for one."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    words = head.rsplit(None, 1)
    return words[0].rstrip("0123456789 ./-") + " ..." if len(words) > 1 else "..."
