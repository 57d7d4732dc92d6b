"""`sidecar vault set|list|rotate|remove|key`: providers' keys, encrypted, in the gateway's database.

A secret comes from standard input or a prompt, never from an argument: those stand in the shell's history and in the
list of processes. A gateway that runs takes up each change within a second.
"""

import argparse
import getpass
import os
import sqlite3
import sys
import time
from pathlib import Path

import msgspec

from ..identity.secrets import MAX_BYTES, VAULT, LockedError
from ..identity.vault import VARIABLE, Cipher, new_key
from ..spec import Name, Secret
from ..stores.provider_keys import ProviderKeys, SealedKey
from .config import database_option, default_path, read

_LONG = 20
"""Characters of a secret from which on its last four may be shown."""


class Listed(msgspec.Struct):
    """One secret as `list` shows it. Times are Unix seconds; `key` is which encryption key it is under, and `ends` its
    last four characters, if it is long."""

    name: str
    created: float
    changed: float
    key: str
    ends: str | None


def options(parser: argparse.ArgumentParser) -> None:
    """What to do, to which vault."""
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    put = verbs.add_parser("set", help="keep a secret, read from standard input or a prompt")
    listed = verbs.add_parser("list", help="names, dates and which encryption key opens each; never the secrets")
    listed.add_argument("--format", choices=("text", "json"), default="text")
    rotate = verbs.add_parser("rotate", help=f"encrypt everything anew with the first key of {VARIABLE}")
    remove = verbs.add_parser("remove", help="take a secret out")
    verbs.add_parser("key", help=f"print a new encryption key for {VARIABLE}")
    for verb in (put, remove):
        verb.add_argument("name", help=f"what `{VAULT}NAME` refers to")
    # Taken so that it can be refused without being shown.
    put.add_argument("secret", nargs="*", help=argparse.SUPPRESS)
    for verb in (put, listed, rotate, remove):
        database_option(verb, "--database", "the vault (default: the configuration's)")
        verb.add_argument("--config", type=Path, metavar="FILE", help="gateway.yaml, which says where the database is")


def action(options: argparse.Namespace) -> int:
    """0; 1 for a secret that is not there or cannot be decrypted; 2 without an encryption key, name or database."""
    if options.what == "key":
        sys.stdout.write(f"{new_key()}\n")
        return 0
    database = _database(options)
    if database is None:
        return 1
    if options.database is not None and options.what != "set" and not database.exists():
        return _wrong(f"there is no database {database}")  # a slip is no empty vault
    keys = ProviderKeys(database)
    verbs = {"set": _set, "list": _list, "rotate": _rotate, "remove": _remove}
    try:
        return verbs[options.what](keys, options)
    except (OSError, sqlite3.Error) as fault:
        return _wrong(f"{database}: {fault}")


def _set(keys: ProviderKeys, options: argparse.Namespace) -> int:
    name = options.name
    if options.secret:
        return _wrong(
            "a secret is no argument, for shells and process lists keep those: pipe it in, or wait to be asked"
        )
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        return _wrong(f"`{name}` is not a name: letters, digits and . _ : / @ + -")
    try:
        cipher = Cipher.of(os.environ)
    except LockedError as fault:
        return _wrong(f"{fault}; `sidecar vault key` prints a new key")
    secret = _secret(name)
    if secret is None:
        return _wrong("no secret on standard input, or more than 64 KiB, or not UTF-8 text")
    known = keys.put(name, cipher.seal(name, secret), time.time())
    sys.stdout.write(f"ok: `{VAULT}{name}` is {'another now' if known else 'in the vault'}\n")
    return 0


def _secret(name: str) -> Secret | None:
    """The secret, without surrounding white space; None when there is none that can be kept."""
    if sys.stdin.isatty():
        data = getpass.getpass(f"secret for `{VAULT}{name}` (not shown): ").encode("utf-8", "surrogateescape")
    else:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        return None
    return Secret(text) if text and len(data) <= MAX_BYTES else None


def _list(keys: ProviderKeys, options: argparse.Namespace) -> int:
    try:
        cipher = Cipher.of(os.environ)
    except LockedError as fault:
        cipher = None
        sys.stderr.write(f"sidecar vault: {fault}: nothing can be decrypted\n")
    found = [_listed(row, cipher) for row in keys.rows()]
    if options.format == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n")
    else:
        sys.stdout.write(_text(found))
    return int(any(one.key == "none" for one in found))


def _listed(row: SealedKey, cipher: Cipher | None) -> Listed:
    key, ends = "none", None
    if cipher is not None:
        try:
            text = cipher.open(row.name, row.sealed).reveal()
        except LockedError:
            pass
        else:
            key = "first" if cipher.place(row.sealed) == 0 else "older"
            ends = text[-4:] if len(text) >= _LONG else None
    return Listed(row.name, row.created, row.changed, key, ends)


def _text(found: list[Listed]) -> str:
    lines = [f"{'name':<32} {'created':<17} {'changed':<17} {'key':<6} ends"]
    for one in found:
        ends = "-" if one.ends is None else f"...{one.ends}"
        lines.append(f"{one.name:<32} {_moment(one.created)} {_moment(one.changed)} {one.key:<6} {ends}")
    older = sum(one.key == "older" for one in found)
    rotate = f", {older} under an older key: `sidecar vault rotate`" if older else ""
    return "\n".join([*lines, f"{_secrets(len(found))}{rotate}\n"])


def _secrets(count: int) -> str:
    return f"{count} secret{'' if count == 1 else 's'}"


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(seconds))


def _rotate(keys: ProviderKeys, options: argparse.Namespace) -> int:
    try:
        cipher = Cipher.of(os.environ)
    except LockedError as fault:
        return _wrong(str(fault))
    try:
        count = keys.seal_anew(lambda row: cipher.seal(row.name, cipher.open(row.name, row.sealed)))
    except LockedError as fault:
        return _wrong(f"{fault}: nothing was changed", 1)
    sys.stdout.write(f"ok: {_secrets(count)} {'is' if count == 1 else 'are'} under the first key of {VARIABLE}\n")
    return 0


def _remove(keys: ProviderKeys, options: argparse.Namespace) -> int:
    if not keys.remove(options.name):
        return _wrong(f"{VAULT}{options.name} is not in the vault", 1)
    sys.stdout.write(f"ok: {VAULT}{options.name} is not in the vault any more\n")
    return 0


def _database(options: argparse.Namespace) -> Path | None:
    """The vault's file; None when the configuration, which would say, has errors."""
    if options.database is not None:
        return Path(options.database)
    loaded = read(options.config, strict=False, quiet=True)
    if loaded.graph is None:
        return None
    return loaded.graph.gateway.ledger(options.config or default_path(), os.environ)


def _wrong(text: str, code: int = 2) -> int:
    sys.stderr.write(f"sidecar vault: {text}\n")
    return code
