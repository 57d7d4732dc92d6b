"""What the status page leaves out of its first view, and where that is found."""

import asyncio
from pathlib import Path

import httpx
from browser.scene import lived_in
from pages import checked

FIRST_VIEW = 50_000
"""Bytes of the page with the files it loads first, as they are without compression."""


def test_the_first_view_is_small_and_what_it_folds_is_on_the_whole_page(tmp_path: Path) -> None:
    async def main() -> None:
        async with lived_in(tmp_path) as served, httpx.AsyncClient(base_url=served.url, trust_env=False) as http:
            sent = [await http.get("/status")]
            page = checked(sent[0])
            sent += [await http.get(str(one["src"])) for one in page.of("script")]
            sent += [await http.get(str(one["href"])) for one in page.of("link")]
            assert sum(len(one.content) for one in sent) < FIRST_VIEW
            whole = checked(await http.get("/status/whole"))
            assert not whole.of("script")
            details = {str(one["id"]): one for one in whole.of("details")}
            assert all("open" in one for one in details.values())
            links = [str(one["href"]) for one in page.of("a")]
            for one in page.of("details"):
                assert "open" not in one
                assert f"/status/whole#{one['id']}" in links
                assert str(one["id"]) in details
            decided = sum(ident.startswith("r-") for ident in details)
            assert sum(str(one["id"]).startswith("r-") for one in page.of("details")) < decided == 20
            for text in ("Attempts of req_", "Calls by model, last 24 hours", "web-app"):
                assert text in whole.text
            assert "Attempts of req_" not in page.text
            assert {"details", "table"} <= {name for name, _ in page.elements}

    asyncio.run(main())
