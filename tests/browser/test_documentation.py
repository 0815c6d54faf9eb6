"""What a reader does with the documentation site, from the disk: no server, no network."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.lakehouse_instance import LakehouseInstance

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(demo_lakehouse: LakehouseInstance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    done = demo_lakehouse.lakehouse("docs", "build", "--out", str(folder))
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_search_from_the_disk_finds_a_column_by_its_meaning(page: Page, site: Path) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((site / "index.html").as_uri())
    page.keyboard.press("/")  # no mouse is needed
    page.keyboard.type("taken back")
    page.locator(".md-search-result a", has_text="marts.daily_revenue · refunds").click()
    expect(page.get_by_role("heading", name="marts.daily_revenue", exact=True)).to_be_visible()
    assert not [url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:"))]


def test_a_column_lights_up_its_way_from_the_source_to_the_file(page: Page, site: Path) -> None:
    page.goto((site / "tables" / "marts.daily_revenue.html").as_uri())
    button = page.get_by_role("button", name="net_revenue")
    button.focus()
    page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-pressed", "true")
    lit = page.locator(".lineage g.lit")
    expect(lit).to_have_count(5)
    tables = [box.get_attribute("data-table") for box in lit.all()]
    assert {"source.ecommerce", "raw.ecommerce__events", "file.marts.daily_revenue"} <= set(tables)
    page.keyboard.press("Enter")
    expect(lit).to_have_count(0)


def test_it_fits_a_phone_is_dark_where_asked_and_prints(browser: Browser, site: Path) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page = context.new_page()
    for name in ("index", "tables/marts.daily_revenue", "lineage", "checks", "releases/1", "sources/ecommerce"):
        page.goto((site / f"{name}.html").as_uri())
        expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "slate")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
        named = "[...document.querySelectorAll('main button, main a')].every(e => e.textContent.trim() || e.ariaLabel)"
        assert page.evaluate(named), name
    page.emulate_media(media="print")
    expect(page.locator("header.md-header")).to_be_hidden()
    context.close()
