"""Records on their way to the database, in a file that outlives the process.

A record is copied into memory that the kernel shares with the file: no system call, and when the process is killed the
kernel still has it. Only a power cut or a kernel that fails can take what the database has not committed.

The file is `<database>-rows`, or `-rows-2` and so on where several gateways use one database: each holds a lock on its
own, so that what is not locked was left by a process that is gone. It consists of segments: MAGIC and a seed, then
records: length, CRC-32, bytes. The seed goes into every checksum and changes when a segment is used anew; so what an
earlier use left behind a segment's last record is not taken for one, and nothing has to be wiped.
"""

import errno
import os
import re
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from mmap import mmap
from pathlib import Path
from struct import Struct
from zlib import crc32

if sys.platform != "win32":
    import fcntl

SEGMENT = 1 << 20
"""Bytes. Two hold what comes while a batch is committed, hundreds of times over at a usual pace; they are touched again
and again, so few pages are dirty. The file grows by a segment when the database does not take what waits."""
MAGIC = b"sidecar1"
"""A file of another layout has another."""

_SEGMENT = Struct("=8sQ")
_RECORD = Struct("=II")
_head = _RECORD.pack


class Journal:
    """One process's journal. Use on one thread.

    A disk that refuses is said by `fault`: records are then not kept, and each `turn` tries again. Windows has no such
    lock on a file, so there is no journal there.
    """

    def __init__(self, database: Path) -> None:
        self.fault: str | None = None
        self.count = 0
        self._database = database
        self._path = database
        self._file: int | None = None
        self._segments = 0
        self._free: list[mmap] = []
        self._full: list[tuple[int, mmap]] = []
        self._memory: mmap | bytearray = bytearray()
        self._at = SEGMENT
        self._seed = 0
        self._done = 0
        if sys.platform != "win32":
            self._advance()

    def add(self, data: bytes) -> None:
        """Keep a record. One that is larger than a segment is left out."""
        start = self._at
        end = start + _RECORD.size + len(data)
        if end > SEGMENT:
            if not self._room(len(data)):
                return
            start = self._at
            end = start + _RECORD.size + len(data)
        self._memory[start:end] = _head(len(data), crc32(data, self._seed)) + data
        self._at = end
        self.count += 1

    def turn(self) -> int:
        """What comes now goes to another segment, if one is free. Returns how many records there have been."""
        if self._free or self.fault is not None:
            self._advance()
        return self.count

    def done(self, count: int) -> None:
        """The first `count` records are safe elsewhere: segments without any other are free again."""
        self._done = count
        while self._full and self._full[0][0] <= count:
            _, memory = self._full.pop(0)
            memory[: _SEGMENT.size] = _SEGMENT.pack(MAGIC, 0)
            self._free.append(memory)

    def close(self) -> None:
        """Remove the file, or leave it to the next start when it holds what is not done."""
        if self._file is None:
            return
        if self._done >= self.count and _is_at(self._file, self._path):
            with suppress(OSError):
                self._path.unlink()
        for memory in (self._memory, *self._free, *(memory for _, memory in self._full)):
            if isinstance(memory, mmap):
                memory.close()
        os.close(self._file)
        self._file = None

    def _room(self, size: int) -> bool:
        if size > SEGMENT - _SEGMENT.size - _RECORD.size or sys.platform == "win32":
            return False
        if self.fault is None or self._free:  # a full disk is asked once a turn, not once a record
            self._advance()
        return self.fault is None

    def _advance(self) -> None:
        """Go on in a free segment; without one the file grows: a megabyte into the kernel's memory, a millisecond."""
        try:
            while not self._free or self._segments < 2:
                self._grow()
        except OSError as fault:
            self.fault = f"{self._path}: {fault.strerror}: rows would not survive a killed process"
            return
        self.fault = None
        if isinstance(self._memory, mmap):
            self._full.append((self.count, self._memory))
        self._memory = self._free.pop()
        self._seed += 1
        self._memory[: _SEGMENT.size] = _SEGMENT.pack(MAGIC, self._seed)
        self._at = _SEGMENT.size

    def _grow(self) -> None:
        if self._file is None:
            self._path, self._file = _create(self._database)
        place = self._segments * SEGMENT
        # Written, not only made longer: touching a page that a full disk has no room for would end the process.
        if os.pwrite(self._file, MAGIC + bytes(SEGMENT - len(MAGIC)), place) < SEGMENT:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._free.append(mmap(self._file, SEGMENT, offset=place))
        self._segments += 1


def read(data: bytes) -> list[bytes] | None:
    """A file's records, oldest first. In a segment, the first that is not whole is its end. None: it is no journal."""
    if not data.startswith(MAGIC):
        return None if data else []
    used = []
    for start in range(0, len(data), SEGMENT):
        segment = data[start : start + SEGMENT]
        if len(segment) >= _SEGMENT.size and (seed := _SEGMENT.unpack_from(segment)[1]):
            used.append((seed, segment))
    return [record for seed, segment in sorted(used) for record in _records(segment, seed)]


def replay(database: Path, store: Callable[[list[bytes]], tuple[int, int]]) -> list[str]:
    """Hand what killed processes left to `store`, then remove it. Returns what people should know of it.

    `store` says how many records were news to it and how many it cannot read: their file is renamed, not removed. What
    cannot be stored now waits for the next start.
    """
    if sys.platform == "win32":
        return []
    name = re.compile(re.escape(database.name) + r"-rows(-\d+)?")
    notices = []
    for path in sorted(path for path in database.parent.iterdir() if name.fullmatch(path.name)):
        try:
            notice = _replay(path, store)
        except (OSError, sqlite3.Error) as fault:
            notice = f"{path}: rows of an earlier run wait there for the next start: {fault}"
        if notice:
            notices.append(notice)
    return notices


def _replay(path: Path, store: Callable[[list[bytes]], tuple[int, int]]) -> str:
    file = _lock(path)
    if file is None:
        return ""
    try:
        records = read(path.read_bytes())
        new, unread = (0, 0) if records is None else store(records)
        if records is not None and not unread:
            path.unlink()
            return f"{path}: {new} rows of a killed process were stored" if new else ""
        aside = path.with_name(f"{path.name}.unread-{time.time_ns()}")
        path.rename(aside)
        what = "it is no journal, or a damaged one" if records is None else f"{unread} of its rows cannot be read"
        return f"{path}: {what}; renamed to {aside.name}"
    finally:
        os.close(file)


def _records(segment: bytes, seed: int) -> Iterator[bytes]:
    at = _SEGMENT.size
    while at + _RECORD.size <= len(segment):
        length, check = _RECORD.unpack_from(segment, at)
        at += _RECORD.size
        record = segment[at : at + length]
        if not length or len(record) < length or crc32(record, seed) != check:
            return
        yield record
        at += length


def _create(database: Path) -> tuple[Path, int]:
    """A new file of the first name that is free, locked."""
    number = 1
    while True:
        path = database.with_name(f"{database.name}-rows" + (f"-{number}" if number > 1 else ""))
        with suppress(FileExistsError):
            file = _lock(path, os.O_CREAT | os.O_EXCL)
            if file is not None:
                return path, file
        number += 1


def _lock(path: Path, flags: int = 0) -> int | None:
    """The open file, which is now this process's alone; None when it is, or just was, another's."""
    file = os.open(path, os.O_RDWR | flags, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    except OSError:
        os.close(file)
        raise
    if _is_at(file, path):
        return file
    os.close(file)  # its owner removed it between the two calls
    return None


def _is_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except OSError:
        return False
