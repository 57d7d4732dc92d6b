"""The exact cache's store against a plain list: bounds, order of leaving, and the count of bytes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.stores.base import Entry
from sidecar.stores.memory import MemoryCache

MOVES = st.lists(
    st.tuples(st.sampled_from(["put", "get"]), st.integers(0, 7), st.integers(0, 40), st.integers(1, 20)), max_size=80
)
"""What to do, with which key, how large a body, and for how long."""


def entry(size: int, expires: float) -> Entry:
    return Entry(b"x" * size, "application/json", "m", "p", "t", expires)


class Model:
    """Keys from the one used longest ago to the newest, with sizes and ends."""

    def __init__(self, most: int, room: int) -> None:
        self.most, self.room = most, room
        self.rows: list[tuple[bytes, int, float]] = []

    def put(self, key: bytes, size: int, expires: float) -> None:
        self.rows = [row for row in self.rows if row[0] != key]
        if size > self.room:
            return
        self.rows.append((key, size, expires))
        while len(self.rows) > self.most or sum(row[1] for row in self.rows) > self.room:
            self.rows.pop(0)

    def get(self, key: bytes, now: float) -> int | None:
        found = next((row for row in self.rows if row[0] == key), None)
        if found is None:
            return None
        self.rows.remove(found)
        if found[2] <= now:
            return None
        self.rows.append(found)
        return found[1]


@given(most=st.integers(1, 6), room=st.integers(1, 100), moves=MOVES)
@settings(max_examples=400, deadline=None)
def test_it_does_what_a_plain_list_does(most: int, room: int, moves: list[tuple[str, int, int, int]]) -> None:
    cache, model = MemoryCache(most, room), Model(most, room)
    for now, (move, number, size, lasts) in enumerate(moves):
        key = b"%d" % number
        if move == "put":
            cache.put(key, entry(size, now + lasts))
            model.put(key, size, now + lasts)
        else:
            got = cache.get(key, now)
            assert (None if got is None else len(got.body)) == model.get(key, now)
        assert cache.bytes == sum(row[1] for row in model.rows)
        assert len(cache) == len(model.rows)
        assert len(cache) <= most
        assert cache.bytes <= room


def test_the_one_used_longest_ago_leaves_first() -> None:
    cache = MemoryCache(2, 1000)
    for key in (b"a", b"b"):
        cache.put(key, entry(1, 100.0))
    assert cache.get(b"a", 0.0) is not None
    cache.put(b"c", entry(1, 100.0))
    assert [cache.get(key, 0.0) is not None for key in (b"a", b"b", b"c")] == [True, False, True]


def test_an_entry_ends_exactly_when_it_says() -> None:
    cache = MemoryCache(10, 1000)
    cache.put(b"k", entry(10, 100.0))
    assert cache.get(b"k", 99.999) is not None
    assert cache.get(b"k", 100.0) is None
    assert (len(cache), cache.bytes) == (0, 0)


def test_replacing_an_entry_by_one_that_is_too_large_leaves_none() -> None:
    cache = MemoryCache(10, 100)
    cache.put(b"k", entry(50, 100.0))
    cache.put(b"k", entry(101, 100.0))
    assert cache.get(b"k", 0.0) is None
    assert cache.bytes == 0
