"""The command line: one file a verb, imported only when asked for. Exit 0 fine, 1 wrong, 2 called wrongly."""

import argparse
import importlib
import sys
from collections.abc import Sequence

from .. import __version__

VERBS = {
    "init": "a commented configuration to begin with, and the tests of its policies",
    "import": "another gateway's configuration as one of ours, and a list of what could not be carried over",
    "run": "serve the gateway",
    "demo": "gateway and emulator: a dozen prompts, a table, then it keeps serving",
    "emulate": "a stand-in for all four providers, offline",
    "validate": "check a configuration: every error at once, offline, without a key",
    "test": "the cases beside the policies, offline, without a key",
    "diff": "what another policy means, and which requests it moves: paths or git revisions",
    "explain": "why a request would go where it goes; or what a diagnostic code means",
    "replay": "past traffic through a candidate policy: what moves, what it costs",
    "graph": "the policy as a picture: mermaid, dot or json",
    "show": "the configuration as the gateway understands it",
    "models": "the models a policy may use",
    "scrape": "bring the registry up to date from the providers' price pages, or read a saved one",
    "registry": "models.json: what changed, what it was, and back to that",
    "keys": "gateway keys: create, list, revoke, rotate",
    "vault": "providers' keys, encrypted: set, list, rotate, remove",
    "top": "what a running gateway does, live in the terminal",
    "ledger": "past rows at today's prices: `sidecar ledger reprice`",
    "schema": "write or check the JSON Schemas in schemas/",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="sidecar", description="A declarative LLM gateway that runs beside your app: policies are code."
    )
    parser.add_argument("--version", action="version", version=f"sidecar {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    wanted = next((a for a in argv if not a.startswith("-")), None)
    for verb, text in VERBS.items():
        sub = verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
        if verb == wanted:
            module = importlib.import_module(f".{verb}", __name__)
            module.options(sub)
            sub.set_defaults(action=module.action)
    options = parser.parse_args(argv)
    try:
        return int(options.action(options))
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130


def entry() -> None:
    """The console script."""
    sys.exit(main())
