"""The vocabulary of `scrapers/*.yaml`: which tables of a page are read, and how a cell becomes a figure. No Python.

What a field means decides how it is read: prices as money, sizes as tokens, the rest as text.
"""

import re
from typing import Annotated, Literal, cast, get_args

from msgspec import Meta

from ..spec import URL, Count, Name, Ratio, Spec

Text = Literal["id", "status"]
Size = Literal["context", "max_output", "long_above"]
Money = Literal[
    "input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "audio_output",
    "batch_input", "batch_output", "priority_input", "priority_output",
    "long_input", "long_output", "long_cache_read",
]  # fmt: skip
FieldName = Literal[Text, Size, Money]
FIELDS: tuple[FieldName, ...] = (*get_args(Money), *get_args(Size), *get_args(Text))
SIZES: frozenset[str] = frozenset(get_args(Size))
MONEY: frozenset[str] = frozenset(get_args(Money))

Pattern = Annotated[str, Meta(min_length=1, max_length=1000, description="A regular expression of Python's `re`.")]
Query = Annotated[str, Meta(min_length=1, max_length=1000, description="A JMESPath expression.")]
Selector = Annotated[str, Meta(min_length=1, max_length=1000, description="A CSS selector or an XPath expression.")]
PageType = Literal["html", "json", "markdown"]
Unit = Annotated[Literal["token", "1K", "1M"], Meta(description="So many tokens one amount is for.")]


class Field(Spec, frozen=True, kw_only=True):
    """Where one figure stands: exactly one of `column`, `section` and `value`; then how it is read.

    Text passes `match`, `replace`, `slug` and `alias`, in this order. Money is brought to USD per million tokens.
    """

    column: Annotated[Pattern, Meta(description="All of the header of exactly one column; it may stand anywhere.")] | (
        None
    ) = None
    nth: (
        Annotated[tuple[int, int], Meta(description="[2, 3]: the second of exactly three columns with this header.")]
        | None
    ) = None
    section: (
        Annotated[
            Pattern,
            Meta(description="Group 1 in the text from the heading to the table; each match of an id is a model."),
        ]
        | None
    ) = None
    value: Annotated[float | str, Meta(description="The same for every row.")] | None = None
    match: Annotated[
        Pattern, Meta(description="All of the text; group 1 is kept. A text that does not fit is refused.")
    ] | (None) = None
    find: Annotated[
        Pattern, Meta(description="A part of the text; group 1 is kept. Without it the field is empty.")
    ] | (None) = None
    replace: Annotated[dict[Pattern, str], Meta(description="Pattern to replacement, in order.")] = {}
    slug: Annotated[bool, Meta(description="`Acme Large 4.5` to `acme-large-4-5`.")] = False
    alias: Annotated[dict[str, str], Meta(description="Name on the page to canonical id.")] = {}
    per: Unit = "1M"
    pick: (
        Annotated[Pattern, Meta(description="All of the words beside an amount, in a cell that holds several.")] | None
    ) = None
    required: Annotated[bool, Meta(description="A row without it is quarantined.")] = False
    optional: Annotated[bool, Meta(description="The column itself may be missing.")] = False

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.column, self.section, self.value)) != 1:
            raise ValueError("a field has exactly one of `column`, `section` and `value`")
        for pattern in (self.column, self.section, self.match, self.find, self.pick, *self.replace):
            compilable(pattern)
        for pattern in (self.section, self.match, self.find):
            if pattern is not None and re.compile(pattern).groups < 1:
                raise ValueError("the pattern needs a group: what it holds is kept")


class Table(Spec, frozen=True, kw_only=True, tag_field="from"):
    """Rows of a page. Tables of a source meet by `id`; where two give the same field they must agree.

    `joins`: adds fields to the models of other tables and brings none of its own. `ignore`: amounts beside the ones
    that are picked, by the words beside them. `optional`: the page may do without it.
    """

    fields: dict[FieldName, Field]
    where: Annotated[dict[Pattern, Pattern], Meta(description="Header to cell: rows that are meant at all.")] = {}
    joins: bool = False
    optional: bool = False
    ignore: Pattern | None = None

    def __post_init__(self) -> None:
        if "id" not in self.fields:
            raise ValueError("a table needs the field `id`")
        for pattern in (self.ignore, *self.where, *self.where.values()):
            compilable(pattern)

    @property
    def selector(self) -> str:
        """What finds the table on its page."""
        names = ("css", "xpath", "heading", "caption", "pane", "pattern", "rows")
        given = ((name, getattr(self, name, None)) for name in names)
        return " ".join(f"{name}: {' '.join(text.split())}" for name, text in given if text)

    def finder(self, field: str) -> str:
        """What finds a field: the table's selector and the field's column, in at most 400 characters."""
        how = self.fields[cast(FieldName, field)]
        at = "value" if how.value is not None else f"section: {how.section}" if how.section else f"column: {how.column}"
        return f"{self.selector[: 398 - min(len(at), 200)]}, {at[:200]}"


class Html(Table, frozen=True, kw_only=True, tag="html"):
    """Tables of an HTML page, by `css` or `xpath`.

    `cells`: what is selected are rows that no table holds, and these are their cells: header to XPath.
    """

    css: Selector | None = None
    xpath: Selector | None = None
    cells: Annotated[dict[str, Selector], Meta(description="Header to XPath within the row.")] = {}
    header_row: Annotated[int, Meta(ge=1, le=5, description="Which row of the table names the columns.")] = 1
    transpose: Annotated[bool, Meta(description="Models stand in columns, figures in rows.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.css is None) == (self.xpath is None):
            raise ValueError("one of `css` and `xpath` selects the tables")


class Markdown(Table, frozen=True, kw_only=True, tag="markdown"):
    """Pipe tables under headings that match `heading`, with `caption` as the last line of text before them.

    `index` finds, in group 1, headings that the page announces: one that matches `heading` must be there.
    `panes` finds the labels of a row of tabs that stands before its tables; `pane` is the label that is meant. The
    section must then hold one table for each label; without labels just one, which is the first pane.
    """

    heading: Pattern
    index: Pattern | None = None
    caption: Pattern | None = None
    panes: Pattern | None = None
    pane: str | None = None
    first: Annotated[str, Meta(description="The label of a lone table.")] = ""
    header_row: Annotated[int, Meta(ge=1, le=5, description="Which row of the table names the columns.")] = 1
    transpose: Annotated[bool, Meta(description="Models stand in columns, figures in rows.")] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.panes is None) != (self.pane is None):
            raise ValueError("`panes` and `pane` go together")
        for pattern in (self.heading, self.index, self.caption, self.panes):
            compilable(pattern)


class Json(Table, frozen=True, kw_only=True, tag="json"):
    """Records of a JSON page: `rows` yields objects, or lists whose columns `header` names."""

    rows: Query
    header: tuple[str, ...] = ()


class Island(Json, frozen=True, kw_only=True, tag="island"):
    """Records of JSON inside a page: in a script tag or an attribute (`css`, `xpath`), or in group 1 of `pattern`."""

    css: Selector | None = None
    xpath: Selector | None = None
    pattern: Pattern | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(given is not None for given in (self.css, self.xpath, self.pattern)) != 1:
            raise ValueError("one of `css`, `xpath` and `pattern` finds the JSON")
        compilable(self.pattern)


class Source(Spec, frozen=True, kw_only=True):
    """A page: where it is, how it is asked for, how it is known, and its tables.

    `marks` tells this layout from the others of the same type. `states` must all be found in the page's text: the
    unit of its prices, for one.
    """

    url: URL
    type: PageType
    headers: Annotated[dict[str, str], Meta(description="Request headers.")] = {}
    marks: Pattern | None = None
    states: tuple[Pattern, ...] = ()
    tables: Annotated[tuple[Html | Markdown | Json | Island, ...], Meta(min_length=1)]
    min_rows: Annotated[Count, Meta(description="Fewer models than this, and the page is not believed.")] = 1
    ratios: Annotated[
        tuple[tuple[Money, Money, float, float], ...],
        Meta(description="[batch_input, input, 0.5, 0.5]: the first over the second, at least and at most."),
    ] = ()

    def __post_init__(self) -> None:
        for pattern in (self.marks, *self.states):
            compilable(pattern)


class Scraper(Spec, frozen=True, kw_only=True):
    """A scraper: `sources` are layouts of the same prices, and the first that fits a page reads it.

    `bounds` are lowest and highest price in USD per million tokens. When more than `max_quarantined` of a page's
    models are bad, none of them is believed.
    """

    name: Name
    provider: Annotated[Name, Meta(description="Whose prices they are, or whose catalogue.")]
    sources: Annotated[tuple[Source, ...], Meta(min_length=1)]
    required: Annotated[tuple[FieldName, ...], Meta(description="A model without one of these is quarantined.")] = (
        "input", "output",
    )  # fmt: skip
    bounds: Annotated[dict[Money, tuple[float, float]], Meta(description="Field to lowest and highest price.")] = {}
    max_quarantined: Ratio = 0.25
    max_jump: Annotated[
        float, Meta(gt=1, le=1000, description="A price that is so many times the last one, or less, is quarantined.")
    ] = 3.0
    max_missing: Annotated[Ratio, Meta(description="More of the last page's models gone, and none is believed.")] = 0.25
    second_opinion: Annotated[
        bool, Meta(description="A catalogue of several providers: it confirms and contradicts, and changes nothing.")
    ] = False


def compilable(pattern: str | None) -> None:
    """Raises ValueError with what is wrong with a pattern."""
    if pattern is not None:
        try:
            re.compile(pattern)
        except re.error as fault:
            raise ValueError(f"`{pattern}` is not a regular expression: {fault}") from None
