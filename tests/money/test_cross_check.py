"""Our bills against genai-prices and LiteLLM's price map; docs/money.md lists every disagreement.

`pytest tests/money --update-golden` writes the list, as it does every golden file.
"""

from collections import defaultdict
from collections.abc import Iterator
from functools import cache

import msgspec
import pytest
from conftest import Golden
from msgspec.structs import replace
from registry.catalogues import FOLDER
from shared import ROOT
from traffic.exchanges import present

from sidecar.registry.price import PriceList, compile_price, usd

from .bills import BILLS
from .blocks import Block, blocks
from .others import genai, map_bill
from .prices import REGISTRY, in_force, listed_tiers, price_of
from .reasons import REASONS, Reason, reason
from .synthetic import made_up

DOCUMENT = ROOT / "docs" / "money.md"
MARK = "<!-- From here on: written by `pytest tests/money --update-golden`. -->\n"
SOURCES = ("genai-prices", "LiteLLM")
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no catalogues at {FOLDER}: set SIDECAR_SHARED_DATA")


class Compared(msgspec.Struct):
    """One block's bills, in nano-USD; None where a source has no price."""

    name: str
    block: Block
    ours: int
    theirs: tuple[int | None, int | None]

    def disagreements(self) -> Iterator[str]:
        """Sources whose bill is another one; a nano-dollar is rounding."""
        for source, bill in zip(SOURCES, self.theirs, strict=True):
            if bill is not None and abs(bill - self.ours) > 1:
                yield source


def shipped(model: str) -> PriceList | None:
    """The price as the bundled models.json has it; a catalogue's for models it has not."""
    card = REGISTRY.card(model)
    price = price_of(model) if card is None else in_force(card)
    return None if price is None else compile_price(price)


@cache
def compared() -> list[Compared]:
    found = []
    for name, block in (*((block.id, block) for block in blocks()), *made_up()):
        price, tier = shipped(block.model), block.usage.service_tier
        if price is not None:
            bills = genai(block.provider, block.model, block.raw, tier), map_bill(block.model, block.usage)
            found.append(Compared(name, block, price.cost(block.usage), bills))
    return found


def test_made_up_blocks_cost_what_the_provider_s_rules_say() -> None:
    for name, block in made_up():
        price = price_of(block.model)
        assert price is not None
        expected = BILLS[block.provider](block.raw, block.service_tier, price)
        assert compile_price(price).cost(block.usage) == expected, (name, block.model)


def test_with_the_listed_factors_every_service_tier_costs_what_litellm_says() -> None:
    """The mechanism, apart from what models.json holds today."""
    compared_tiers = 0
    for name, block in made_up():
        price, bill = price_of(block.model), map_bill(block.model, block.usage)
        if block.usage.service_tier and price is not None and bill is not None:
            assert abs(compile_price(price).cost(block.usage) - bill) <= 1, (name, block.model)
            compared_tiers += 1
    assert compared_tiers > 80


@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-2.5-flash-lite", "gemini-3-flash-preview"])
def test_with_a_price_for_cached_audio_the_bill_is_theirs(model: str) -> None:
    listed = {"gemini-2.5-flash": 0.1, "gemini-2.5-flash-lite": 0.03, "gemini-3-flash-preview": 0.1}
    price = price_of(model)
    assert price is not None
    one = next(one for one in compared() if (one.name, one.block.model) == ("cached audio", model))
    bill = compile_price(replace(price, cache_read_audio=listed[model])).cost(one.block.usage)
    assert (bill, bill) == one.theirs


def test_both_sources_were_really_asked() -> None:
    present()
    asked = [sum(one.theirs[n] is not None for one in compared()) for n in range(2)]
    assert len(compared()) > 400
    assert min(asked) > 390, asked


def test_every_disagreement_has_a_reason_and_every_reason_a_disagreement() -> None:
    present()
    found = {(source, one.name, one.block.model) for one in compared() for source in one.disagreements()}
    assert sorted(key for key in found if reason(*key) is None) == []
    assert set(REASONS) == {reason(*key) for key in found}


def test_the_document_lists_them(golden: Golden) -> None:
    present()
    head, mark, _ = DOCUMENT.read_text().partition(MARK)
    assert mark, f"{DOCUMENT} has lost its mark"
    golden(DOCUMENT, head + MARK + "\n" + "\n".join(_lines()) + "\n")


def _lines() -> Iterator[str]:
    by_reason: dict[Reason, list[Compared]] = defaultdict(list)
    agreed = 0
    for one in compared():
        reasons = {reason(source, one.name, one.block.model) for source in one.disagreements()}
        agreed += not reasons
        for why in reasons:
            assert why is not None
            by_reason[why].append(one)
    yield f"## Every disagreement\n\n{len(compared())} blocks, {agreed} of them equal wherever a source has a price.\n"
    yield "Amounts are USD; `=` is our amount, `-` no price there.\n"
    for why in REASONS:
        yield f"### {why.name}\n\nRight: {why.right}. {why.why}\n"
        yield "| block | model | ours | genai-prices | LiteLLM |\n|---|---|---:|---:|---:|"
        yield from (_row(one) for one in by_reason[why])
        yield ""
    yield from _missing_factors()
    yield from _unlisted()


def _row(one: Compared) -> str:
    cells = ["-" if bill is None else "=" if abs(bill - one.ours) <= 1 else usd(bill) for bill in one.theirs]
    return f"| {one.name} | {one.block.model} | {usd(one.ours)} | {' | '.join(cells)} |"


def _missing_factors() -> Iterator[str]:
    """Models by the factors LiteLLM's map implies and the bundled card does not name."""
    groups: dict[str, list[str]] = defaultdict(list)
    for card in REGISTRY.cards:
        tiers = {} if in_force(card).service_tiers else listed_tiers(card.id)
        if tiers:
            parts = (
                f"{name} {t.multiplier:.7g}" + ("" if t.cache_read is None else f" (cached reads {t.cache_read:.7g})")
                for name, t in tiers.items()
            )
            groups[", ".join(parts)].append(card.id)
    if groups:
        yield "## Factors that models.json does not name yet\n"
        yield "As LiteLLM's price map implies them.\n\n| factors | models |\n|---|---|"
        yield from (f"| {factors} | {', '.join(models)} |" for factors, models in groups.items())
        yield ""


def _unlisted() -> Iterator[str]:
    yield "## Models a source has no price for\n"
    for number, source in enumerate(SOURCES):
        models = sorted({one.block.model for one in compared() if one.theirs[number] is None})
        yield f"- {source}: {', '.join(models)}"
