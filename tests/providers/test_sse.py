"""The splitter against streams put together from known events, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.providers.sse import Events

LINE = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=20)
NAME = st.text("abc_.", min_size=1, max_size=8)
EVENT = st.tuples(st.none() | NAME, st.lists(LINE, min_size=1, max_size=3))


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """`data` in pieces, empty ones too."""
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[a:b] for a, b in zip([0, *ends], [*ends, len(data)], strict=True)]


def read(pieces: list[bytes]) -> list[tuple[str, bytes]]:
    """All events of a body that came in these pieces."""
    events = Events()
    return [event for piece in pieces for event in events.feed(piece)] + events.end()


@given(
    st.lists(EVENT, max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.sampled_from(["", "\ufeff", ": hello\n\n"]),
    st.lists(st.integers(0, 10_000), max_size=12),
)
def test_events_are_those_that_were_written(
    events: list[tuple[str | None, list[str]]], end: str, space: bool, start: str, places: list[int]
) -> None:
    colon = ": " if space else ":"
    text = start.replace("\n", end)
    for name, lines in events:
        text += f": a comment{end}id: 7{end}retry: 1{end}"
        text += "" if name is None else f"event{colon}{name}{end}"
        # Without the space a value that starts with one would lose it.
        text += "".join(f"data{colon if not line.startswith(' ') else ': '}{line}{end}" for line in lines) + end
    body = text.encode()
    expected = [(name or "", "\n".join(lines).encode()) for name, lines in events]
    assert read([body]) == expected
    assert read([body[i : i + 1] for i in range(len(body))]) == expected
    assert read(cut(body, places)) == expected


@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"data: x", b"\r", b"\n", b"\r\n", b"event"]), max_size=20))
def test_any_bytes_cut_anywhere_give_the_same_events(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    assert read(pieces) == read([body]) == read([body[i : i + 1] for i in range(len(body))])


def test_mixed_line_endings() -> None:
    assert read([b"data: 1\r\n\r\ndata: 2\n\ndata: 3\r\rdata: 4\n\r\n"]) == [
        ("", b"1"),
        ("", b"2"),
        ("", b"3"),
        ("", b"4"),
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_field() -> None:
    assert read([b"\xef\xbb", b"\xbfdata: x\n\n"]) == [("", b"x")]


def test_an_event_without_data_is_none_and_its_name_does_not_stick() -> None:
    assert read([b"event: ping\n\ndata: x\n\n"]) == [("", b"x")]


def test_the_last_event_comes_without_its_blank_line() -> None:
    assert read([b"data: x\n\ndata: y"]) == [("", b"x"), ("", b"y")]


@pytest.mark.parametrize("piece", [b"data: xxxxxxxx", b"data: xxxxxxxx\n", b"data:\n", b"no field at all"])
def test_an_event_without_end_is_given_up(piece: bytes) -> None:
    events = Events(limit=1000)
    before = events.feed(b"data: fine\n\n")
    for _ in range(1001):
        assert events.feed(piece) == []
    assert before == [("", b"fine")]
    assert events.overflowed
    assert events.feed(b"\n\ndata: late\n\n") == [] and events.end() == []


def test_many_events_larger_than_the_limit_together_are_fine() -> None:
    events = Events(limit=100)
    assert sum(len(events.feed(b"data: " + b"x" * 60 + b"\n\n: " + b"c" * 90 + b"\n")) for _ in range(100)) == 100
    assert not events.overflowed


def test_a_long_line_in_small_chunks_is_linear() -> None:
    events = Events()
    for _ in range(200_000):
        events.feed(b"data: 0123456789"[:16])
    assert len(events.feed(b"\n\n")[0][1]) == 200_000 * 16 - 6
