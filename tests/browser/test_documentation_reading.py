"""The documentation site without a mouse, without eyes, on paper, and from a web server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lakehouse_assets.defs.documentation.site import build_site
from tests.lakehouse_assets.test_documentation import known

PAGES = ("index", "tables", "tables/marts.days", "sources/crm", "releases/2", "lineage", "checks")
NAMELESS = """[...document.querySelectorAll("article svg, img, button, a[href], input, [tabindex]")].filter(one => {
  const named = one.closest("[aria-label], [title], [alt]") || one.textContent.trim() || one.labels?.length
  return one.checkVisibility() && !named && !one.closest("[aria-hidden=true], label, pre")
}).map(one => one.outerHTML.slice(0, 200))"""
LEVELS = "[...document.querySelectorAll('h1, h2, h3, h4')].map(one => Number(one.tagName[1]))"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    build_site(known(), folder)
    return folder


@pytest.fixture
def served(site: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_every_page_has_a_language_a_way_past_its_head_and_a_name_for_all_that_can_be_reached(
    page: Page, site: Path
) -> None:
    for name in PAGES:
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.lang") == "en"
        assert page.evaluate(NAMELESS) == [], name
        levels = page.evaluate(LEVELS)
        assert levels.count(1) == 1 and all(below - above <= 1 for above, below in pairwise(levels))
        assert page.locator("main th:not([scope])").count() == 0
    page.goto((site / "tables" / "marts.days.html").as_uri())
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("Boolean(document.activeElement.closest('article'))"), "past header and navigation"


def test_paper_has_all_of_the_page_and_nothing_of_the_screen(page: Page, site: Path) -> None:
    page.goto((site / "tables" / "marts.days.html").as_uri())
    page.emulate_media(media="print")
    for gone in ("header.md-header", ".md-sidebar--primary", ".md-sidebar--secondary", ".hint"):
        assert not page.locator(gone).first.is_visible(), gone
    for shown in ("#columns", ".lineage svg", ".plot svg", "#written"):
        expect(page.locator(shown).first).to_be_visible()
    assert page.evaluate(
        "[...document.querySelectorAll('.lineage, .grid-of-cells')].every(e => e.scrollWidth <= e.clientWidth + 1)"
    )


def test_search_and_lineage_work_from_a_web_server_too(page: Page, served: str) -> None:
    page.goto(f"{served}/index.html")
    page.keyboard.press("/")
    page.keyboard.type("bought")
    page.locator(".md-search-result a", has_text="marts.days · day").click()
    button = page.get_by_role("button", name="day", exact=True)
    button.click()
    lit = page.locator(".lineage g.lit")
    expect(lit).to_have_count(4)
    assert {"source.crm", "raw.crm__orders", "file.marts.days"} <= {
        box.get_attribute("data-table") for box in lit.all()
    }
    assert page.locator(".lineage path.lit").count() == 3
    icon = page.locator("header label[for=__search] svg").first
    assert "data:image/svg+xml" in icon.evaluate("one => getComputedStyle(one).maskImage")
