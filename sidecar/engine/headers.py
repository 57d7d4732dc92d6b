"""The response headers that follow from a decision alone: the same on every way out, and what tests of policies see."""

from functools import lru_cache

from ..call import Call

Headers = list[tuple[bytes, bytes]]

_QUOTA = {
    what: tuple(f"x-ratelimit-{figure}-{what}".encode() for figure in ("limit", "remaining", "reset"))
    for what in ("requests", "tokens")
}


@lru_cache(maxsize=4096)
def header(name: bytes, value: str) -> tuple[bytes, bytes]:
    """A header whose value comes from the configuration: the same few again and again."""
    return name, value.encode()


@lru_cache(maxsize=256)
def _seconds(seconds: float) -> bytes:
    return b"%gs" % round(seconds, 3)


def decision_headers(call: Call) -> Headers:
    """Cache, tier and what the rate limits have left."""
    headers = [header(b"x-sidecar-cache", call.cache)]
    if call.tier:
        headers.append(header(b"x-sidecar-tier", call.tier))
    for what, quota in call.quotas.items():
        limit, remaining, reset = _QUOTA[what]
        headers.append((limit, b"%d" % quota.limit))
        headers.append((remaining, b"%d" % quota.remaining))
        headers.append((reset, _seconds(quota.reset)))
    return headers
