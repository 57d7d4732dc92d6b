"""What was put aside of a request as OTLP spans: one of the request, and below it one of each attempt."""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from urllib.parse import urlsplit

from ..chat import FailureKind
from ..providers import VENDORS
from ..registry.price import NANO
from ..stores.ledger import Row
from ..telemetry import names
from ..telemetry.otlp import CLIENT, SERVER, flag, form, integer, number, numbers, place, span, text, texts
from .content import shown
from .traces import Finished, Tried

_CANCELLED = FailureKind.CANCELLED.value
_FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
_PORTS = {"http": 80, "https": 443}
_DECIDED = (
    names.POLICY, names.CACHE, names.TENANT, names.KEY, names.TIER, names.RULE, names.STRATEGY, names.ERROR_TYPE
)  # fmt: skip
PARAMETERS = (
    (names.REQUEST_MAX_TOKENS, integer),
    (names.REQUEST_TEMPERATURE, number),
    (names.REQUEST_TOP_P, number),
    (names.REQUEST_CHOICES, integer),
    (names.REQUEST_FREQUENCY_PENALTY, number),
    (names.REQUEST_PRESENCE_PENALTY, number),
)
_OPERATION = text(names.OPERATION, "chat")
_STREAM = flag(names.REQUEST_STREAM, True)
_ESTIMATED = flag(names.USAGE_ESTIMATED, True)
_overhead = numbers(names.OVERHEAD_MS)
_cost = numbers(names.COST_USD)


def written(finished: Finished) -> list[bytes]:
    """The span of a request, then those of its attempts."""
    found = [_request(finished)]
    for tried in finished.tried:
        found.append(_attempt(tried, finished))
    return found


def _request(finished: Finished) -> bytes:
    """The span of a request."""
    context, row, tried = finished.context, finished.row, finished.tried
    told = text(names.REQUEST_ID, row.request_id) + _overhead(row.overhead_ms or 0.0)
    nano = row.cost_nano if len(tried) < 2 else _sum([attempt.row.cost_nano for attempt in tried])
    if nano is not None:
        told += _cost(nano / NANO)
    if finished.conversation:
        told += text(names.CONVERSATION, finished.conversation)
    if finished.input is not None and not tried:
        told += _content(finished)
    form = _request_form(
        row.requested_model, finished.status, len(tried), row.stream, None if tried else (row.model, row.provider),
        (row.policy, row.cache, row.tenant, row.key_name, row.tier, row.rule, row.strategy, row.failure),
    )  # fmt: skip
    start = finished.now - int((finished.ended - finished.started) * 1e9)
    return span(form, place(context.trace, context.span, context.parent, context.state), start, finished.now, told)


@lru_cache(maxsize=1024)
def _request_form(
    asked: str,
    status: int,
    attempts: int,
    stream: int,
    answered_by: tuple[str | None, str | None] | None,
    decided: tuple[str | None, ...],
) -> bytes:
    """By what the configuration makes of requests: the same few again and again."""
    found = [
        _OPERATION,
        text(names.HTTP_METHOD, "POST"),
        text(names.HTTP_ROUTE, "/v1/chat/completions"),
        text(names.REQUEST_MODEL, asked),
        integer(names.HTTP_STATUS, status),
        integer(names.ATTEMPTS, attempts),
    ]
    found += [_STREAM] if stream else []
    found += [text(name, value) for name, value in zip(_DECIDED, decided, strict=True) if value]
    if answered_by is not None:
        pairs = zip((names.RESPONSE_MODEL, names.MODEL_PROVIDER), answered_by, strict=True)
        found += [text(name, value) for name, value in pairs if value]
    failed = status >= 500 or (status < 400 and decided[-1] is not None)
    return form(f"chat {asked}", SERVER, found, failed)


def _sum(costs: Sequence[int | None]) -> int | None:
    """Nobody knows the sum when one of them is not known."""
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _attempt(tried: Tried, finished: Finished) -> bytes:
    """The span of an attempt."""
    context, row, target = finished.context, tried.row, tried.route.target
    told = text(names.RESPONSE_ID, tried.response_id) if tried.response_id else b""
    if row.cost_nano is not None:
        told += _cost(row.cost_nano / NANO)
    if row.input_tokens or row.output_tokens:
        told += _of_usage(row)
    if row.first_token_ms is not None and row.stream:
        told += number(names.RESPONSE_FIRST_CHUNK, row.first_token_ms / 1000)
    if finished.seed is not None:
        told += integer(names.REQUEST_SEED, finished.seed)
    if finished.input is not None and tried is finished.tried[-1]:
        told += _content(finished)
    form = _attempt_form(
        (row.model, target.model, row.provider, target.base_url), (row.attempt, row.status, row.failure),
        row.finish_reason, row.stream, tried.response_model, finished.parameters,
    )  # fmt: skip
    start = finished.now - int((finished.ended - tried.started) * 1e9)
    where = place(context.trace, tried.span, context.span, context.state)
    return span(form, where, start, start + int(row.latency_ms * 1e6), told)


@lru_cache(maxsize=1024)
def _attempt_form(
    route: tuple[str | None, str, str | None, str],
    ended: tuple[int, int | None, str | None],
    reason: str | None,
    stream: int,
    response_model: str,
    parameters: tuple[object, ...],
) -> bytes:
    """By where attempts go, how they end, and what callers set: an app asks in the same way again and again."""
    model, upstream, provider, base_url = route
    attempt, status, failure = ended
    found = [
        _OPERATION,
        text(names.PROVIDER, VENDORS.get(provider or "", provider or "")),
        text(names.REQUEST_MODEL, upstream),
        text(names.MODEL, model or ""),
        text(names.MODEL_PROVIDER, provider or ""),
        *_address(base_url),
        integer(names.ATTEMPT, attempt),
    ]
    found += [_STREAM] if stream else []
    found += [text(names.ERROR_TYPE, failure)] if failure is not None else []
    found += [integer(names.HTTP_STATUS, status)] if status is not None else []
    found += [texts(names.RESPONSE_FINISH_REASONS, reason)] if reason is not None and reason in _FINISH_REASONS else []
    found += [text(names.RESPONSE_MODEL, response_model)] if response_model else []
    found += [
        make(name, value)  # type: ignore[arg-type]  # each value is of its maker's type
        for (name, make), value in zip(PARAMETERS, parameters, strict=True)
        if value is not None
    ]
    return form(f"chat {upstream}", CLIENT, found, failure is not None and failure != _CANCELLED)


def _content(finished: Finished) -> bytes:
    told = ((names.INPUT_MESSAGES, finished.input), (names.OUTPUT_MESSAGES, finished.output))
    return b"".join([text(name, shown(said)) for name, said in told if said])


def _of_usage(row: Row) -> bytes:
    found = integer(names.INPUT_TOKENS, row.input_tokens) + integer(names.OUTPUT_TOKENS, row.output_tokens)
    if row.cached_tokens:
        found += integer(names.CACHE_READ_TOKENS, row.cached_tokens)
    if row.cache_write_tokens:
        found += integer(names.CACHE_CREATION_TOKENS, row.cache_write_tokens)
    if row.reasoning_tokens:
        found += integer(names.REASONING_TOKENS, row.reasoning_tokens)
    return found + _ESTIMATED if row.estimated else found


def _address(base_url: str) -> list[bytes]:
    """The host alone: a URL may hold a password."""
    address = urlsplit(base_url)
    if not address.hostname:
        return []
    found = [text(names.SERVER_ADDRESS, address.hostname)]
    with suppress(ValueError):  # a port that is none
        found.append(integer(names.SERVER_PORT, address.port or _PORTS[address.scheme]))
    return found
