"""Asking for a page: what is refused before it is asked, and what of the answers is."""

import asyncio
from collections.abc import Iterator

import pytest

from sidecar.config.check import check
from sidecar.config.document import parse
from sidecar.scrape.fetch import AGENT, MAX_BYTES, Fetched, Fetcher, Known
from sidecar.scrape.finding import QuarantineError, Reason
from sidecar.scrape.spec import Scraper

from .acme import SCRAPER
from .served import Site, site


@pytest.fixture
def web() -> Iterator[Site]:
    with site() as served:
        yield served


def fetch(url: str, known: Known | None = None) -> Fetched:
    """The page of a scraper's first source at `url`."""
    (document,), _ = parse(SCRAPER.format(url="http://127.0.0.1").replace("http://127.0.0.1/prices", url), "acme.yaml")
    scraper, faults = check(document, {"scraper": Scraper}, {})
    assert isinstance(scraper, Scraper), faults

    async def run() -> Fetched:
        async with Fetcher(scraper) as fetcher:
            return await fetcher.fetch(scraper.sources[0], known or Known())

    return asyncio.run(run())


def refused(url: str, reason: Reason) -> str:
    with pytest.raises(QuarantineError) as caught:
        fetch(url)
    assert caught.value.reason is reason, caught.value.message
    return caught.value.message


def test_a_page_and_then_only_what_is_newer(web: Site) -> None:
    web.put("/prices", "# Prices", "text/markdown; charset=utf-8", etag='"7"', last_modified="yesterday")
    first = fetch(f"{web.url}/prices")
    assert (first.page, first.known) == (b"# Prices", Known('"7"', "yesterday"))
    assert web.paths == ["/robots.txt", "/prices"]
    assert {headers["user-agent"] for _, headers in web.asked} == {AGENT}
    web.answers["/prices"] = lambda headers: (304 if headers.get("if-none-match") == '"7"' else 500, {}, b"")
    again = fetch(f"{web.url}/prices", first.known)
    assert (again.page, again.known) == (None, first.known)
    assert web.asked[-1][1]["if-modified-since"] == "yesterday"


@pytest.mark.parametrize(
    ("rules", "allowed"),
    [
        ("User-agent: *\nDisallow: /prices", False),
        ("User-agent: sidecar-registry\nDisallow: /", False),
        ("User-agent: *\nDisallow: /*.md$\nDisallow: /private", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: sidecar-registry\nAllow: /prices", True),
        ("User-agent: *\nDisallow: /\nAllow: /pri", True),
    ],
)
def test_robots(web: Site, rules: str, allowed: bool) -> None:
    web.put("/prices", "# Prices")
    web.put("/robots.txt", rules, "text/plain")
    if allowed:
        assert fetch(f"{web.url}/prices").page == b"# Prices"
    else:
        assert "robots.txt" in refused(f"{web.url}/prices", Reason.ROBOTS)
        assert web.paths == ["/robots.txt"]


def test_rules_that_cannot_be_had_let_nobody_in(web: Site) -> None:
    web.put("/prices", "# Prices")
    web.put("/robots.txt", "", status=302, location="https://elsewhere.example/robots.txt")
    refused(f"{web.url}/prices", Reason.UNLISTED_HOST)
    assert web.paths == ["/robots.txt"]


@pytest.mark.parametrize(
    "to", ["https://elsewhere.example/", "http://127.0.0.1:1/", "//elsewhere.example/x", "http://169.254.169.254/"]
)
def test_a_redirect_leads_to_listed_hosts_only(web: Site, to: str) -> None:
    web.put("/prices", "", status=301, location=to)
    refused(f"{web.url}/prices", Reason.UNLISTED_HOST)
    assert web.paths == ["/robots.txt", "/prices"]


def test_redirects_are_followed_thrice(web: Site) -> None:
    for n in range(4):
        web.put(f"/{n}", "", status=302, location=f"/{n + 1}")
    web.put("/4", "# Prices")
    assert fetch(f"{web.url}/1").page == b"# Prices"
    assert "more than 3 redirects" in refused(f"{web.url}/0", Reason.BAD_ANSWER)
    web.put("/prices", "", status=302, location="http://[")
    refused(f"{web.url}/prices", Reason.BAD_ANSWER)
    web.put("/robots.txt", "User-agent: *\nDisallow: /4", "text/plain")
    refused(f"{web.url}/1", Reason.ROBOTS)


@pytest.mark.parametrize("url", ["http://prices.example/x", "ftp://127.0.0.1/x", "http://10.0.0.1/x"])
def test_plain_http_is_for_this_machine(url: str) -> None:
    scraper_url = url if url.startswith("http") else "http://10.1.1.1/x"
    refused(scraper_url, Reason.UNLISTED_HOST)


def test_a_page_without_end_is_cut_off(web: Site) -> None:
    web.put("/prices", b"x" * (MAX_BYTES + 1))
    refused(f"{web.url}/prices", Reason.PAGE_TOO_LARGE)
    web.put("/prices", b"x" * MAX_BYTES)
    assert len(fetch(f"{web.url}/prices").page or b"") == MAX_BYTES


@pytest.mark.parametrize("type", ["text/html", "application/json", "image/png", ""])
def test_another_type_is_another_page(web: Site, type: str) -> None:
    web.put("/prices", "# Prices", type)
    refused(f"{web.url}/prices", Reason.WRONG_CONTENT)


def test_what_may_pass_is_tried_again_and_what_may_not_is_not(web: Site) -> None:
    answers = [503, 429, 200]
    web.answers["/prices"] = lambda headers: (
        answers.pop(0), {"content-type": "text/markdown", "retry-after": "0"}, b"# Prices",
    )  # fmt: skip
    assert fetch(f"{web.url}/prices").page == b"# Prices"
    web.put("/prices", "no", status=403)
    refused(f"{web.url}/prices", Reason.BAD_ANSWER)
    web.put("/prices", "no", status=429, retry_after="3600")
    before = len(web.asked)
    refused(f"{web.url}/prices", Reason.BAD_ANSWER)
    assert len(web.asked) == before + 2, "robots.txt and one try: an hour is not waited for"


def test_nobody_answers() -> None:
    with site() as gone:
        url = gone.url
    refused(f"{url}/prices", Reason.UNREACHABLE)
