"""Every recorded answer, through the gateway: the OpenAI SDK reads what the provider's own SDK reads from the bytes."""

from collections import Counter
from decimal import Decimal

import openai
import pytest
import yaml
from gateway import PROVIDERS, Served, Threaded

from .answers import Answer, Counted, Said, ask, of_anthropic, of_google, of_ollama
from .exchanges import Exchange, exchanges, present

GOOD = [exchange for exchange in exchanges() if exchange.status == 200]
PRICES = {name: model["price"] for name, model in yaml.safe_load(PROVIDERS.read_text())["models"].items()}
SECOND_START = "vercel-e5b4940e16"
"""Two message_start events: Anthropic's SDK refuses the stream, a gateway should not."""


def official(exchange: Exchange, replay: str) -> Answer:
    """What the provider's own SDK (for Ollama: its document) reads."""
    match exchange.model:
        case "test-openai":
            with openai.OpenAI(api_key="k", base_url=f"{replay}/openai/v1", max_retries=0) as direct:
                return ask(direct, exchange)
        case "test-anthropic" if exchange.id == SECOND_START:
            return Answer([Said("Hello, World!", finish="stop")], Counted(17, 227))
        case "test-anthropic":
            return of_anthropic(exchange, replay)
        case "test-google":
            return of_google(exchange, replay)
    return of_ollama(exchange)


def nano(model: str, used: Counted) -> Decimal:
    """The bill in 10^-9 dollars, from the prices in the file."""
    price = {name: Decimal(str(value)) for name, value in PRICES[model].items()}
    fresh = used.input - used.cached - used.written_5m - used.written_1h
    total = fresh * price["input"] + used.output * price["output"]
    total += used.cached * price.get("cache_read", price["input"])
    total += used.written_5m * price.get("cache_write_5m", Decimal(0))
    return (total + used.written_1h * price.get("cache_write_1h", Decimal(0))) * 1000


def without_ids(answer: Answer, wanted: Answer) -> Answer:
    """The answer with ids taken out where the provider gave none; ours must then still be distinct."""
    for choice, other in zip(answer.choices, wanted.choices, strict=True):
        ids = [id for id, _, _ in choice.calls]
        assert all(ids) and len(set(ids)) == len(ids)
        pairs = zip(choice.calls, other.calls, strict=True)
        choice.calls = [(None if theirs[0] is None else ours[0], *ours[1:]) for ours, theirs in pairs]
    return answer


@pytest.mark.parametrize("exchange", GOOD, ids=lambda e: e.id)
def test_the_openai_sdk_reads_what_the_providers_own_reads(
    exchange: Exchange, client: openai.OpenAI, replay: str, served: Threaded[Served]
) -> None:
    wanted = official(exchange, replay)
    answer = ask(client, exchange, exchange.model)
    assert without_ids(answer, wanted).choices == wanted.choices
    assert (answer.usage and answer.usage.told) == (wanted.usage and wanted.usage.told)
    [row] = served.call(served.value.rows(answer.request_id))
    assert (row["outcome"], row["failure"], row["status"], row["attempt"]) == ("answered", None, 200, 1)
    assert (row["model"], row["stream"]) == (exchange.model, exchange.stream)
    assert row["finish_reason"] == wanted.choices[0].finish
    assert answer.cost is not None and Decimal(answer.cost) * 10**9 == row["cost_nano"]
    if wanted.usage is None:
        assert row["estimated"] and row["output_tokens"] > 0
        return
    names = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cache_write_tokens")
    assert tuple(row[name] for name in names) == wanted.usage.told
    assert not row["estimated"]
    assert abs(row["cost_nano"] - nano(exchange.model, wanted.usage)) < 1


def test_all_the_traffic_was_looked_at() -> None:
    present()
    counts = Counter(exchange.model for exchange in GOOD)
    assert counts == {"test-openai": 23, "test-anthropic": 26, "test-google": 22, "test-ollama": 3}
