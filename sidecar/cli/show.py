"""`sidecar show [gateway.yaml]`: the configuration as the gateway understands it, defaults filled in, no secret."""

import argparse
import sys

import msgspec

from .config import config_option, read


def options(parser: argparse.ArgumentParser) -> None:
    """Which file."""
    config_option(parser)


def action(options: argparse.Namespace) -> int:
    """0, or 1 when the configuration has errors. Secrets are references in a policy, so none can be shown."""
    loaded = read(options.config, strict=False)
    if loaded.policy is None or loaded.graph is None:
        return 1
    shown = {
        "policy": loaded.graph.hash,
        "files": sorted(loaded.sources.texts),
        "pipeline": loaded.policy.order,
        "gateway": loaded.policy.gateway.spec,
        "stages": [linked.spec for linked in loaded.policy.stages],
        "parts": [linked.spec for linked in loaded.policy.parts],
    }
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n")
    return 0
