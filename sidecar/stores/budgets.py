"""What budgets have spent and hold: accounts of whole nano-USD, in memory, remembered by the ledger.

The most an attempt may cost is held before it is sent; what it did cost takes its place when its call settles. All of a
call counts in the window in which the call came, which is where the ledger has its rows: so that account and ledger
agree to the nano-dollar.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from math import inf

from msgspec import Struct

from .ledger import Ledger, Row, Spent

SLOTS = 60
"""Steps a rolling window is cut into. A step counts until all of it is outside: the limit errs to the strict side."""
MINUTE = 60
"""Seconds of one of the ledger's sums. Every calendar window begins with one."""
UNUSED = 3600
"""Seconds after which no call is on its way any more to an account that it has found."""
HELD = 1.0
"""Seconds to wait when only what running calls hold is in the way."""
_WEEK, _MONDAY = 7 * 86400, 4 * 86400
_CALENDAR = {"hour": (3600, 0), "day": (86400, 0), "week": (_WEEK, _MONDAY)}


class Window(Struct, frozen=True):
    """A stretch of time in buckets. `step` is a bucket's length in seconds, 0 for a calendar month; `offset` is where
    bucket 0 begins; so many buckets before the newest count as well (`span`, 0: a calendar window)."""

    step: float
    offset: int = 0
    span: int = 0

    def bucket(self, ts: float) -> int:
        """The bucket that a Unix time is in."""
        if self.step:
            return int((ts - self.offset) // self.step)
        day = datetime.fromtimestamp(ts, UTC)
        return day.year * 12 + day.month - 1

    def begins(self, bucket: int) -> float:
        """The Unix time at which a bucket begins."""
        if self.step:
            return bucket * self.step + self.offset
        return datetime(bucket // 12, bucket % 12 + 1, 1, tzinfo=UTC).timestamp()

    def leaves(self, bucket: int) -> float:
        """The Unix time from which a bucket does not count any more."""
        return self.begins(bucket + self.span + 1)

    def since(self, now: float) -> float:
        """The Unix time from which on things count now."""
        return self.begins(self.bucket(now) - self.span)


def calendar(unit: str) -> Window:
    """The UTC hour, day, week (from Monday) or month."""
    return Window(0) if unit == "month" else Window(*_CALENDAR[unit])


def rolling(length: float) -> Window:
    """Any stretch of so many seconds."""
    return Window(length / SLOTS, 0, SLOTS)


class Terms(Struct, frozen=True):
    """One budget as the policy has it. `limit` is nano-USD."""

    name: str
    limit: int
    window: Window
    hard: bool = True


class Hold(Struct, frozen=True, eq=False):
    """What is kept back for one attempt of a call that came at `ts`: the most it may cost."""

    ts: float
    nano: int


class Standing(Struct, frozen=True):
    """One account as it is now, in nano-USD; `resets` is the Unix time at which something of it comes back."""

    name: str
    subject: str
    limit: int
    spent: int
    reserved: int
    resets: float
    hard: bool

    @property
    def left(self) -> int:
        """What may still be taken."""
        return max(0, self.limit - self.spent - self.reserved)


class Account:
    """Spent and held money of one subject of one budget. Use on one thread."""

    __slots__ = ("_held", "_newest", "_open", "_spent", "_window", "budget", "subject", "used")

    def __init__(self, budget: str, subject: str, window: Window) -> None:
        self.budget = budget
        self.subject = subject
        self._window = window
        self._spent: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._open: set[Hold] = set()
        self._newest = 0
        self.used = 0.0

    def standing(self, now: float) -> tuple[int, int]:
        """Nano-USD spent and held in the window of a call that came at `now`."""
        bucket, window = self._window.bucket(now), self._window
        if not window.span:
            return self._spent.get(bucket, 0), self._held.get(bucket, 0)
        first = bucket - window.span
        # Later ones too: a window that ends after this call holds both.
        return (
            sum(nano for place, nano in self._spent.items() if place >= first),
            sum(nano for place, nano in self._held.items() if place >= first),
        )

    def reserve(self, hold: Hold, limit: int | None) -> float:
        """Hold the amount if it fits under `limit` (None: there is none) and return 0; else hold nothing and return
        the seconds after which it may fit."""
        if limit is not None and (wait := self.wait(hold.nano, limit, hold.ts)):
            return wait
        self._open.add(hold)
        self._change(self._held, hold.ts, hold.nano)
        return 0.0

    def settle(self, hold: Hold, nano: int) -> bool:
        """What was held was spent, so much of it or, if a provider did not keep to its limits, more. False, and
        nothing happens, when this hold has been settled before."""
        if hold not in self._open:
            return False
        self._open.discard(hold)
        self._change(self._held, hold.ts, -hold.nano)
        self.spend(hold.ts, nano)
        return True

    def spend(self, ts: float, nano: int) -> None:
        """Count what was spent at a Unix time."""
        if nano:
            self._change(self._spent, ts, nano)

    def wait(self, nano: int, limit: int, now: float) -> float:
        """Seconds until so much may fit, were nothing else spent; 0 when it fits now."""
        window, bucket = self._window, self._window.bucket(now)
        # A call from before what is remembered: it cannot be told what was spent then.
        forgotten = bucket < self._newest - max(1, window.span)
        spent, held = self.standing(now)
        if spent + held + nano <= limit and not forgotten:
            return 0.0
        if spent + nano <= limit:
            return HELD
        leaves = window.leaves(bucket)
        over = spent + nano - limit
        if window.span and nano <= limit:
            for place in sorted(place for place in self._spent if place >= bucket - window.span):
                over -= self._spent[place]
                if over <= 0:
                    leaves = window.leaves(place)
                    break
        return max(leaves - now, 0.001)

    def resets(self, now: float) -> float:
        """The Unix time at which something of what counts now does not count any more."""
        first = self._window.bucket(now) - self._window.span
        return self._window.leaves(min((place for place in self._spent if place >= first), default=first))

    def idle(self, now: float) -> bool:
        """Whether forgetting it would change nothing."""
        return not self._open and not any(self.standing(now)) and self.used < now - UNUSED

    def rebuild(self, window: Window) -> None:
        """Forget what was spent, to be told anew, in another window; what is held stays."""
        self._window = window
        self._spent, self._held, self._newest = {}, {}, 0
        for hold in self._open:
            self._change(self._held, hold.ts, hold.nano)

    def remember(self, spent: Spent) -> None:
        """Count what the ledger knows. Of the minute the last moment is taken: it counts no shorter than it should."""
        self.spend(spent.minute * MINUTE + (MINUTE - 0.001 if self._window.span else 0), spent.nano)

    def _change(self, buckets: dict[int, int], ts: float, nano: int) -> None:
        bucket = self._window.bucket(ts)
        if bucket > self._newest:
            self._newest = bucket
            oldest = bucket - max(1, 2 * self._window.span)
            for place in [place for place in self._spent if place < oldest]:
                del self._spent[place]
        total = buckets.get(bucket, 0) + nano
        if total:
            buckets[bucket] = total
        else:
            buckets.pop(bucket, None)


class Accounts:
    """All accounts of a gateway. `ledger` remembers them; without one (tests, `explain`) they live as long as this.

    No account with anything in its window is ever forgotten for another: past `most`, new ones are refused.
    """

    def __init__(self, most: int = 100_000) -> None:
        self.ledger: Ledger | None = None
        self._most = most
        self._accounts: dict[tuple[str, str], Account] = {}
        self._terms: dict[str, Terms] = {}
        self._swept = -inf
        self._recalled: tuple[frozenset[str], Sequence[Spent]] = (frozenset(), ())
        self._late: list[tuple[Account, float, int]] | None = None

    def find(self, terms: Terms, subject: str, now: float) -> Account | None:
        """The account, made if there is none; None when there are too many."""
        account = self._accounts.get((terms.name, subject))
        if account is None and (len(self._accounts) < self._most or self._sweep(now)):
            account = self._accounts[terms.name, subject] = Account(terms.name, subject, terms.window)
        if account is not None:
            account.used = now
        return account

    def look(self, terms: Terms, subject: str) -> Account:
        """The account, or an empty one that is not kept: for those who only look."""
        return self._accounts.get((terms.name, subject)) or Account(terms.name, subject, terms.window)

    def begin(self, row: Row) -> None:
        """An attempt is about to be sent: should nobody live to settle it, it stands for the most it may cost."""
        if self.ledger is not None:
            self.ledger.begin(row)

    def settle(self, account: Account, hold: Hold, nano: int) -> None:
        """See `Account.settle`."""
        if account.settle(hold, nano) and self._late is not None:
            self._late.append((account, hold.ts, nano))

    async def recall(self, terms: Iterable[Terms], now: float) -> None:
        """Read what the ledger knows of budgets that are new, or have another window. `adopt` or `abandon` follows."""
        since = {each.name: each.window.since(now) for each in terms if self._is_new(each)}
        if not since or self.ledger is None:
            self._recalled = frozenset(since), ()
            return
        await self.ledger.flush()
        self._late = []  # from here on the answer does not hold what is settled
        self._recalled = frozenset(since), await self.ledger.spending(since)

    def adopt(self, terms: Iterable[Terms]) -> None:
        """Take over a policy's budgets. Those that were there keep what they spent; new ones know what was recalled."""
        (names, rows), late = self._recalled, self._late or ()
        self._terms = {each.name: each for each in terms}
        for account in self._accounts.values():
            if account.budget in names:
                account.rebuild(self._terms[account.budget].window)
        for spent in rows:
            key = spent.budget, spent.subject
            if key not in self._accounts:
                self._accounts[key] = Account(*key, self._terms[spent.budget].window)
            self._accounts[key].remember(spent)
        for account, ts, nano in late:
            if account.budget in names:
                account.spend(ts, nano)
        self.abandon()

    def abandon(self) -> None:
        """Forget what was recalled: the policy was refused."""
        self._recalled, self._late = (frozenset(), ()), None

    def snapshot(self, now: float) -> list[Standing]:
        """Every account of today's budgets, and those budgets that nobody has used yet (with an empty subject)."""
        unused = dict(self._terms)
        found = []
        for account in self._accounts.values():
            if (terms := self._terms.get(account.budget)) is not None:
                unused.pop(terms.name, None)
                spent, held = account.standing(now)
                found.append(_standing(terms, account, spent, held, now))
        found += [_standing(terms, Account(terms.name, "", terms.window), 0, 0, now) for terms in unused.values()]
        return found

    def _is_new(self, terms: Terms) -> bool:
        known = self._terms.get(terms.name)
        return known is None or known.window != terms.window

    def _sweep(self, now: float) -> bool:
        """Forget accounts that hold nothing, at most once a second. Whether there is room."""
        if now - self._swept >= 1:
            self._swept = now
            idle: Iterator[tuple[str, str]] = (key for key, account in self._accounts.items() if account.idle(now))
            for key in list(idle):
                del self._accounts[key]
        return len(self._accounts) < self._most


def _standing(terms: Terms, account: Account, spent: int, held: int, now: float) -> Standing:
    return Standing(terms.name, account.subject, terms.limit, spent, held, account.resets(now), terms.hard)
