"""What was put aside of a request as OTLP spans: one of the request, and below it one of each attempt."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from ..chat import FailureKind
from ..providers import VENDORS
from ..registry.price import NANO
from ..telemetry import names
from ..telemetry.otlp import (
    CLIENT,
    ERROR,
    SERVER,
    Attribute,
    Span,
    Status,
    flag,
    integer,
    known_text,
    number,
    text,
    texts,
)
from .content import shown
from .traces import Finished, Tried

_CANCELLED = FailureKind.CANCELLED.value
_FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
_PORTS = {"http": 80, "https": 443}
PARAMETERS: tuple[tuple[str, Callable[[str, Any], Attribute]], ...] = (
    (names.REQUEST_MAX_TOKENS, integer),
    (names.REQUEST_TEMPERATURE, number),
    (names.REQUEST_TOP_P, number),
    (names.REQUEST_SEED, integer),
    (names.REQUEST_CHOICES, integer),
    (names.REQUEST_FREQUENCY_PENALTY, number),
    (names.REQUEST_PRESENCE_PENALTY, number),
)
"""What a caller may set, in the order in which `traces.py` puts it aside."""


def spans(finished: Finished) -> Iterator[Span]:
    """The span of a request, then those of its attempts."""
    context = finished.context
    failed = finished.status >= 500 or (finished.status < 400 and finished.failure is not None)
    yield Span(
        context.trace, context.span, f"chat {finished.asked}", SERVER, str(finished.start), str(finished.end),
        _of_request(finished), context.parent, context.state, Status(ERROR) if failed else Status(),
    )  # fmt: skip
    parameters = [
        make(name, value)
        for (name, make), value in zip(PARAMETERS, finished.parameters, strict=True)
        if value is not None
    ]
    for tried in finished.tried:
        attributes = [*_of_route(tried.model, tried.upstream, tried.provider, tried.base_url), *parameters]
        attributes.extend(_of_attempt(tried, finished.stream))
        if tried is finished.tried[-1]:
            attributes.extend(_of_content(finished))
        yield Span(
            context.trace, tried.span, f"chat {tried.upstream}", CLIENT, str(tried.start), str(tried.end), attributes,
            context.span, context.state, Status(ERROR) if tried.failure not in (None, _CANCELLED) else Status(),
        )  # fmt: skip


def _of_request(finished: Finished) -> list[Attribute]:
    found = [
        _OPERATION, _METHOD, _ROUTE,
        text(names.REQUEST_MODEL, finished.asked),
        integer(names.HTTP_STATUS, finished.status),
        text(names.REQUEST_ID, finished.id),
        number(names.OVERHEAD_MS, finished.overhead_ms),
        integer(names.ATTEMPTS, len(finished.tried)),
    ]  # fmt: skip
    if finished.stream:
        found.append(_STREAM)
    for name, value in (
        (names.POLICY, finished.policy), (names.CACHE, finished.cache), (names.TENANT, finished.tenant),
        (names.KEY, finished.key), (names.TIER, finished.tier), (names.RULE, finished.rule),
        (names.STRATEGY, finished.strategy), (names.ERROR_TYPE, finished.failure),
    ):  # fmt: skip
        if value:
            found.append(known_text(name, value))
    if finished.conversation:
        found.append(text(names.CONVERSATION, finished.conversation))
    if finished.answered_by is not None:
        model, provider = finished.answered_by
        found += [known_text(names.RESPONSE_MODEL, model), known_text(names.MODEL_PROVIDER, provider)]
        found.append(number(names.COST_USD, 0.0))
    elif finished.tried and all(tried.nano is not None for tried in finished.tried):
        found.append(number(names.COST_USD, sum(tried.nano or 0 for tried in finished.tried) / NANO))
    return found if finished.tried else [*found, *_of_content(finished)]


def _of_attempt(tried: Tried, stream: bool) -> Iterator[Attribute]:
    usage = tried.usage
    yield integer(names.ATTEMPT, tried.number)
    if stream:
        yield _STREAM
    if tried.failure is not None:
        yield known_text(names.ERROR_TYPE, tried.failure)
    if tried.status is not None:
        yield integer(names.HTTP_STATUS, tried.status)
    if tried.finish_reason is not None and tried.finish_reason in _FINISH_REASONS:
        yield texts(names.RESPONSE_FINISH_REASONS, tried.finish_reason)
    if tried.response_id:
        yield text(names.RESPONSE_ID, tried.response_id)
    if tried.response_model:
        yield text(names.RESPONSE_MODEL, tried.response_model)
    if tried.first_token is not None and stream:
        yield number(names.RESPONSE_FIRST_CHUNK, tried.first_token)
    if tried.nano is not None:
        yield number(names.COST_USD, tried.nano / NANO)
    if usage is None:
        return
    yield integer(names.INPUT_TOKENS, usage.input_tokens)
    yield integer(names.OUTPUT_TOKENS, usage.output_tokens)
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    if usage.cached_tokens:
        yield integer(names.CACHE_READ_TOKENS, usage.cached_tokens)
    if written:
        yield integer(names.CACHE_CREATION_TOKENS, written)
    if usage.reasoning_tokens:
        yield integer(names.REASONING_TOKENS, usage.reasoning_tokens)
    if usage.estimated:
        yield _ESTIMATED


def _of_content(finished: Finished) -> Iterator[Attribute]:
    if finished.input:
        yield text(names.INPUT_MESSAGES, shown(finished.input))
    if finished.output:
        yield text(names.OUTPUT_MESSAGES, shown(finished.output))


@lru_cache(maxsize=4096)
def _of_route(model: str, upstream: str, provider: str, base_url: str) -> tuple[Attribute, ...]:
    """What is the same for all attempts of a model. Of the address the host alone: a URL may hold a password."""
    address = urlsplit(base_url)
    found = [
        _OPERATION,
        text(names.PROVIDER, VENDORS.get(provider, provider)),
        text(names.REQUEST_MODEL, upstream),
        text(names.MODEL, model),
        text(names.MODEL_PROVIDER, provider),
    ]
    if address.hostname:
        found.append(text(names.SERVER_ADDRESS, address.hostname))
        with suppress(ValueError):  # a port that is none
            found.append(integer(names.SERVER_PORT, address.port or _PORTS[address.scheme]))
    return tuple(found)


_OPERATION = text(names.OPERATION, "chat")
_METHOD = text(names.HTTP_METHOD, "POST")
_ROUTE = text(names.HTTP_ROUTE, "/v1/chat/completions")
_STREAM = flag(names.REQUEST_STREAM, True)
_ESTIMATED = flag(names.USAGE_ESTIMATED, True)
