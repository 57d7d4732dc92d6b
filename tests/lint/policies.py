"""Policies as text for the lints, and the warnings they get."""

from pathlib import Path

from sidecar.config.diagnostic import Diagnostic
from sidecar.policy import load

HERE = Path("policy.yaml")


def warnings(text: str) -> list[Diagnostic]:
    """The findings of one document, none of them an error."""
    loaded = load(HERE, {}, strict=False, given=text.encode())
    assert loaded.policy is not None, loaded.text
    return list(loaded.findings)


def classify(*conditions: str, patterns: str = "{}") -> str:
    """A classify stage with these conditions; the tiers alternate."""
    rules = [
        f"  - {{name: r{n}, when: '{when}', tier: {('simple', 'complex')[n % 2]}}}" for n, when in enumerate(conditions)
    ]
    return "\n".join(["kind: classify", f"patterns: {patterns}", "rules:", *rules, ""])
