"""Stores of one process: counters, exact cache, gateway keys. Bounded; touched only on the event loop."""

from collections import OrderedDict
from collections.abc import Collection, Mapping

from msgspec.structs import replace

from .base import Counter, Entry, Principal, Quota, Subject

SLOTS = 60
"""Steps a window is cut into. A step counts until all of it is outside: the limit errs to the strict side."""


class _Window:
    """Amounts of the last SLOTS + 1 steps, as a ring. `last` is the newest step, `place` where it stands."""

    __slots__ = ("counts", "last", "place", "step", "total")

    def __init__(self, step: float, now: float) -> None:
        self.step = step
        self.counts = [0] * (SLOTS + 1)
        self.last = int(now / step)
        self.place = self.last % (SLOTS + 1)
        self.total = 0

    def advance(self, slot: int) -> None:
        """Begin step `slot`, which is newer than the last."""
        if slot - self.last > SLOTS:
            self.counts = [0] * (SLOTS + 1)
            self.total = 0
        else:
            for passed in range(self.last + 1, slot + 1):
                place = passed % (SLOTS + 1)
                self.total -= self.counts[place]
                self.counts[place] = 0
        self.last = slot
        self.place = slot % (SLOTS + 1)

    def until_free(self, amount: int, limit: int, now: float) -> float:
        """Seconds until `amount` fits, were nothing else taken."""
        over = self.total + amount - limit
        for age in range(SLOTS, -1, -1):
            slot = self.last - age
            over -= self.counts[slot % (SLOTS + 1)]
            if over <= 0:
                return max(0.0, (slot + SLOTS + 1) * self.step - now)
        return SLOTS * self.step

    def refused(self, amount: int, limit: int, period: float, now: float) -> Quota:
        """Why `amount` does not fit: what is left, and when it would."""
        wait = period if amount > limit else max(self.until_free(amount, limit, now), 0.001)
        return Quota(limit, max(0, limit - self.total), wait, wait)


class MemoryCounters:
    """Sliding windows in memory. Each limit has room for `max_keys` of those it counts; past it the one unused for
    longest is forgotten. So names that a caller makes up push out no counter of another limit."""

    def __init__(self, max_keys: int = 20_000) -> None:
        self._limits: dict[str, OrderedDict[Subject, _Window]] = {}
        self._max_keys = max_keys

    def take(self, counter: Counter, limit: int, period: float, amount: int, now: float) -> Quota:
        """Take `amount` if it fits, else take nothing and say how long to wait."""
        name, subject = counter
        windows = self._limits.get(name)
        if windows is None:
            windows = self._limits[name] = OrderedDict()
        window = windows.get(subject)
        if window is None:
            if amount > limit:  # nothing to remember
                return Quota(limit, limit, period, period)
            window = windows[subject] = _Window(period / SLOTS, now)
            if len(windows) > self._max_keys:
                windows.popitem(last=False)
        elif (slot := int(now / window.step)) > window.last:
            window.advance(slot)
            windows.move_to_end(subject)  # once a step says who is in use well enough
        total = window.total + amount
        if total > limit:
            return window.refused(amount, limit, period, now)
        window.counts[window.place] += amount
        window.total = total
        return Quota(limit, limit - total, period)

    def peek(self, counter: Counter, limit: int, period: float, amount: int, now: float) -> Quota:
        """What `take` would say, with nothing taken."""
        window = self._window(counter) or _Window(period / SLOTS, now)
        if (slot := int(now / window.step)) > window.last:
            window.advance(slot)
        if window.total + amount > limit:
            return window.refused(amount, limit, period, now)
        return Quota(limit, limit - window.total - amount, period)

    def adjust(self, counter: Counter, amount: int, now: float) -> None:
        """Correct a take. More counts from `now`, or from the newest step on if that is later; what is given back
        leaves the step of `now`, when it was taken, never below nothing: another's step would end at another time."""
        window = self._window(counter)
        if window is None:
            return
        slot = int(now / window.step)
        if slot > window.last:
            window.advance(slot)
        if amount < 0:
            if slot < window.last - SLOTS:
                return
            place = slot % (SLOTS + 1)
            amount = -min(-amount, window.counts[place])
        else:
            place = window.place
        window.counts[place] += amount
        window.total += amount

    def _window(self, counter: Counter) -> _Window | None:
        windows = self._limits.get(counter[0])
        return None if windows is None else windows.get(counter[1])


class MemoryCache:
    """LRU by entries and bytes, with a time to live."""

    def __init__(self, max_entries: int, max_bytes: int) -> None:
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: bytes, now: float) -> Entry | None:
        """The entry, unless absent or expired."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= now:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: bytes, entry: Entry) -> None:
        """Store an entry; one larger than the whole cache is left out."""
        if key in self._entries:
            self._drop(key)
        if len(entry.body) > self._max_bytes:
            return
        self._entries[key] = entry
        self.bytes += len(entry.body)
        while len(self._entries) > self._max_entries or self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: bytes) -> None:
        self.bytes -= len(self._entries.pop(key).body)


class MemoryKeys:
    """Gateway keys by digest: those that the policy declares and those of the database, as one map.

    A key of both is as the policy says, and ends when the stricter of the two ends it: nothing that was revoked comes
    back with a reload, or with an entry that somebody left in git.
    """

    def __init__(self, declared: Mapping[bytes, Principal] | None = None) -> None:
        self._declared = declared or {}
        self._stored: Mapping[bytes, Principal] = {}
        self._admins: Collection[bytes] = ()
        self._keys = self._declared

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, digest: bytes) -> Principal | None:
        """Who holds the key with this digest; they may have been refused since.

        One dict look-up: its time may tell how far a hash is like another, never anything of a key, for nobody can
        choose a key by its hash.
        """
        return self._keys.get(digest)

    @property
    def declared(self) -> tuple[Principal, ...]:
        """Who holds the policy's keys."""
        return tuple(self._declared.values())

    def declares(self, name: str) -> bool:
        """Whether the policy has a key with this name."""
        return any(principal.key == name for principal in self._declared.values())

    def declare(self, keys: Mapping[bytes, Principal], admins: Collection[bytes] = ()) -> None:
        """The policy's keys from now on; and the digests of admin keys, which open no model: not even when `sidecar
        keys create` made one, and it is in the database."""
        self._declared, self._admins = keys, admins
        self._merge()

    def store(self, keys: Mapping[bytes, Principal]) -> None:
        """The database's keys from now on."""
        self._stored = keys
        self._merge()

    def _merge(self) -> None:
        both = {
            digest: stricter(self._declared[digest], self._stored[digest])
            for digest in self._declared.keys() & self._stored.keys()
        }
        merged = {**self._stored, **self._declared, **both}
        self._keys = {digest: holder for digest, holder in merged.items() if digest not in self._admins}


def stricter(declared: Principal, stored: Principal) -> Principal:
    """Who holds a key that the policy and the database have: as the policy says, until either ends it."""
    ends = [end for end in (declared.expires, stored.expires) if end is not None]
    return replace(declared, expires=min(ends, default=None), revoked=declared.revoked or stored.revoked)
