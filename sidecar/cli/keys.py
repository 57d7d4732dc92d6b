"""`sidecar keys create NAME`: a gateway key, shown once, and the entry with its hash for `policies/`."""

import argparse
import sys

import msgspec

from ..identity.keys import PREFIX, generate, hash_text, well_formed
from ..spec import Name


def options(parser: argparse.ArgumentParser) -> None:
    """Make one, or hash one that is there."""
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    create = verbs.add_parser("create", help="a new key")
    create.add_argument("name")
    create.add_argument("--tenant", default="default")
    hashed = verbs.add_parser("hash", help="the hash of a key read from standard input")
    hashed.set_defaults(what="hash")


def action(options: argparse.Namespace) -> int:
    """0, or 2 for a bad name or no key. A key goes to standard output only: no log of standard error holds it."""
    if options.what == "hash":
        key = sys.stdin.readline().strip()
        if not key:
            sys.stderr.write("sidecar keys hash: no key on standard input\n")
            return 2
        if key.startswith(PREFIX) and not well_formed(key):
            sys.stderr.write("note: the checksum of this key is wrong; is it complete?\n")
        sys.stdout.write(hash_text(key) + "\n")
        return 0
    for name in (options.name, options.tenant):
        try:
            msgspec.convert(name, Name)
        except msgspec.ValidationError:
            sys.stderr.write(f"sidecar keys create: `{name}` is not a name: letters, digits and . _ : / @ + -\n")
            return 2
    key = generate()
    sys.stdout.write(f"{key}\n")
    sys.stderr.write(
        "shown once; put this under `keys:` of `kind: authenticate`:\n\n"
        f"  - name: {options.name}\n    hash: {hash_text(key)}\n    tenant: {options.tenant}\n"
    )
    return 0
