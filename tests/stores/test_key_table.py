"""The table of gateway keys: what is stored comes back, names are unique, what is revoked stays so."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.stores import database
from sidecar.stores.keys import DuplicateKeyError, KeyTable, StoredKey, read_keys

ONE, TWO, THREE = ("1" * 64, "2" * 64, "3" * 64)


@pytest.fixture
def table(tmp_path: Path):  # type: ignore[no-untyped-def]
    with closing(KeyTable(tmp_path / "new" / "sidecar.db")) as made:
        yield made


def key(name: str = "app", hash: str = ONE, **more) -> StoredKey:  # type: ignore[no-untyped-def]
    return StoredKey(name=name, hash=hash, prefix="gw_AbC12", created=1.0, **more)


def changes(table: KeyTable) -> int:
    found = table._db.execute("SELECT number FROM changes WHERE name = 'gateway_keys'").fetchone()
    return found[0] if found else 0


def test_what_is_stored_comes_back(table: KeyTable) -> None:
    full = key(
        tenant="acme", labels={"team": "red"}, models=("m1", "m2"), strategies=("cost",), expires=9.5,
        limits=(("requests", 60, 60.0), ("tokens", 10**12, 86400.0)), former=((TWO, 3.0),), rotated=2.0,
    )  # fmt: skip
    table.add(full)
    assert table.all() == [full]
    assert table.find("app") == table.find(full.id) == full
    assert table.find("other") is None


def test_a_name_is_taken_until_its_key_is_revoked(table: KeyTable) -> None:
    table.add(key())
    with pytest.raises(DuplicateKeyError, match="the name `app`"):
        table.add(key(hash=TWO))
    assert table.revoke("app", 5.0)
    assert not table.revoke("app", 6.0)
    assert not table.revoke("nobody", 6.0)
    table.add(key(hash=TWO))
    with pytest.raises(DuplicateKeyError, match="this hash"):
        table.add(key("other", ONE))
    found = table.find("app")
    assert found is not None and found.hash == TWO
    assert [(k.hash, k.revoked) for k in table.all()] == [(ONE, 5.0), (TWO, None)]


def test_a_rotated_key_works_for_its_grace(table: KeyTable, tmp_path: Path) -> None:
    path = tmp_path / "new" / "sidecar.db"
    table.add(key(expires=50.0))
    first = table.rotate("app", TWO, "gw_new00", 10.0, 30.0)
    assert first is not None and first == table.find("app")
    table.rotate(first.id, THREE, "gw_new01", 15.0, 100.0)
    ends = {digest.hex(): who.expires for digest, who in read_keys(path).items()}
    assert ends == {ONE: 40.0, TWO: 50.0, THREE: 50.0}
    assert table.revoke("app", 16.0)
    assert all(who.revoked for who in read_keys(path).values())
    assert table.rotate("app", "4" * 64, "gw_new02", 17.0, 0.0) is None
    assert table.rotate("nobody", "4" * 64, "gw_new02", 17.0, 0.0) is None


def test_an_expired_key_is_not_rotated(table: KeyTable) -> None:
    table.add(key(expires=50.0))
    assert table.rotate("app", TWO, "gw_new00", 50.0, 30.0) is None
    assert [k.state(t) for k in table.all() for t in (49.9, 50.0)] == ["active", "expired"]


def test_every_change_is_counted(table: KeyTable) -> None:
    seen = [changes(table)]
    table.add(key())
    seen.append(changes(table))
    table.rotate("app", TWO, "gw_new00", 10.0, 30.0)
    seen.append(changes(table))
    table.revoke("app", 11.0)
    seen.append(changes(table))
    with table._db:
        table._db.execute("DELETE FROM gateway_keys")
    seen.append(changes(table))
    assert seen == sorted(set(seen))
    table.revoke("app", 12.0)
    assert changes(table) == seen[-1]


@pytest.mark.parametrize("version", range(len(database.MIGRATIONS)))
def test_a_database_of_any_earlier_version_is_brought_up(
    tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "old.db"
    with monkeypatch.context() as older:
        older.setattr(database, "MIGRATIONS", database.MIGRATIONS[:version])
        database.migrate(path)
    for _ in range(2):
        with closing(KeyTable(path)) as table:
            if not table.all():
                table.add(key())
            assert [k.name for k in table.all()] == ["app"]


def test_processes_that_start_together_make_one_database(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    code = f"from pathlib import Path; from sidecar.stores.keys import KeyTable; KeyTable(Path({str(path)!r})).close()"
    started = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(4)]
    assert [process.communicate()[1] for process in started] == [b""] * 4


def test_a_row_nobody_can_read_is_a_fault_of_the_file(table: KeyTable) -> None:
    table.add(key())
    with table._db:
        table._db.execute("UPDATE gateway_keys SET limits = '[1]'")
    with pytest.raises(sqlite3.DatabaseError, match="key `app`"):
        table.all()
