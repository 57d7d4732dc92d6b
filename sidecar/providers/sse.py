"""Server-sent events out of network chunks: any line ending, cut anywhere, one pass, no I/O."""

MAX_EVENT = 16 * 1024 * 1024
"""Bytes one event may hold: an inline image fits, a line that never ends does not eat the memory."""

_BOM = b"\xef\xbb\xbf"


class Events:
    """An incremental splitter for one body. After `overflowed` turns true nothing more comes out.

    Comments and the fields `id` and `retry` are dropped: no LLM wire uses them.
    """

    __slots__ = ("_cr", "_data", "_first", "_held", "_limit", "_name", "_tail", "overflowed")

    def __init__(self, limit: int = MAX_EVENT) -> None:
        self._limit = limit
        self._tail: list[bytes] = []
        self._held = 0
        self._data: list[bytes] = []
        self._name = ""
        self._cr = False
        self._first = True
        self.overflowed = False

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """The events these bytes complete, as (event name or "", data); data lines are joined by LF."""
        if self.overflowed or not data:
            return []
        if self._cr:
            # A chunk ended in CR and that already ended the line: an LF that follows belongs to it.
            self._cr = False
            if data[0] == 10:
                data = data[1:]
        if b"\r" in data:
            self._cr = data[-1] == 13
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        tail = lines.pop()
        found: list[tuple[str, bytes]] = []
        if lines and self._tail:
            # Joined once a line, not once a chunk: a long line in many small chunks stays linear.
            self._held -= sum(map(len, self._tail))
            lines[0] = b"".join([*self._tail, lines[0]])
            self._tail.clear()
        for line in lines:
            if line:
                self._line(line)
            elif (event := self._dispatch()) is not None:
                found.append(event)
            if self._held > self._limit:
                break
        if tail:
            self._tail.append(tail)
            self._held += len(tail)
        if self._held > self._limit:
            self.overflowed = True
            self._tail.clear()
            self._data.clear()
        return found

    def end(self) -> list[tuple[str, bytes]]:
        """Called once at end of body: the last event, when the sender left out the blank line after it."""
        if self.overflowed:
            return []
        if self._tail:
            self._line(b"".join(self._tail))
            self._tail.clear()
        event = self._dispatch()
        return [] if event is None else [event]

    def _line(self, line: bytes) -> None:
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        name, _, value = line.partition(b":")
        if name == b"data":
            if value[:1] == b" ":
                value = value[1:]
            self._data.append(value)
            # An empty data line costs an entry in the list too.
            self._held += len(value) + 1
        elif name == b"event":
            self._name = value.removeprefix(b" ").decode("utf-8", "replace")

    def _dispatch(self) -> tuple[str, bytes] | None:
        name, data = self._name, self._data
        self._name = ""
        self._first = False
        if not data:
            return None
        self._data = []
        self._held = 0
        return name, data[0] if len(data) == 1 else b"\n".join(data)
