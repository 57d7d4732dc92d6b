"""`sidecar keys create|list|revoke|rotate|hash`: gateway keys of the database, beside those that git declares.

A key is printed once, on standard output and nowhere else; what is kept, shown and put into git is its hash.
"""

import argparse
import re
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import msgspec

from ..config.wording import nearest
from ..engine.callers import stored_key
from ..identity.keys import PREFIX, digest, generate, hash_text, well_formed
from ..spec import Duration, Moment, Name, seconds, unix_time
from ..stages.base import among
from ..stages.keys import Key, KeyLimit
from ..stages.rates import Rate
from ..stages.score import Score
from ..stores.keys import SHOWN, DuplicateKeyError, KeyTable, StoredKey
from .config import database_option
from .keys_home import Declared, Home, Listed, RefusedError, every_key, find_home, moment

_DURATION, _NAME, _MOMENT, _RATE = (get_args(kind)[1].pattern for kind in (Duration, Name, Moment, Rate))


def options(parser: argparse.ArgumentParser) -> None:
    """Make, list, revoke and rotate keys, or hash one that is there."""
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument("--config", type=Path, metavar="FILE", help="gateway.yaml (default: $SIDECAR_CONFIG or here)")
    database_option(place, "--database", "the database (default: the configuration's)")
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    create = verbs.add_parser("create", parents=[place], help="a new key, printed once")
    create.add_argument("name", type=_name)
    create.add_argument("--tenant", type=_name, default="default")
    create.add_argument("--label", type=_pair, action="append", default=[], metavar="NAME=VALUE", help="for rules")
    create.add_argument("--model", type=_name, action="append", default=[], help="only this model; may be repeated")
    create.add_argument("--strategy", type=_name, action="append", default=[], help="only this strategy; repeatable")
    create.add_argument("--expires", type=_end, metavar="WHEN", help="30d, 2027-01-31 or 2027-01-31T18:00:00Z (UTC)")
    create.add_argument("--limit", type=_limit, action="append", default=[], metavar="WHAT=RATE", help="requests=60/m")
    create.add_argument("--git", action="store_true", help="store nothing: print the entry for `kind: keys`")
    every = verbs.add_parser("list", parents=[place], help="all keys, those of git too; never a secret")
    every.add_argument("--format", choices=("text", "json"), default="text")
    revoke = verbs.add_parser("revoke", parents=[place], help="refuse a key within a second, for good")
    revoke.add_argument("name")
    rotate = verbs.add_parser("rotate", parents=[place], help="a new key in place of one, printed once")
    rotate.add_argument("name")
    rotate.add_argument("--grace", type=_duration, default=0.0, metavar="1h", help="how long the old one works on")
    verbs.add_parser("hash", help="the hash of a key read from standard input")


def action(options: argparse.Namespace) -> int:
    """0; 1 when there is no such key, or one too many; 2 when called wrongly, or the database cannot be used."""
    verbs = {"create": _create, "list": _list, "revoke": _revoke, "rotate": _rotate, "hash": _hash}
    try:
        verbs[options.what](options)
    except RefusedError as refusal:
        sys.stderr.write(f"sidecar keys {options.what}: {refusal}\n")
        return refusal.code
    except sqlite3.Error as fault:
        sys.stderr.write(f"sidecar keys {options.what}: the database cannot be used: {fault}\n")
        return 2
    return 0


def _create(options: argparse.Namespace) -> None:
    home = find_home(options.config, options.database)
    key = generate()
    entry = Key(
        name=options.name,
        hash=hash_text(key),
        tenant=options.tenant,
        labels=dict(options.label),
        models=tuple(options.model),
        strategies=tuple(options.strategy),
        limits=tuple(options.limit),
        expires=options.expires,
    )
    _check(entry, home)
    if options.git:
        note = "nothing is stored; put this under `keys:` of `kind: keys`"
    elif home.database is None:
        note = "there is no gateway.yaml here, so nothing is stored; put this under `keys:` of `kind: keys`"
    else:
        with closing(home.table()) as table:
            try:
                table.add(stored_key(entry, key, time.time()))
            except DuplicateKeyError as fault:
                raise RefusedError(f"{fault}; `sidecar keys rotate {entry.name}` renews it") from fault
        note = f"stored in {home.database}, in force within a second; to declare it in git as well (`kind: keys`)"
    sys.stdout.write(f"{key}\n")
    sys.stderr.write(f"shown once; {note}:\n\n{_yaml(entry)}")


def _check(entry: Key, home: Home) -> None:
    """What `sidecar validate` would find, where a configuration is there to say so."""
    if home.policy is None:
        return
    for problem in entry.problems((), home.policy.scope):
        raise RefusedError("; ".join(filter(None, (problem.message, problem.help))), 2)
    known = {name for s in home.policy.stages if isinstance(s.spec, Score) for name in s.spec.known_strategies}
    for name in entry.strategies:
        if known and name not in known:
            raise RefusedError(f"`{name}` is not a strategy; {among(name, known, 'strategies')}", 2)
    for declared in home.declared():
        if declared.key.name == entry.name:
            raise RefusedError(f"git has a key with the name `{entry.name}`: {declared.place}")


def _yaml(entry: Key) -> str:
    """The entry as it is put into git. JSON is YAML; `$$` is a plain dollar sign there."""
    lines = [f"- name: {entry.name}", f"  hash: {entry.hash}", f"  tenant: {entry.tenant}"]
    written = msgspec.to_builtins(entry)
    for field in ("labels", "models", "strategies", "limits", "expires"):
        if written[field]:
            value = [_given(limit) for limit in written[field]] if field == "limits" else written[field]
            lines.append(f"  {field}: " + msgspec.json.encode(value).decode().replace("$", "$$"))
    return "".join(f"  {line}\n" for line in lines)


def _given(limit: dict[str, Any]) -> dict[str, Any]:
    return {what: rate for what, rate in limit.items() if rate is not None}


def _list(options: argparse.Namespace) -> None:
    rows = every_key(_known_home(options), time.time())
    if options.format == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
        return
    titles = ("name", "key", "tenant", "state", "expires", "where")
    table = [titles, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(titles))]
    for line in table:
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def _cells(row: Listed) -> tuple[str, ...]:
    return row.name, row.shown, row.tenant, row.state, row.expires or "-", row.source


def _revoke(options: argparse.Namespace) -> None:
    """In the database, for good. A key of git gets a tombstone there: no reload brings it back."""
    home, name, now = _known_home(options), options.name, time.time()
    stored = _find(home, name)
    declared = [one for one in home.declared() if one.key.name == name]
    if stored is None and not declared:
        raise _no_key(home, name)
    with closing(home.table()) as table:
        if stored is not None and not table.revoke(stored.id, now) and not declared:
            sys.stderr.write(f"`{name}` was revoked before: {moment(stored.revoked)}\n")
            return
        for one in declared:
            _bury(table, one, now)
    sys.stderr.write(f"`{name}` is revoked: every gateway on {home.database} refuses it within a second\n")
    for one in declared:
        sys.stderr.write(f"it still stands in git: take it out of {one.place}, or write `revoked: true` there\n")


def _bury(table: KeyTable, declared: Declared, now: float) -> None:
    if declared.digest is None:
        raise RefusedError(f"the secret of `{declared.key.name}` cannot be read here: take it out of {declared.place}")
    hash, name = declared.digest.hex(), declared.key.name
    twin = next((key for key in table.all() if key.hash == hash), None)
    if twin is not None:
        table.revoke(twin.id, now)
    else:
        table.add(
            StoredKey(name=name, hash=hash, prefix="", created=now, tenant=declared.key.tenant, revoked=now),
        )


def _rotate(options: argparse.Namespace) -> None:
    home, name, now = _known_home(options), options.name, time.time()
    stored = _find(home, name)
    if stored is None:
        place = next((one.place for one in home.declared() if one.key.name == name), None)
        if place is None:
            raise _no_key(home, name)
        raise RefusedError(f"git declares `{name}`: `sidecar keys create {name} --git` prints a hash for {place}")
    key = generate()
    with closing(home.table()) as table:
        changed = table.rotate(stored.id, digest(key).hex(), key[:SHOWN], now, options.grace)
    if changed is None:
        raise RefusedError(f"`{name}` is {stored.state(now)}: `sidecar keys create` makes another")
    sys.stdout.write(f"{key}\n")
    until = f"works until {moment(now + options.grace)}" if options.grace else "is refused within a second"
    sys.stderr.write(f"shown once; in force within a second, and the old key {until}\n")


def _known_home(options: argparse.Namespace) -> Home:
    """For verbs that look for keys: a database that is named is there, for a slip is no empty one. That of a
    configuration is made when it is first needed."""
    home = find_home(options.config, options.database)
    if (home.policy is None or options.database is not None) and not home.file.exists():
        raise RefusedError(f"there is no database {home.file}", 2)
    return home


def _find(home: Home, name: str) -> StoredKey | None:
    if home.database is None or not home.database.exists():
        return None
    with closing(home.table()) as table:
        return table.find(name)


def _no_key(home: Home, name: str) -> RefusedError:
    names = [one.key.name for one in home.declared()] + [key.name for key in home.stored()]
    return RefusedError(f"there is no key `{name}`; {nearest(name, names) or '`sidecar keys list` shows all'}")


def _hash(options: argparse.Namespace) -> None:
    key = sys.stdin.readline().strip()
    if not key:
        raise RefusedError("no key on standard input", 2)
    if key.startswith(PREFIX) and not well_formed(key):
        sys.stderr.write("note: the checksum of this key is wrong; is it complete?\n")
    sys.stdout.write(hash_text(key) + "\n")


def _name(text: str) -> str:
    if not re.fullmatch(_NAME, text) or len(text) > 128:
        raise argparse.ArgumentTypeError(f"`{text}` is not a name: letters, digits and . _ : / @ + -")
    return text


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark:
        raise argparse.ArgumentTypeError(f"`{text}` is not NAME=VALUE")
    return name, value


def _limit(text: str) -> KeyLimit:
    what, _, rate = text.partition("=")
    if what not in KeyLimit.__struct_fields__ or not re.fullmatch(_RATE, rate):
        raise argparse.ArgumentTypeError(f"`{text}` is not a limit: requests=60/m, tokens=100000/d")
    return KeyLimit(**{what: rate})


def _duration(text: str) -> float:
    if not re.fullmatch(_DURATION, text):
        raise argparse.ArgumentTypeError(f"`{text}` is not a length of time: 30d, 12h, 1h30m")
    return seconds(text)


def _end(text: str) -> str:
    """A moment; a length of time is counted from now."""
    if re.fullmatch(_DURATION, text):
        return moment(time.time() + seconds(text)) or ""
    try:
        if re.fullmatch(_MOMENT, text) and unix_time(text) > time.time():
            return text
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"`{text}` is no time to come: 30d, 2027-01-31, 2027-01-31T18:00:00Z")
