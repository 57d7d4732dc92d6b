"""What was put aside of a request as OTLP spans: one of the request, and below it one of each attempt."""

from contextlib import suppress
from functools import lru_cache
from urllib.parse import urlsplit

from ..chat import FailureKind, Usage
from ..providers import VENDORS
from ..registry.price import NANO
from ..telemetry import names
from ..telemetry.otlp import (
    CLIENT,
    END,
    SERVER,
    Span,
    bounded,
    flag,
    inside,
    integer,
    number,
    open_integer,
    open_number,
    open_text,
    text,
    texts,
)
from .content import shown
from .traces import Finished, Tried

_FINISH_REASONS = frozenset({"stop", "length", "tool_calls", "content_filter"})
_PORTS = {"http": 80, "https": 443}
_DECIDED = (
    names.POLICY, names.CACHE, names.TENANT, names.KEY, names.TIER, names.RULE, names.STRATEGY, names.ERROR_TYPE
)  # fmt: skip
_PARAMETERS = (
    (names.REQUEST_MAX_TOKENS, integer),
    (names.REQUEST_TEMPERATURE, number),
    (names.REQUEST_TOP_P, number),
    (names.REQUEST_SEED, integer),
    (names.REQUEST_CHOICES, integer),
    (names.REQUEST_FREQUENCY_PENALTY, number),
    (names.REQUEST_PRESENCE_PENALTY, number),
)
_OPERATION = text(names.OPERATION, "chat")
_STREAM = flag(names.REQUEST_STREAM, True)
_ESTIMATED = flag(names.USAGE_ESTIMATED, True)
_REQUEST_MODEL = open_text(names.REQUEST_MODEL)
_REQUEST_ID = open_text(names.REQUEST_ID)
_STATUS = open_integer(names.HTTP_STATUS)
_OVERHEAD = open_number(names.OVERHEAD_MS)
_ATTEMPTS = open_integer(names.ATTEMPTS)
_COST = open_number(names.COST_USD)
_RESPONSE_ID = open_text(names.RESPONSE_ID)
_RESPONSE_MODEL = open_text(names.RESPONSE_MODEL)
_INPUT = open_integer(names.INPUT_TOKENS)
_OUTPUT = open_integer(names.OUTPUT_TOKENS)


def written(finished: Finished) -> str:
    """The span of a request, then those of its attempts, as JSON with commas between."""
    return ",".join([_request(finished), *[_attempt(tried, finished) for tried in finished.tried]])


def _request(finished: Finished) -> str:
    """The span of a request."""
    context, failure, more = finished.context, finished.failure or "", ""
    if finished.conversation:
        more = "," + text(names.CONVERSATION, finished.conversation)
    if finished.hit is not None:
        model, provider = finished.hit
        more += f",{text(names.RESPONSE_MODEL, model)},{text(names.MODEL_PROVIDER, provider)},{_COST}0.0}}}}"
    elif finished.tried:
        costs = [tried.nano for tried in finished.tried if tried.nano is not None]
        if len(costs) == len(finished.tried):
            more += f",{_COST}{sum(costs) / NANO!r}}}}}"
    if not finished.tried:
        more += _content(finished)
    decided = _decided(
        finished.stream, finished.policy, finished.cache, finished.tenant, finished.key, finished.tier, finished.rule,
        finished.strategy, failure,
    )  # fmt: skip
    asked = inside(finished.asked)
    attributes = (
        f"{decided},{_REQUEST_MODEL}{asked}{END},{_REQUEST_ID}{finished.id}{END},{_STATUS}{finished.status}{END},"
        f"{_OVERHEAD}{finished.overhead_ms!r}}}}},{_ATTEMPTS}{len(finished.tried)}{END}{more}"
    )
    failed = finished.status >= 500 or (finished.status < 400 and failure != "")
    return Span(
        context.trace, context.span, context.parent, context.state, f"chat {asked}", SERVER,
        finished.wall(finished.started), finished.now, attributes, failed,
    ).written()  # fmt: skip


@lru_cache(maxsize=4096)
def _decided(stream: bool, *values: str) -> str:
    """What comes from the configuration: the same few again and again."""
    found = [_OPERATION, text(names.HTTP_METHOD, "POST"), text(names.HTTP_ROUTE, "/v1/chat/completions")]
    found += [_STREAM] if stream else []
    return ",".join([*found, *(text(name, value) for name, value in zip(_DECIDED, values, strict=True) if value)])


def _attempt(tried: Tried, finished: Finished) -> str:
    """The span of an attempt."""
    route, context, failure, reason = tried.route, finished.context, tried.failure, tried.finish_reason
    target = route.target
    found = _ended(
        (route.model.id, target.model, route.provider, target.base_url),
        (tried.number, tried.status, None if failure is None else failure.value),
        reason if reason in _FINISH_REASONS else None,
        finished.stream,
    ) + _parameters(finished.parameters)
    if tried.response_id:
        found += f",{_RESPONSE_ID}{inside(tried.response_id)}{END}"
    if tried.response_model:
        found += f",{_RESPONSE_MODEL}{inside(tried.response_model)}{END}"
    if tried.nano is not None:
        found += f",{_COST}{tried.nano / NANO!r}}}}}"
    if tried.usage is not None:
        found += _of_usage(tried.usage)
    if tried.first_token is not None and finished.stream:
        found += "," + number(names.RESPONSE_FIRST_CHUNK, tried.first_token - tried.started)
    if tried is finished.tried[-1]:
        found += _content(finished)
    return Span(
        context.trace, tried.span, context.span, context.state, f"chat {inside(target.model)}", CLIENT,
        finished.wall(tried.started), finished.wall(tried.ended), found,
        failure is not None and failure is not FailureKind.CANCELLED,
    ).written()  # fmt: skip


@lru_cache(maxsize=4096)
def _ended(
    route: tuple[str, str, str, str], ended: tuple[int, int | None, str | None], reason: str | None, stream: bool
) -> str:
    """Where an attempt went and how it ended: out of the configuration, and closed lists."""
    model, upstream, provider, base_url = route
    attempt, status, failure = ended
    found = [
        _OPERATION,
        text(names.PROVIDER, VENDORS.get(provider, provider)),
        text(names.REQUEST_MODEL, upstream),
        text(names.MODEL, model),
        text(names.MODEL_PROVIDER, provider),
        *_address(base_url),
        integer(names.ATTEMPT, attempt),
    ]
    found += [_STREAM] if stream else []
    found += [text(names.ERROR_TYPE, failure)] if failure is not None else []
    found += [integer(names.HTTP_STATUS, status)] if status is not None else []
    found += [texts(names.RESPONSE_FINISH_REASONS, reason)] if reason is not None else []
    return ",".join(found)


def _content(finished: Finished) -> str:
    told = ((names.INPUT_MESSAGES, finished.input), (names.OUTPUT_MESSAGES, finished.output))
    return "".join(f",{text(name, shown(said))}" for name, said in told if said)


def _of_usage(usage: Usage) -> str:
    found = f",{_INPUT}{bounded(usage.input_tokens)}{END},{_OUTPUT}{bounded(usage.output_tokens)}{END}"
    put_by = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    if usage.cached_tokens:
        found += "," + integer(names.CACHE_READ_TOKENS, usage.cached_tokens)
    if put_by:
        found += "," + integer(names.CACHE_CREATION_TOKENS, put_by)
    if usage.reasoning_tokens:
        found += "," + integer(names.REASONING_TOKENS, usage.reasoning_tokens)
    return f"{found},{_ESTIMATED}" if usage.estimated else found


@lru_cache(maxsize=1024)
def _parameters(given: tuple[object, ...]) -> str:
    """What a caller set: an app asks in the same way again and again."""
    return "".join(
        f",{make(name, value)}"  # type: ignore[arg-type]  # each value is of its maker's type
        for (name, make), value in zip(_PARAMETERS, given, strict=True)
        if value is not None
    )


def _address(base_url: str) -> list[str]:
    """The host alone: a URL may hold a password."""
    address = urlsplit(base_url)
    if not address.hostname:
        return []
    found = [text(names.SERVER_ADDRESS, address.hostname)]
    with suppress(ValueError):  # a port that is none
        found.append(integer(names.SERVER_PORT, address.port or _PORTS[address.scheme]))
    return found
