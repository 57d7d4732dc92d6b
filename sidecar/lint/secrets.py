"""Secrets in plain text, in values and in comments: whoever may read the repository has them."""

import re
from collections.abc import Iterator, Mapping, Sequence

from ..config.codes import Code
from ..config.diagnostic import Diagnostic, Place, Severity
from ..config.nodes import split_lines
from ..identity.keys import well_formed

_RANDOM = {
    "a provider's API key": r"sk-[A-Za-z0-9_-]{20,}|AIza[A-Za-z0-9_-]{35}",
    "an access key": r"AKIA[0-9A-Z]{16}",
    "an access token": r"(?:gh[opsu]|hf|glpat|xox[abp])[_-][A-Za-z0-9_-]{20,}",
}
_KINDS = {
    **_RANDOM,
    "a gateway key": r"gw_[0-9A-Za-z]{49}",
    "a signed token": r"eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a password": r"(?<=://)[^\s/:@${}]+:[^\s/:@${}]{4,}(?=@)",
}
_NAMES = tuple(_KINDS)
_SECRET = re.compile("|".join(f"(?P<k{place}>{_KINDS[name]})" for place, name in enumerate(_NAMES)))
_HELP = "make it invalid where it was issued, and write a reference: ${NAME}, env:NAME or file:/path"
_VARIED = 8
"""A key made at random has more different characters than `sk-your-api-key-goes-here` or a row of x."""


def plain_secrets(texts: Mapping[str, str], told: Sequence[Diagnostic]) -> Iterator[Diagnostic]:
    """Every text that looks like a secret, by file, beside those that a finding has `told` of. None of it is shown."""
    masked = {(finding.place.file, finding.place.line) for finding in told if finding.masked}
    for file, text in texts.items():
        if _SECRET.search(text) is None:
            continue
        for number, line in enumerate(split_lines(text), 1):
            for found in _SECRET.finditer(line):
                what = _NAMES[int(str(found.lastgroup)[1:])]
                if (file, number) not in masked and _is_likely(what, line, found):
                    place = Place(file, number, found.start() + 1, found.end() + 1)
                    message = f"this looks like {what}, in plain text"
                    yield Diagnostic(Code.PLAIN_SECRET, Severity.WARNING, message, place, _HELP, masked=True)


def _is_likely(what: str, line: str, found: re.Match[str]) -> bool:
    text = found[0]
    if found.start() and (line[found.start() - 1].isalnum() or line[found.start() - 1] in "_-"):
        return False  # the end of a longer word: `task-...`
    if what not in _RANDOM:
        return what != "a gateway key" or well_formed(text)
    return len(set(text)) > _VARIED and any(c.isdigit() for c in text) and any(c.isalpha() for c in text)
