"""What `sidecar explain CODE` says of the reasons for which a price, a model or a page is kept out."""

from .finding import Reason

_ACCEPT = """
If it is right after all, take it in once: `sidecar scrape NAME --accept`. If it is wrong, write the true figure into a
`kind: registry_override`, which no update takes back.
"""

EXPLAIN: dict[Reason, str] = {
    Reason.WALL: """\
Somebody stands between us and the page: a challenge, a login, a consent form, an error page. Nothing is read from it.
Save the page from a browser and read it with `sidecar scrape NAME --from FILE`, or wait.
""",
    Reason.WRONG_PAGE: """\
No source of the scraper is a page like this one: its `marks` are not on it, or it is of another type. The provider has
probably rebuilt the page: the scraper needs a new source.
""",
    Reason.TRUNCATED: """\
The page, or the JSON in it, ends early, or it is not UTF-8. Half a price list is not read.
""",
    Reason.NOT_STATED: """\
The page does not say what the scraper's `states` demand: the unit of its prices, or the text that comes after the last
price. Prices in an unknown unit are not read.
""",
    Reason.MISSING_TABLE: """\
A table that the scraper needs is not on the page, or has no row that is meant.
""",
    Reason.MISSING_COLUMN: """\
A column is not there, or there more than once. Columns are found by their whole header, and never guessed at.
""",
    Reason.MISSING_VALUE: """\
A model lacks a figure that its scraper requires, or a row has no model's name.
""",
    Reason.RAGGED_ROW: """\
A row has more or fewer cells than its header, so it cannot be told which is which.
""",
    Reason.UNREADABLE_VALUE: """\
A cell holds a word that the scraper does not know, another currency, or a number that could mean two things.
""",
    Reason.WRONG_UNIT: """\
A cell says another unit than the page's own, per 1K instead of per 1M. It is refused, never converted on trust.
""",
    Reason.OUT_OF_BOUNDS: """\
A price is outside the scraper's `bounds`: as a rule a unit slip.
""",
    Reason.IMPLAUSIBLE: """\
The prices of one model do not go together: input dearer than output, a cache dearer than no cache, a batch price that
is no discount. A swapped column looks like this. `together with what the registry has` means that the page changes some
figures and is silent about others, which no longer fit: write all of them into a `kind: registry_override`.
""",
    Reason.CONFLICT: """\
The page gives one price twice, differently.
""",
    Reason.TOO_FEW_ROWS: """\
The page has fewer models than the source's `min_rows`: it is not the price list it was.
""",
    Reason.TOO_MANY_BAD: """\
More than `max_quarantined` of the page's models are bad, so the others are not believed either.
""",
    Reason.UNLISTED_HOST: """\
A page, or a redirect from it, leads to a host that none of the scraper's sources names, or away from HTTPS. It was not
asked. If the page has moved, change its `url`.
""",
    Reason.ROBOTS: """\
The host's robots.txt does not let `sidecar-registry` read the page, or could not be had. The page was not asked for.
""",
    Reason.UNREACHABLE: """\
The page could not be had within three tries: no connection, or no whole answer within a minute.
""",
    Reason.BAD_ANSWER: """\
The server did not answer with the page: another status than 200, or too many redirects.
""",
    Reason.WRONG_CONTENT: """\
The answer is of another type than the source's `type`: HTML where a JSON document was, for example.
""",
    Reason.PAGE_TOO_LARGE: """\
The page is larger than 8 MiB. The rest of it was not read.
""",
    Reason.PRICE_JUMP: f"""\
A figure is more than `max_jump` times what it was, or less than one of so many. Real price cuts are rarely so deep, and
unit slips always are. The model keeps its figures.
{_ACCEPT}""",
    Reason.FEWER_ROWS: f"""\
More than `max_missing` of the models that the page had last time are gone. Nothing of it is believed.
{_ACCEPT}""",
    Reason.VANISHED: """\
The page no longer lists a model. It is kept with its last price, for old bills, and marked `unlisted`. Said once. If it
can no longer be called, write `status: retired` into a `kind: registry_override`.
""",
    Reason.DISAGREEMENT: f"""\
The page's new price and a second opinion differ by more than a hundredth. The model keeps its figures until they
agree: catalogues follow within days.
{_ACCEPT}""",
    Reason.NAME_TAKEN: """\
The page has a model of a name that another model of the registry bears.
""",
}
