"""The journal's file: what was added is read back whole, whatever befell the file, and no process takes another's."""

import errno
import mmap
import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.stores import journal
from sidecar.stores.journal import Journal, read, replay

SMALL = mmap.ALLOCATIONGRANULARITY
HEAD = 16
SIZES = st.lists(st.integers(1, SMALL // 3), min_size=1, max_size=20)


@contextmanager
def made(segment: int = SMALL) -> Iterator[tuple[Journal, Path]]:
    """A journal of small segments, and its file."""
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(journal, "SEGMENT", segment):
        one = Journal(Path(folder, "ledger.db"))
        try:
            yield one, Path(folder, "ledger.db-rows")
        finally:
            one.close()


def record(number: int, size: int) -> bytes:
    """One unlike any other."""
    return b"<%d>" % number + bytes([number % 251 + 1]) * size


def left(records: list[bytes] | None) -> list[bytes]:
    assert records is not None
    return records


@given(st.lists(st.one_of(st.integers(1, SMALL // 3), st.sampled_from(["batch", "batch", "refused"])), max_size=80))
@settings(deadline=None)
def test_what_is_not_done_is_in_the_file_at_any_time(steps: list[int | str]) -> None:
    with made() as (one, path):
        added: list[bytes] = []
        done = batch = 0
        for step in steps:
            if isinstance(step, int):
                added.append(record(len(added), step))
                one.add(added[-1])
            else:  # the batch before this one ends, well or not, and the next begins
                if step == "batch":
                    one.done(batch)
                    done = batch
                batch = one.turn()
            found = left(read(path.read_bytes()))
            assert [r for r in added if r in set(found)] == found  # in order, nothing twice, nothing invented
            assert set(added[done:]) <= set(found)
        assert one.fault is None


@given(SIZES, st.data())
@settings(deadline=None)
def test_a_byte_gone_wrong_costs_what_follows_it_in_its_segment_and_no_more(
    sizes: list[int], data: st.DataObject
) -> None:
    with made() as (one, path):
        records = [record(number, size) for number, size in enumerate(sizes)]
        for each in records:
            one.add(each)
        whole = path.read_bytes()
        place = data.draw(st.integers(0, len(whole) - 1))
        damaged = bytearray(whole)
        damaged[place] ^= data.draw(st.integers(1, 255))
        found = read(bytes(damaged))
        if place < len(journal.MAGIC):
            assert found is None
            return
        segment = place // SMALL
        ends = {each: whole.index(each) + len(each) for each in records}
        sound = {each for each in records if ends[each] <= place or (ends[each] - 1) // SMALL != segment}
        if place % SMALL < HEAD:
            assert sound <= set(left(found)) <= set(records)
        else:
            assert found == [each for each in records if each in sound]


@given(SIZES, st.data())
@settings(deadline=None)
def test_a_file_cut_short_keeps_what_is_whole(sizes: list[int], data: st.DataObject) -> None:
    with made() as (one, path):
        records = [record(number, size) for number, size in enumerate(sizes)]
        for each in records:
            one.add(each)
        whole = path.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        found = read(whole[:cut])
        if 0 < cut < len(journal.MAGIC):
            assert found is None
        else:
            assert left(found) == [each for each in records if whole.index(each) + len(each) <= cut]


@given(st.binary(max_size=SMALL * 2))
def test_any_bytes_can_be_read(data: bytes) -> None:
    assert (read(data) is None) == (bool(data) and not data.startswith(journal.MAGIC))
    assert read(journal.MAGIC + data) is not None


def test_what_an_earlier_use_left_in_a_segment_is_not_taken_for_records() -> None:
    with made() as (one, path):
        for number in range(10):
            one.add(record(number, 20))
        one.done(one.turn())
        assert read(path.read_bytes()) == []
        one.turn()
        one.add(record(77, 20))  # as long as the first of the ten, whose nine others now follow it
        assert left(read(path.read_bytes())) == [record(77, 20)]


def test_a_database_that_does_not_take_what_waits_lets_the_file_grow() -> None:
    with made() as (one, path):
        records = [record(number, 1000) for number in range(200)]
        for number, each in enumerate(records):
            one.add(each)
            if number % 7 == 0:
                one.turn()
        assert left(read(path.read_bytes())) == records
        size = path.stat().st_size
        one.done(one.turn())
        one.turn()
        for each in records[:100]:
            one.add(each)
        assert path.stat().st_size == size  # what was full is used again


def test_a_record_larger_than_a_segment_is_left_out() -> None:
    with made() as (one, path):
        for size in (1, SMALL, SMALL * 5, 1):
            one.add(b"x" * size)
        assert left(read(path.read_bytes())) == [b"x", b"x"]
        largest = b"y" * (SMALL - HEAD - 8)
        one.add(largest)
        assert left(read(path.read_bytes()))[-1] == largest


def test_it_is_for_its_owner_only_and_gone_when_all_is_done(tmp_path: Path) -> None:
    one = Journal(tmp_path / "ledger.db")
    path = tmp_path / "ledger.db-rows"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    one.add(b"a")
    one.done(one.turn())
    one.close()
    assert not list(tmp_path.iterdir())
    two = Journal(tmp_path / "ledger.db")
    two.add(b"a")
    two.close()
    assert path.exists()


def test_each_process_has_its_own_and_takes_only_what_nobody_holds(tmp_path: Path) -> None:
    database = tmp_path / "ledger.db"
    one, two = Journal(database), Journal(database)
    one.add(b"one")
    two.add(b"two")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ledger.db-rows", "ledger.db-rows-2"]
    taken: list[bytes] = []

    def store(records: list[bytes]) -> tuple[int, int]:
        taken.extend(records)
        return len(records), 0

    assert replay(database, store) == []
    assert taken == []
    two.close()
    assert replay(database, store) == [f"{database}-rows-2: 1 rows of a killed process were stored"]
    one.close()
    replay(database, store)
    assert taken == [b"two", b"one"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"my own notes", b"sidecar9" + bytes(5000), b"side"])
def test_a_file_that_is_no_journal_is_moved_aside_and_said(tmp_path: Path, content: bytes) -> None:
    database, path = tmp_path / "ledger.db", tmp_path / "ledger.db-rows"
    path.write_bytes(content)
    (notice,) = replay(database, lambda records: (len(records), 0))
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("ledger.db-rows.unread-")
    assert notice == f"{path}: it is no journal, or a damaged one; renamed to {aside.name}"
    assert aside.read_bytes() == content
    assert replay(database, lambda records: (len(records), 0)) == []
    one = Journal(database)
    assert (one.fault, path.exists()) == (None, True)
    one.close()


def test_a_folder_in_the_way_is_said_and_passed_by(tmp_path: Path) -> None:
    (tmp_path / "ledger.db-rows").mkdir()
    (notice,) = replay(tmp_path / "ledger.db", lambda records: (len(records), 0))
    assert "directory" in notice
    one = Journal(tmp_path / "ledger.db")
    assert one.fault is None
    assert (tmp_path / "ledger.db-rows-2").is_file()
    one.close()


def test_what_cannot_be_stored_stays_for_the_next_start(tmp_path: Path) -> None:
    database, path = tmp_path / "ledger.db", tmp_path / "ledger.db-rows"
    one = Journal(database)
    one.add(b"a")
    one.close()

    def refuse(records: list[bytes]) -> tuple[int, int]:
        raise OSError(errno.ENOSPC, "full")

    (notice,) = replay(database, refuse)
    assert str(path) in notice
    assert "full" in notice
    assert read(path.read_bytes()) == [b"a"]


def test_a_disk_that_refuses_is_said_and_tried_again_with_the_next_batch() -> None:
    with made() as (one, path):
        first = record(0, SMALL - 100)
        one.add(first)
        one.add(record(1, SMALL - 100))
        asked = []

        def full(file: int, data: bytes, place: int) -> int:
            asked.append(place)
            return 10  # what still fitted

        with mock.patch.object(os, "pwrite", full):
            for number in range(2, 100):
                one.add(record(number, SMALL - 100))
            assert len(asked) == 1
            assert "No space left" in str(one.fault)
            one.turn()
            assert len(asked) == 2
        assert left(read(path.read_bytes())) == [first, record(1, SMALL - 100)]
        one.turn()
        assert one.fault is None
        one.add(record(100, 5))
        assert left(read(path.read_bytes()))[-1] == record(100, 5)


def test_room_that_a_batch_gave_back_is_used_on_a_full_disk() -> None:
    with made() as (one, path):
        one.add(record(0, SMALL - 100))
        batch = one.turn()
        with mock.patch.object(os, "pwrite", side_effect=OSError(errno.EROFS, "read-only")):
            one.add(record(1, SMALL - 100))
            one.add(record(2, SMALL - 100))
            assert "read-only" in str(one.fault)
            one.done(batch)
            one.add(record(3, SMALL - 100))
            assert one.fault is None
        assert left(read(path.read_bytes())) == [record(1, SMALL - 100), record(3, SMALL - 100)]


def test_a_folder_that_takes_no_file_is_said(tmp_path: Path) -> None:
    with mock.patch.object(os, "open", side_effect=OSError(errno.EROFS, "read-only")):
        one = Journal(tmp_path / "ledger.db")
        one.add(b"lost if killed now")
    assert "read-only" in str(one.fault)
    one.turn()
    assert one.fault is None
    one.close()
