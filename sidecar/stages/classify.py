"""`kind: classify`: which tier a request belongs to, by rules that a person wrote.

Rules are for what a person knows (headers, task tags, tenants, tools, images, sizes); the first that holds decides.
When none does the stage abstains, and the default tier serves.
"""

import re
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from ..call import Call
from ..conditions import Condition as Compiled
from ..conditions import ConditionError, FirstMatch
from ..config.codes import Code
from ..features import FEATURES
from ..spec import Condition, Name, Spec
from .base import NEXT, Problem, Run, Scope, StageSpec, among

ABSTAIN = "abstain"
PINNED = "pinned"


class Rule(Spec, frozen=True):
    """`when` holds -> `tier`."""

    name: Name
    when: Condition
    tier: Name


class Classify(StageSpec, frozen=True, tag="classify"):
    """Each tier is an outcome, so `on: {expert: other_node}` can branch; `abstain` means that no rule held."""

    tiers: Annotated[tuple[Name, ...], Meta(min_length=1, description="All tiers, cheapest first.")] = (
        "simple",
        "moderate",
        "complex",
        "expert",
    )
    rules: tuple[Rule, ...] = ()
    default: Annotated[Name, Meta(description="The tier when no rule holds.")] = "moderate"
    patterns: Annotated[
        dict[Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$")], str],
        Meta(description="Named regular expressions over the last user message; each is true or false in rules."),
    ] = {}

    kind: ClassVar[str] = "classify"
    needs: ClassVar = ("caller",)

    def edges(self, scope: Scope) -> dict[str, str]:
        """Every tier, abstain, and pinned (the caller named a model)."""
        return dict.fromkeys((*self.tiers, ABSTAIN, PINNED), NEXT)

    def problems(self, scope: Scope) -> list[Problem]:
        """Bad expressions and regexes, tiers that do not exist, rules with one name."""
        found = [
            *_bad_patterns(self.patterns),
            *(p for i, rule in enumerate(self.rules) for p in self._rule_problems(i, rule)),
        ]
        if self.default not in self.tiers:
            found.append(_no_tier(("default",), self.default, self.tiers))
        names: dict[str, int] = {}
        for index, rule in enumerate(self.rules):
            if names.setdefault(rule.name, index) != index:
                message = f"there are two rules called `{rule.name}`"
                help_ = "the trace and the metrics tell rules apart by name"
                found.append(Problem(("rules", index, "name"), Code.DUPLICATE_NAME, message, help_))
        return found

    def _rule_problems(self, index: int, rule: Rule) -> list[Problem]:
        found = []
        if rule.tier not in self.tiers:
            found.append(_no_tier(("rules", index, "tier"), rule.tier, self.tiers))
        try:
            Compiled(rule.when, self.patterns)
        except ConditionError as fault:
            message = f"condition of rule `{rule.name}`: {fault}"
            known = {*FEATURES, *self.patterns}
            help_ = among(fault.unknown, known, "features") if fault.unknown else fault.help
            found.append(Problem(("rules", index, "when"), Code.BAD_CONDITION, message, help_))
        return found

    def build(self, scope: Scope) -> Run:
        """Conditions and regexes, compiled."""
        rules = [(rule.name, Compiled(rule.when, self.patterns), rule.tier) for rule in self.rules]
        patterns = {name: re.compile(pattern) for name, pattern in self.patterns.items()}
        first = FirstMatch([condition for _, condition, _ in rules], patterns)
        default = self.default

        def run(call: Call) -> str:
            if call.model[:4] != "auto" or call.model[4:5] not in ("", ":"):
                return PINNED
            if not rules:
                call.tier = default
                return ABSTAIN
            if patterns and call.patterns is None:
                call.patterns = {}
            if call.details is not None:
                call.note(self.node, _explain(rules, first.context(call.features, call.patterns)))
            place = first.index(call.features, call.patterns)
            if place < 0:
                call.tier = default
                return ABSTAIN
            call.rule, _, call.tier = rules[place]
            return call.tier

        return run


def _explain(rules: list[tuple[str, Compiled, str]], shared: Any) -> list[dict[str, Any]]:
    return [
        {"rule": name, "when": condition.source, "tier": tier, "holds": condition.holds(shared)}
        for name, condition, tier in rules
    ]


def _bad_patterns(patterns: dict[str, str]) -> list[Problem]:
    found = []
    for name, source in patterns.items():
        path = ("patterns", name)
        if name in FEATURES:
            message = f"pattern `{name}` has the name of a feature"
            found.append(Problem(path, Code.DUPLICATE_NAME, message, "give it another name"))
        try:
            re.compile(source)
        except re.error as fault:
            where = "" if fault.pos is None else f" at character {fault.pos + 1}"
            message = f"pattern `{name}` is not a regular expression: {fault.msg}{where}"
            found.append(Problem(path, Code.BAD_PATTERN, message))
    return found


def _no_tier(path: tuple[str | int, ...], tier: str, tiers: tuple[str, ...]) -> Problem:
    return Problem(path, Code.UNKNOWN_TIER, f"`{tier}` is not a tier", among(tier, tiers, "tiers"))
