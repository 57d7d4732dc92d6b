"""What pays for one call: the accounts of all budgets that apply to it, asked before every attempt.

The most an attempt may cost is an upper bound, not an estimate: a token is at least a byte of the body, and what a
provider adds or cannot be seen from here has bounds of its own. It is never above the model's window.
"""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from ..call import Call
from ..chat import Failure, FailureKind, Part, Problem, Usage, body_fields
from ..registry.index import Model
from ..registry.price import NANO, PriceList, usd
from ..spec import in_words
from ..stores.base import Accounts
from ..stores.budgets import Account, Hold, Terms
from ..stores.ledger import Row

ADDED = 1024
"""Tokens that a provider may add to a prompt: templates, and the instructions that come with tools."""
IMAGE = 50_000
"""Most tokens of one image: its bytes say little of that, and its URL nothing."""
AUDIO = 2_000
"""Tokens of a sound beside its bytes, which are more than its tokens in any but the tersest encoding."""
SHARE = 4
"""A call whose caller sets no limit on its output may have this part of what a budget has left ..."""
LEAST = 2048
"""... or as many tokens, if so much is left: an answer must have room."""
_KNOWN = frozenset({"text", "image_url", "input_audio", "refusal"})
_STANDARD = frozenset({b"null", b'"default"', b'"standard_only"'})
_encode = msgspec.json.Encoder().encode


class Entry(Struct, frozen=True):
    """An account, and the budget that bounds it."""

    terms: Terms
    account: Account


class CallPurse:
    """The purse of one call. Use on one thread."""

    __slots__ = ("_bound", "_call", "_fields", "_held", "_store", "accounts", "entries")

    def __init__(self, call: Call, entries: Sequence[Entry], store: Accounts) -> None:
        self._call = call
        self.entries = entries
        self._store = store
        self._held: dict[int, Hold] = {}
        self._fields = body_fields(call.raw) if call.raw else {}
        self._bound = _input_bound(call)
        self.accounts = ",".join(f"{entry.terms.name}|{entry.account.subject}" for entry in entries)

    def enter(self, model: Model, attempt: int) -> Failure | None:
        """Hold the most that this attempt may cost in every account; or say why it may not be sent."""
        if model.price is None:
            return _unpriced(model)
        hold = Hold(self._call.now, self._worst(model.price, model, self._most_output(model)))
        for place, entry in enumerate(self.entries):
            wait = entry.account.reserve(hold, entry.terms.limit if entry.terms.hard else None)
            if wait:
                for taken in self.entries[:place]:
                    self._store.settle(taken.account, hold, 0)
                return self._over(entry, hold.nano, wait)
        self._held[attempt] = hold
        self._store.begin(self._row(model, attempt, hold))
        return None

    def leave(self, attempt: int, usage: Usage | None, nano: int | None) -> None:
        """Keep what the attempt cost and give back the rest."""
        hold = self._held.pop(attempt, None)
        if hold is not None:
            for entry in self.entries:
                self._store.settle(entry.account, hold, hold.nano if nano is None else nano)

    def afford(self) -> Problem | None:
        """Take models out of the chain that have no price, or may cost more than is left; say why when none remains.

        A caller that sets no limit on its output is given one as the budget runs low.
        """
        call, last = self._call, None
        kept: list[Model] = []
        for model in call.chain:
            failure = self._refused(model, limit=not kept)
            if failure is None:
                kept.append(model)
                continue
            call.dropped.append((model.id, _REASONS[failure.kind]))
            if last is None or failure.kind is FailureKind.OVER_BUDGET:
                last = failure
        call.chain = kept
        return None if kept or last is None else _problem(last)

    def _refused(self, model: Model, limit: bool) -> Failure | None:
        """Why this model cannot be paid for now. `limit`: the call may be given a limit so that it can."""
        price = model.price
        if price is None:
            return _unpriced(model)
        hard = [entry for entry in self.entries if entry.terms.hard]
        if not hard:
            return None
        left = min(e.terms.limit - sum(e.account.standing(self._call.now)) for e in hard)
        if limit and self._call.chat.output_limit is None:
            self._set_limit(price, model, left)
        nano = self._worst(price, model, self._most_output(model))
        for entry in hard:
            if wait := entry.account.wait(nano, entry.terms.limit, self._call.now):
                return self._over(entry, nano, wait)
        return None

    def _set_limit(self, price: PriceList, model: Model, left: int) -> None:
        """Bound the output so that the call takes no more than its share; not when even little would not fit."""
        call, choices = self._call, self._call.features.choices
        least = self._worst(price, model, min(LEAST, model.max_output) * choices)
        share = max(left // SHARE, least)
        if least > left or self._most_cost(price, model) <= share:
            return
        empty = self._worst(price, model, 0)
        per_million = self._worst(price, model, 10**6) - empty + 1
        limit = max((share - empty) * 10**6 // per_million // choices, min(LEAST, model.max_output))
        call.chat.max_tokens = limit
        fields = {name: value for name, value in self._fields.items() if name != "max_completion_tokens"}
        call.raw = _encode({**fields, "max_tokens": Raw(_encode(limit))})

    def _most_cost(self, price: PriceList, model: Model) -> int:
        return self._worst(price, model, self._most_output(model))

    def _most_output(self, model: Model) -> int:
        """The caller's limit, the larger one if it set two; else what the model can give. For each choice."""
        chat = self._call.chat
        limits = [limit for limit in (chat.max_tokens, chat.max_completion_tokens) if limit is not None]
        return max(limits, default=model.max_output) * self._call.features.choices

    def _worst(self, price: PriceList, model: Model, output: int) -> int:
        """The most that so much output, with all input, may cost; on the dearest service tier, if one is asked for."""
        call, fields = self._call, self._fields
        size = max(call.features.tokens, model.context if self._bound is None else min(self._bound, model.context))
        sound = bool(call.features.audio) or "audio" in fields or "modalities" in fields
        tier = fields.get("service_tier")
        lists = [price]
        if tier is not None and bytes(tier) not in _STANDARD:
            lists += [prices for _, prices in price.service_tiers]
        return max(each.worst_case(size, output, audio=sound, long_cache=b'"1h"' in call.raw) for each in lists)

    def _over(self, entry: Entry, nano: int, wait: float) -> Failure:
        terms = entry.terms
        left = max(0, terms.limit - sum(entry.account.standing(self._call.now)))
        message = (
            f"The budget `{terms.name}` has {usd(left)} USD left of {usd(terms.limit)}, and this request may cost "
        )
        if nano > terms.limit:  # waiting will not help
            message += f"{usd(nano)}, more than all of it. Set a smaller max_tokens."
        else:
            message += f"{usd(nano)}. Try again in {in_words(wait)}, or with a smaller max_tokens."
        return Failure(FailureKind.OVER_BUDGET, message, retry_after=wait)

    def _row(self, model: Model, attempt: int, hold: Hold) -> Row:
        call, features = self._call, self._call.features
        return Row(
            call.now, call.id, attempt, "lost", "chat", call.chat.model[:128], features.tenant, features.key,
            model.id, model.provider, call.tier or None, call.rule or None, call.strategy or None,
            int(features.stream), call.cache, "lost", estimated=1, cost_nano=hold.nano, budgets=self.accounts,
        )  # fmt: skip


def used_up(entry: Entry, now: float) -> Problem:
    """What a caller is told when nothing at all is left."""
    wait = entry.account.wait(1, entry.terms.limit, now)
    limit = usd(entry.terms.limit)
    message = f"The budget `{entry.terms.name}` of {limit} USD is used up. Try again in {in_words(wait)}."
    return _problem(Failure(FailureKind.OVER_BUDGET, message, retry_after=wait))


def _input_bound(call: Call) -> int | None:
    """No prompt made of this body has more tokens; None when the body does not tell."""
    if call.features.documents:
        return None
    bound = len(call.raw) + ADDED + call.features.images * IMAGE + call.features.audio * AUDIO
    for message in call.chat.messages:
        for part in message.content if isinstance(message.content, list) else ():
            if part.type not in _KNOWN:
                return None
            bound -= _picture(part)
    return bound


def _picture(part: Part) -> int:
    """Bytes of an image in the body: they are no text."""
    image = part.image_url
    return 0 if image is None else len(image if isinstance(image, str) else image.url)


def _unpriced(model: Model) -> Failure:
    message = f"The model `{model.id}` has no price, and this caller has a budget: nobody could say what it would cost."
    return Failure(FailureKind.UNPRICED, message, param="model")


def _problem(failure: Failure) -> Problem:
    if failure.kind is FailureKind.UNPRICED:
        return Problem(402, "invalid_request_error", failure.message, "model_unpriced", "model")
    return Problem(429, "insufficient_quota", failure.message, "budget_exceeded", None, failure.retry_after)


_REASONS = {
    FailureKind.UNPRICED: "has no price, and the caller has a budget",
    FailureKind.OVER_BUDGET: "may cost more than a budget has left",
}
MOST_LIMIT = 1_000_000_000
"""US dollars: a limit above it is a slip, and its nano-dollars must fit into the database's integers."""
assert MOST_LIMIT * NANO < 2**63
