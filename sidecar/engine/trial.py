"""One request taken through a graph in a world that is made up: what `explain`, `demo` and `test` share.

It is the walk that serves traffic, over the stores that serve traffic; only what is in them is invented. No clock, no
network, no token.
"""

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from math import inf

from msgspec import Struct, structs

from ..call import Call
from ..chat import ChatRequest
from ..features import extract
from ..graph import Graph
from ..spec import Spec
from ..stages.authenticate import Authenticate
from ..stages.keys import Keys
from ..stores.base import Counter, Entry, Principal, Quota, State
from ..stores.budgets import Account, Accounts, Terms
from ..stores.health import LiveHealth
from ..stores.memory import MemoryCache, MemoryCounters, MemoryKeys
from .access import only_for_tenants
from .walk import walk

LOOPBACK = "127.0.0.1"
_DIGEST = b"explain"
_TOKEN = "a.b.c"
"""What a caller presents. With two dots it would be judged as a token, were it not known as a key."""


class Asked(Struct, frozen=True):
    """A request: parsed, its bytes, and the headers it came with, names in lower case."""

    chat: ChatRequest
    raw: bytes
    headers: Mapping[str, str] = {}


class World(Struct, frozen=True):
    """Who asks, and how things are.

    `caller` is who is let in, by key or by token; a text is why a token is refused. Without one `credential` is
    presented, which nobody knows, or nothing. `down` and `speeds` are what is known of providers
    and models (reasons; tokens a second). `used` is what every counter holds already, by whom it counts for and what:
    `("key", "requests")`. `spent` is what every account of a budget has spent in its window: nano-USD, by the budget's
    name. `answered` is a world in which the same request was answered before, and that answer is in
    the cache. `now` is Unix time in seconds.
    """

    caller: Principal | str | None = None
    credential: str = ""
    ip: str = LOOPBACK
    down: Mapping[str, str] = {}
    speeds: Mapping[str, float] = {}
    used: Mapping[tuple[str, str], int] = {}
    spent: Mapping[str, int] = {}
    answered: "World | None" = None
    now: float = 0.0

    def before(self) -> "World":
        """The same caller when nothing was used, and nothing known."""
        return structs.replace(self, down={}, speeds={}, used={}, spent={}, answered=None)


def walk_once(graph: Graph, asked: Asked, world: World) -> tuple[Call, str]:
    """The call as the walk leaves it, notes taken, and the end it came to. Nobody is called."""
    caller, health = world.caller, LiveHealth()
    health.providers(world.down)
    for model, speed in world.speeds.items():
        health.learned(model, speed)
    keys = MemoryKeys({_DIGEST: caller} if isinstance(caller, Principal) else {})
    tokens = _Refusing(caller) if isinstance(caller, str) else None
    state = State(
        counters=_Counters(world.used),
        cache=_cache(graph, asked, world),
        health=health,
        keys=keys,
        tokens=tokens,
        budgets=_Spent(world.spent),
        closed=_closed(graph),
    )
    call = Call(
        id="explain",
        chat=asked.chat,
        raw=asked.raw,
        features=extract(asked.chat, asked.headers),
        state=state,
        now=world.now,
        model=graph.aliases.get(asked.chat.model, asked.chat.model),
        ip=world.ip,
        credential=world.credential if caller is None else _TOKEN,
        digest=b"" if caller is None else _DIGEST,
        local=ip_address(world.ip).is_loopback,
        details={},
    )
    return call, walk(graph, call)


def known_callers(specs: Iterable[Spec]) -> dict[str, Principal]:
    """The gateway keys that stand in these documents, by name, in the order they are written."""
    return {key.name: key.principal() for spec in specs if isinstance(spec, Authenticate | Keys) for key in spec.keys}


def first_caller(specs: Iterable[Spec]) -> Principal | None:
    """Who asks when nobody is named: the holder of the first key; None, who has none, when there is none."""
    return next(iter(known_callers(specs).values()), None)


class _Counters(MemoryCounters):
    """Counters of `kind: rate_limit` that hold something when they are first looked at."""

    def __init__(self, used: Mapping[tuple[str, str], int]) -> None:
        super().__init__()
        self._used = used
        self._met: set[Counter] = set()

    def take(self, counter: Counter, limit: int, period: float, amount: int, now: float) -> Quota:
        """What was used before counts first: as much of it as fits."""
        if counter not in self._met and counter[0].startswith("door "):
            self._met.add(counter)
            _, per, what, _ = counter[0].split()  # as the stage names them
            super().take(counter, limit, period, min(limit, self._used.get((per, what), 0)), now)
        return super().take(counter, limit, period, amount, now)


class _Spent(Accounts):
    """Accounts that have spent something when they are first looked at."""

    def __init__(self, spent: Mapping[str, int]) -> None:
        super().__init__()
        self._before = dict(spent)

    def find(self, terms: Terms, subject: str, now: float) -> Account | None:
        """What was spent before is spent now: as late as it can count."""
        account = super().find(terms, subject, now)
        if account is not None:
            account.spend(now, self._before.pop(terms.name, 0))
        return account


def _closed(graph: Graph) -> dict[str, dict[str, str | None]]:
    """Providers with keys for some tenants only; that these can be read is taken for granted."""
    found = {name: only_for_tenants(provider) for name, provider in graph.gateway.providers.items()}
    return {name: tenants for name, tenants in found.items() if tenants}


class _Refusing:
    """Signed tokens, every one of them refused."""

    def __init__(self, why: str) -> None:
        self._why = why

    def judge(self, token: str, digest: bytes, now: float) -> Principal | str:
        """Why the token is refused."""
        return self._why


def _cache(graph: Graph, asked: Asked, world: World) -> MemoryCache:
    """A cache that holds what the world says was answered before: by the key that the walk makes for it."""
    cache = MemoryCache(1, 1)
    if world.answered is not None:
        call, _ = walk_once(graph, asked, world.answered)
        if call.cache_key is not None:
            cache.put(call.cache_key, Entry(b"", "application/json", "", "", "", inf))
    return cache
