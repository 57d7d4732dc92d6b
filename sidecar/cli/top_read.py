"""A running gateway's `/status.json`, read with a limit on everything: what listens there may be anybody."""

import http.client
from urllib.parse import urlsplit

import msgspec

from ..server.status_data import Status

TIMEOUT = 5.0
MAX_BYTES = 4 * 1024 * 1024


class UnreadableError(Exception):
    """Why there is no status; the text is for people."""


def read_status(url: str, key: str | None) -> Status:
    """Ask the gateway at this URL. Raises UnreadableError, or ValueError for a URL or a key that cannot be sent."""
    place = urlsplit(url)
    if place.scheme not in ("http", "https") or not place.hostname:
        raise ValueError("not the URL of a gateway, such as http://127.0.0.1:8787")
    if key is not None and not (key.isascii() and key.isprintable()):
        raise ValueError("the key has characters that no key has")
    kind = http.client.HTTPSConnection if place.scheme == "https" else http.client.HTTPConnection
    connection = kind(place.hostname, place.port, timeout=TIMEOUT)
    headers = {"accept": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    try:
        connection.request("GET", f"{place.path.rstrip('/')}/status.json", headers=headers)
        answer = connection.getresponse()
        body = answer.read(MAX_BYTES + 1)
    except (OSError, http.client.HTTPException) as fault:
        raise UnreadableError(f"no gateway answers here: {fault or type(fault).__name__}") from fault
    finally:
        connection.close()
    if answer.status in (401, 403):
        raise UnreadableError(f"refused ({answer.status}): " + ("this key may not" if key else "--key is needed"))
    if answer.status != 200 or len(body) > MAX_BYTES:
        raise UnreadableError(f"what answers here is no gateway of ours: status {answer.status}, {len(body):,} bytes")
    try:
        return msgspec.json.decode(body, type=Status)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise UnreadableError(f"what answers here is no gateway of this version: {fault}") from fault
