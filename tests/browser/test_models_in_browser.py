"""What a person does with models in the web UI: backfill days, look at failed rows, look at a mart."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.arrivals import MAX_AUDIT, TOO_DEAR, TRIPS, Arrivals, computed_at, settle
from tests.lakehouse_instance import LakehouseInstance
from tests.running_services import RunningServices, until

pytestmark = pytest.mark.slow

MART = "marts/daily_revenue"
TIMEOUT_SECONDS = 240


def open_markdown(page: Page, key: str) -> Locator:
    """The dialog in which Dagster shows Markdown that is too long for its table of metadata."""
    cell = page.get_by_text(key, exact=True).last
    cell.locator("xpath=ancestor::tr[1]").get_by_text("[Show Markdown]").click()
    dialog = page.get_by_role("dialog").filter(has_text="Close")
    expect(dialog).to_be_visible()
    return dialog


def test_a_backfill_of_three_days_recomputes_exactly_these(
    page: Page, demo_lakehouse: LakehouseInstance, demo_services: RunningServices
) -> None:
    settle(demo_services)
    before = computed_at(demo_lakehouse)
    days = ["2009-12-08", "2009-12-09", "2009-12-10"]
    assert set(days) < set(before)
    page.goto(f"{demo_services.url}/assets/{MART}")
    page.get_by_role("button", name=re.compile("Materialize")).first.click()
    page.get_by_text("Show all partitions").click()
    chosen = page.get_by_placeholder(re.compile("^ex: "))
    chosen.fill(f"[{days[0]}...{days[-1]}]")
    chosen.press("Enter")
    expect(page.get_by_text("3 partitions", exact=True)).to_be_visible()
    page.get_by_role("button", name="Launch backfill").click()
    expect(page.get_by_text("Created backfill")).to_be_visible()
    page.goto("about:blank")  # a page that shows work under way keeps a processor busy

    def finished() -> bool:
        query = "{partitionBackfillsOrError(limit: 1) {... on PartitionBackfills {results {status numPartitions}}}}"
        (backfill,) = demo_services.graphql(query)["partitionBackfillsOrError"]["results"]
        assert backfill["numPartitions"] == 3
        assert "FAIL" not in backfill["status"]
        return bool(backfill["status"] == "COMPLETED_SUCCESS")

    until(finished, TIMEOUT_SECONDS, lambda: f"The backfill doesn't end; runs: {demo_services.unfinished_runs()}")
    after = computed_at(demo_lakehouse)
    assert sorted(day for day in after if after[day] != before.get(day)) == days
    assert set(after) == set(before)


def test_a_failed_audit_shows_its_rows(page: Page, demo_services: RunningServices, arrivals: Arrivals) -> None:
    page.goto(f"{demo_services.url}/assets/{TRIPS}?view=checks&checkDetail={MAX_AUDIT}")
    expect(page.get_by_text("1 row fails accepted_range")).to_be_visible()
    count = page.get_by_text("failed_rows", exact=True).first.locator("xpath=ancestor::tr[1]")
    expect(count.get_by_text("1", exact=True)).to_be_visible()
    sample = open_markdown(page, "sample")
    for shown in ("total_amount", TOO_DEAR, arrivals.trips):
        expect(sample.get_by_text(shown, exact=True)).to_be_visible()


def test_a_mart_shows_rows_and_a_plot(
    page: Page, demo_lakehouse: LakehouseInstance, demo_services: RunningServices, images: Path
) -> None:
    page.goto(f"{demo_services.url}/assets/{MART}")
    preview = open_markdown(page, "preview")
    expect(preview.get_by_role("table")).to_be_visible()
    newest = demo_lakehouse.rows("SELECT * EXCLUDE computed_at FROM marts.daily_revenue ORDER BY ALL DESC LIMIT 1")[0]
    row = preview.get_by_role("row").nth(1)
    for value in newest:
        expect(row.get_by_text(str(value), exact=True).first).to_be_visible()
    preview.get_by_text("Close", exact=True).click()
    expect(preview).to_be_hidden()
    page.get_by_text("Hide navigation").click()
    plot = open_markdown(page, "plot").get_by_role("img", name=re.compile(" by event_date$"))
    expect(plot).to_be_visible()
    drawn = plot.evaluate("image => [image.complete, image.naturalWidth, image.naturalHeight]")
    assert drawn == [True, 640, 260]
    page.screenshot(path=images / "mart_page.png", animations="disabled")  # not while the dialog still fades in
