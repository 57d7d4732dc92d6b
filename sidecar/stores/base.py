"""State that outlives a graph, as protocols by need. One contract test runs over every backend of a store.

The decision reads stores and writes none but counters; `State` is what it is handed, live or made up by a test.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct

from .budgets import Account, Hold, Terms
from .ledger import Row

Subject = str | tuple[str, ...]
"""Whom a limit counts for, as what tells one from another."""

Counter = tuple[str, Subject]
"""One count: the limit's name, which no other limit has, and for whom."""


class Principal(Struct, frozen=True):
    """Who is calling: the gateway key's name, its tenant and labels. `models` and `strategies` empty mean all are
    allowed. From `expires` (Unix seconds) on, or once it is `revoked`, the key is known and refused.

    Of who holds a token `key` is `<issuer's name>|<subject>`, which no gateway key can be called, and `claims` is all
    that the token says. `limits` are the key's own: what is counted (requests or tokens), how many, in how many
    seconds.
    """

    key: str
    tenant: str
    labels: Mapping[str, str] = {}
    models: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = {}
    strategies: tuple[str, ...] = ()
    limits: tuple[tuple[str, int, float], ...] = ()
    expires: float | None = None
    revoked: bool = False


class Quota(Struct, frozen=True):
    """What a limit has left: `reset` is seconds until it is whole again, `wait` seconds until this fits (0: it did)."""

    limit: int
    remaining: int
    reset: float
    wait: float = 0.0


class Entry(Struct, frozen=True):
    """One cached answer: the bytes as they were sent, and what the headers said of them."""

    body: bytes
    content_type: str
    model: str
    provider: str
    tier: str
    expires: float


class Counters(Protocol):
    """Sliding windows: never more than `limit` in any `period` seconds."""

    def take(self, counter: Counter, limit: int, period: float, amount: int, now: float) -> Quota:
        """Take `amount` if it fits, else take nothing and say how long to wait."""

    def peek(self, counter: Counter, limit: int, period: float, amount: int, now: float) -> Quota:
        """What `take` would say, with nothing taken."""

    def adjust(self, counter: Counter, amount: int, now: float) -> None:
        """Correct a take: what is given back (negative) counted at `now`, what is added counts from then on."""


class Cache(Protocol):
    """Whole answers by key, least recently used out first."""

    def get(self, key: bytes, now: float) -> Entry | None:
        """The entry, unless absent or expired."""

    def put(self, key: bytes, entry: Entry) -> None:
        """Store an entry; one larger than the whole cache is left out."""


class Health(Protocol):
    """What is known of providers and models right now. Decisions read it; the calls that follow from them write it."""

    @property
    def down(self) -> Mapping[str, str]:
        """Model id or provider name -> why nothing may be sent there."""

    @property
    def version(self) -> int:
        """Changes when a learned speed changed enough to matter."""

    def speed(self, model: str) -> float | None:
        """Learned output tokens a second, or None before the first answers."""

    def first_token_p95(self, model: str) -> float | None:
        """Seconds within which 19 of 20 first tokens came lately, or None before there were enough to say."""

    def began(self, model: str) -> int:
        """A call is about to be sent. Its ending hands the ticket back."""

    def succeeded(self, model: str, now: float, first_token: float, ticket: int | None = None) -> None:
        """The first token came, so many seconds after the call began."""

    def failed(
        self, model: str, reason: str, now: float, pause: float | None = None, ticket: int | None = None
    ) -> None:
        """A call failed through the model's fault; `pause` is how long its provider says to leave it alone."""

    def released(self, model: str, ticket: int | None = None) -> None:
        """A call ended and says nothing of the model."""


class Keys(Protocol):
    """Gateway keys by SHA-256 digest."""

    def find(self, digest: bytes) -> Principal | None:
        """Who holds the key with this digest."""


class Tokens(Protocol):
    """Signed tokens of the issuers that the policy names."""

    def judge(self, token: str, digest: bytes, now: float) -> Principal | str:
        """Who holds the token with this digest, or, in words for its sender, why it is refused."""


class Accounts(Protocol):
    """What budgets have spent and hold."""

    def find(self, terms: Terms, subject: str, now: float) -> Account | None:
        """The account of a subject; None when there are too many to keep another."""

    def look(self, terms: Terms, subject: str) -> Account:
        """The account, or an empty one that is not kept: for those who only look."""

    def begin(self, row: Row) -> None:
        """An attempt is about to be sent: should nobody live to settle it, it stands for the most it may cost."""

    def settle(self, account: Account, hold: Hold, nano: int) -> None:
        """So much was spent of what was held; the rest is free again. A hold is settled once."""


class State(Struct, frozen=True):
    """All that a decision may read beside the request, the policy and the registry. Without `tokens` a credential is
    a gateway key, whatever it looks like; without `budgets` a policy that has some lets nobody through."""

    counters: Counters
    cache: Cache
    health: Health
    keys: Keys
    tokens: Tokens | None = None
    budgets: Accounts | None = None
    closed: Mapping[str, Mapping[str, str | None]] = {}
    """Provider -> tenant -> why it has no key for this tenant, or None; the empty name is any tenant not listed."""

    def no_key(self, provider: str, tenant: str) -> str | None:
        """Why a provider in `closed` cannot be asked for a tenant; None when it can."""
        tenants = self.closed.get(provider)
        return None if tenants is None else tenants.get(tenant, tenants.get(""))
