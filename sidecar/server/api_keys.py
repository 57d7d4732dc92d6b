"""`/api/keys`: gateway keys of the database. Those that git declares are not here: a file is changed where it is.

A key's text is in one answer, that which made it; what is kept is its hash.
"""

import asyncio
from collections.abc import Callable
from contextlib import closing
from time import time
from typing import Any, TypeVar

import msgspec
from litestar import Request, delete, get, post
from litestar.handlers import HTTPRouteHandler

from ..engine.callers import stored_key
from ..identity.keys import digest, generate, hash_text
from ..spec import seconds
from ..stages.base import Scope
from ..stages.keys import Key
from ..stages.rates import written
from ..stores.keys import SHOWN, DuplicateKeyError, KeyTable, StoredKey
from .admin_problem import RefusedError
from .api_data import KeyEntry, KeyPage, MadeKey, NewKey, Rotation
from .api_query import after, cursor, invalid, limit, parameters
from .state import Running

T = TypeVar("T")
MAX_GRACE = 30 * 86_400.0
"""Seconds a rotated key may work on."""


def key_routes(running: Running) -> list[HTTPRouteHandler]:
    """The handlers. What they change is in force here at once, and within a second at other gateways."""
    return [listing_route(running), *making_routes(running), revoking_route(running)]


def listing_route(running: Running) -> HTTPRouteHandler:
    """`GET /api/keys`."""

    @get("/api/keys", guards=[running.access.needs("viewer")])
    async def listed(request: Request[Any, Any, Any]) -> KeyPage:
        """Every key of the database, revoked ones too, in the order they were made."""
        given = parameters(request, ("limit", "cursor"))
        size, last = limit(given), after(given, str)
        keys = await asyncio.to_thread(_on_table, running, KeyTable.all)
        places = {key.id: place for place, key in enumerate(keys, 1)}
        if last is not None and last not in places:
            raise invalid("`cursor` is what a page before gave as `next`, to the letter.")
        rest = keys[places[last] if last is not None else 0 :]
        shown = [_entry(key) for key in rest[:size]]
        return KeyPage(shown, cursor(shown[-1].id) if len(rest) > size else None)

    return listed


def making_routes(running: Running) -> list[HTTPRouteHandler]:
    """`POST /api/keys` and `POST /api/keys/{name}/rotate`."""
    operator = running.access.needs("operator")

    @post("/api/keys", guards=[operator], status_code=201)
    async def create(request: Request[Any, Any, Any]) -> MadeKey:
        """A new key, shown once."""
        parameters(request, ())
        asked = _body(await request.body(), NewKey)
        text = generate()
        stored = _stored(asked, text, running)
        try:
            await _change(running, lambda table: table.add(stored))
        except DuplicateKeyError as fault:
            raise RefusedError(409, "conflict", f"It cannot be made: {fault}.") from fault
        return MadeKey(text, _entry(stored))

    @post("/api/keys/{name:str}/rotate", guards=[operator], status_code=200)
    async def rotate(request: Request[Any, Any, Any]) -> MadeKey:
        """A new text for a key, shown once; the old one works on for the grace."""
        parameters(request, ())
        name, body = _name(request), await request.body()
        grace = seconds(_body(body, Rotation).grace) if body else 0.0
        if grace > MAX_GRACE:
            raise invalid("`grace` is at most 30d.")
        text = generate()

        def work(table: KeyTable) -> tuple[StoredKey | None, StoredKey | None]:
            return table.find(name), table.rotate(name, digest(text).hex(), text[:SHOWN], time(), grace)

        before, changed = await _change(running, work)
        _there(before, name)
        if changed is None:
            raise RefusedError(409, "conflict", f"The key `{name}` is revoked or expired: make a new one.")
        return MadeKey(text, _entry(changed))

    return [create, rotate]


def revoking_route(running: Running) -> HTTPRouteHandler:
    """`DELETE /api/keys/{name}`."""

    @delete("/api/keys/{name:str}", guards=[running.access.needs("operator")], status_code=200)
    async def revoke(request: Request[Any, Any, Any]) -> KeyEntry:
        """Refuse a key from now on, and for good."""
        parameters(request, ())
        name = _name(request)

        def work(table: KeyTable) -> StoredKey | None:
            found = table.find(name)
            if found is not None:
                table.revoke(found.id, time())
            return None if found is None else table.find(found.id)

        return _entry(_there(await _change(running, work), name))

    return revoke


async def _change(running: Running, work: Callable[[KeyTable], T]) -> T:
    """Do it, and have it in force before it is answered."""
    result = await asyncio.to_thread(_on_table, running, work)
    await running.changes.look()
    return result


def _on_table(running: Running, work: Callable[[KeyTable], T]) -> T:
    with closing(KeyTable(running.ledger.path)) as table:
        return work(table)


def _body(data: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise invalid(f"The body is not what it should be: {fault}.") from None


def _stored(asked: NewKey, text: str, running: Running) -> StoredKey:
    """The key as it is kept, if `sidecar validate` would find nothing wrong with it."""
    entry = Key(hash=hash_text(text), **{name: getattr(asked, name) for name in NewKey.__struct_fields__})
    if running.stores.keys.declares(entry.name):
        raise RefusedError(409, "conflict", f"The policy declares a key with the name `{entry.name}`.")
    for problem in entry.problems((), Scope(running.holder.current.graph.registry)):
        raise invalid("; ".join(filter(None, (problem.message, problem.help))) + ".")
    return stored_key(entry, text, time())


def _name(request: Request[Any, Any, Any]) -> str:
    return str(request.path_params["name"])[:128]


def _there(key: StoredKey | None, name: str) -> StoredKey:
    if key is None:
        detail = f"There is no key `{name}` in the database. One that git declares is revoked there, or by "
        raise RefusedError(404, "not-found", f"{detail}`sidecar keys revoke`.")
    return key


def _entry(key: StoredKey) -> KeyEntry:
    same = {name: getattr(key, name) for name in KeyEntry.__struct_fields__ if name not in ("state", "limits")}
    limits = [{what: written(amount, period)} for what, amount, period in key.limits]
    return KeyEntry(**same, limits=limits, state=key.state(time()))
