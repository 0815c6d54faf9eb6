"""What somebody sees who opens the dashboard: the service's numbers, asked for once, from the release that is read."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, TimeoutError, expect

from lakehouse.releases import publishing
from tests import calls
from tests.dashboard import marts
from tests.dashboard.conftest import Dashboard

pytestmark = pytest.mark.slow

QUERY, FRAME = "POST /query", ["GET /releases", "GET /pages"]
CAPTION = re.compile(r"release \d+ of prod · data .+ old · round trip .+ ms · executed in .+ ms · (warm|cold)")


def value(dashboard: Dashboard, sql: str) -> Any:
    """The one value that the service answers."""
    ((found,),) = [row.values() for row in dashboard.client.query(sql).arrow().to_pylist()]
    return found


def metric(page: Page, label: str) -> Locator:
    """The number under a label."""
    shown = page.get_by_test_id("stMetric").filter(has=page.get_by_text(label, exact=True))
    return shown.get_by_test_id("stMetricValue")


def settled(page: Page) -> None:
    """Wait until the page has run to its end."""
    expect(page.get_by_text(CAPTION).last).to_be_visible()
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)
    page.wait_for_timeout(300)
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0)


def open_page(page: Page, dashboard: Dashboard, name: str = "pick-ups") -> None:
    """A page, as a new visitor."""
    page.goto(f"{dashboard.url}/{name}")
    settled(page)


def assert_asked(page: Page, dashboard: Dashboard, calls: list[str]) -> None:
    """Wait for these calls, and see that no other comes."""
    for _ in range(480):
        if len(dashboard.proxy.calls) >= len(calls):
            break
        page.wait_for_timeout(500)
    page.wait_for_timeout(1_500)
    assert dashboard.proxy.calls == calls


def choose(page: Page, zones: int) -> None:
    """Type a number into the box."""
    box = page.get_by_role("spinbutton", name="Zones")
    box.fill(str(zones))
    box.press("Enter")


def pick(page: Page, label: str, option: str | re.Pattern[str]) -> None:
    """Choose from a list. A run of the page that was still under way shuts the list: then it is opened again."""
    choice = page.get_by_role("option", name=option, exact=True)
    for _ in range(40):
        if not choice.is_visible():
            page.get_by_role("combobox", name=label).click()
        with contextlib.suppress(TimeoutError):
            choice.click(timeout=5_000)
            return
    raise AssertionError(f"{option} could not be chosen")


def test_pick_ups_equal_sql_and_a_change_in_the_box_asks_once_for_what_it_changes(
    page: Page, dashboard: Dashboard, images: Path
) -> None:
    page.set_viewport_size({"width": 1400, "height": 840})
    dashboard.proxy.calls.clear()
    open_page(page, dashboard)
    assert_asked(page, dashboard, [*FRAME, QUERY, QUERY, QUERY])
    trips = value(dashboard, f"SELECT sum(trips)::BIGINT FROM {marts.PICK_UPS}")
    locations = value(dashboard, f"SELECT count(*) FROM {marts.PICK_UPS}")
    expect(metric(page, "Pick-ups")).to_have_text(f"{trips:,}")
    expect(metric(page, "Taxi zones")).to_have_text(f"{locations:,}")
    shown = metric(page, "Pick ups in these zones")
    expect(shown).to_have_text(first_trips(dashboard, 20))
    dashboard.proxy.calls.clear()
    choose(page, 7)
    expect(shown).to_have_text(first_trips(dashboard, 7))
    assert_asked(page, dashboard, [QUERY, QUERY])
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
    page.screenshot(path=images / "dashboard.png", animations="disabled")


def first_trips(dashboard: Dashboard, locations: int) -> str:
    """The trips of so many locations, as they are shown."""
    first = f"SELECT trips FROM {marts.PICK_UPS} ORDER BY trips DESC, pickup_location_id LIMIT {locations}"
    return f"{value(dashboard, f'SELECT sum(trips)::BIGINT FROM ({first})'):,}"


FIRST_FOOD = (
    f"SELECT commodity, unit, price_type FROM {marts.FOOD} GROUP BY ALL ORDER BY sum(prices) DESC, 1, 2, 3 LIMIT 1"
)
PAGES = {
    "collisions": (
        {
            "Collisions": f"SELECT sum(crashes)::BIGINT FROM {marts.COLLISIONS}",
            "Persons injured": f"SELECT sum(persons_injured)::BIGINT FROM {marts.COLLISIONS}",
        },
        4,
        "Persons killed",
        2,
    ),
    "revenue": (
        {
            "Net revenue": f"SELECT sum(net_revenue)::DOUBLE FROM {marts.REVENUE}",
            "Sold": f"SELECT sum(total_revenue)::DOUBLE FROM {marts.REVENUE}",
        },
        2,
        "month",
        1,
    ),
    "food-prices": (
        {
            "Prices collected": f"SELECT sum(prices)::BIGINT FROM {marts.FOOD} "
            f"WHERE (commodity, unit, price_type) IN ({FIRST_FOOD})"
        },
        3,
        "",
        0,
    ),
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_equals_sql_and_asks_for_what_it_shows_and_nothing_else(
    page: Page, dashboard: Dashboard, name: str
) -> None:
    metrics, questions, choice, changed = PAGES[name]
    dashboard.proxy.calls.clear()
    open_page(page, dashboard, name)
    assert_asked(page, dashboard, [*FRAME, *[QUERY] * questions])
    for label, sql in metrics.items():
        wanted = value(dashboard, sql)
        expect(metric(page, label)).to_have_text(f"£{wanted:,.0f}" if isinstance(wanted, float) else f"{wanted:,}")
    if name == "collisions":
        expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(3)
    if choice:
        dashboard.proxy.calls.clear()
        page.get_by_role("radio", name=choice).click()
        assert_asked(page, dashboard, [QUERY] * changed)  # for what it changes, once


def test_a_new_release_shows_up_and_an_earlier_one_can_be_chosen(page: Page, dashboard: Dashboard) -> None:
    open_page(page, dashboard)
    old = value(dashboard, f"SELECT sum(trips)::BIGINT FROM {marts.PICK_UPS}")
    before = dashboard.client.releases()["release"]
    dashboard.publisher.execute(f"UPDATE {marts.PICK_UPS} SET trips = trips + 1000 WHERE pickup_location_id = 1")
    release = dashboard.publish(*marts.ALL)
    assert release > before
    choose(page, 8)  # what else is on the page follows: it is never of two releases
    expect(metric(page, "Pick-ups")).to_have_text(f"{old + 1000:,}")
    expect(page.get_by_text(f"release {release} of prod · ")).to_have_count(2)
    page.get_by_role("button", name="Ask again").click()
    pick(page, "Release", re.compile(f"^{before}, cut "))
    expect(metric(page, "Pick-ups")).to_have_text(f"{old:,}")
    expect(page.get_by_text(f"release {before} of prod · ").last).to_be_visible()


def test_a_release_without_a_table_says_so(page: Page, dashboard: Dashboard) -> None:
    dashboard.publish(marts.PICK_UPS)
    try:
        page.goto(f"{dashboard.url}/revenue")
        expect(page.get_by_text("This release does not hold what is shown here.").first).to_be_visible()
        expect(page.get_by_text("marts.daily_revenue").first).to_be_visible()
        expect(page.get_by_test_id("stException")).to_have_count(0)
    finally:
        dashboard.publish(*marts.ALL)


@pytest.fixture
def held(dashboard: Dashboard) -> Iterator[int]:
    """A release that readers are held at by a rollback."""
    dashboard.publish(*marts.ALL)
    yield dashboard.served(publishing.rollback(dashboard.publisher.lake, "prod", 1, by="ann").number)
    publishing.resume(dashboard.publisher.lake, "prod")


def test_readers_who_are_held_are_told(page: Page, dashboard: Dashboard, held: int) -> None:
    open_page(page, dashboard)
    expect(page.get_by_test_id("stAlert")).to_contain_text(f"held at {held} by ann")
    expect(page.get_by_text(CAPTION).last).to_contain_text(f"held at {held} by ann")
    expect(page.get_by_text(f"release {held} of prod · ").last).to_be_visible()


def test_a_service_that_is_away_is_a_sentence(page: Page, dashboard: Dashboard) -> None:
    open_page(page, dashboard)
    dashboard.proxy.is_away = True
    try:
        choose(page, 9)
        expect(page.get_by_text("The query service does not answer")).to_be_visible()
        page.reload()
        expect(page.get_by_text("The query service does not answer")).to_be_visible()
        expect(page.get_by_test_id("stException")).to_have_count(0)
    finally:
        dashboard.proxy.is_away = False
    page.get_by_role("button", name="Ask again").click()
    settled(page)


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("evil.example:{port}", "http://evil.example:{port}", b"403"),
        ("127.0.0.1:{port}", "http://evil.example", b"403"),
        ("127.0.0.1:{port}", "null", b"403"),
        ("127.0.0.1:{port}", "http://127.0.0.1:{port}", b"101"),
        ("localhost:{port}", "http://localhost:{port}", b"101"),
    ],
)
def test_a_strangers_page_can_not_read_it_through_a_visitors_browser(
    dashboard: Dashboard, host: str, origin: str, status: bytes
) -> None:
    port = urlsplit(dashboard.url).port
    asked = (
        f"GET /_stcore/stream HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: Upgrade\r\n"
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).format(port=port)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(asked.encode())
        assert connection.recv(4_096).split()[1] == status
    page = calls.get(dashboard.url, headers={"host": host.format(port=port)})
    assert (page.status_code == 403) == host.startswith("evil")


def test_any_table_has_its_page(page: Page, dashboard: Dashboard, images: Path) -> None:
    page.set_viewport_size({"width": 1400, "height": 1500})
    open_page(page, dashboard, f"tables?table={marts.REVENUE}")
    page.wait_for_timeout(1_000)
    expect(page.get_by_role("heading", name=marts.REVENUE)).to_be_visible()
    expect(metric(page, "Rows")).to_have_text(f"{value(dashboard, f'SELECT count(*) FROM {marts.REVENUE}'):,}")
    sold = value(dashboard, f"SELECT sum(net_revenue)::DOUBLE FROM {marts.REVENUE}")
    expect(metric(page, "Net revenue")).to_have_text(f"{sold:,.0f}")
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
    expect(page.get_by_test_id("stException")).to_have_count(0)
    page.screenshot(path=images / "dashboard-table.png", animations="disabled")
    page.set_viewport_size({"width": 390, "height": 844})
    for name in (marts.FOOD, marts.PICK_UPS):
        open_page(page, dashboard, f"tables?table={name}")
        expect(page.get_by_role("heading", name=name)).to_be_visible()
        expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
        expect(page.get_by_test_id("stException")).to_have_count(0)
    page.screenshot(path=images / "dashboard-phone.png", animations="disabled")


MINE = f"""# What prices cost, in $

Asked by *us*.

```sql goods
SELECT DISTINCT category FROM {marts.FOOD} ORDER BY category
```

```filter goods
options = "goods"
all = "All goods"
```

```sql span
SELECT MIN(price_month), MAX(price_month) FROM {marts.FOOD}
```

```filter days
dates = "span"
```

```sql prices
SELECT SUM(prices)::BIGINT AS prices_collected
FROM {marts.FOOD}
WHERE ($goods IS NULL OR category = $goods) AND price_month BETWEEN $days_from AND $days_to
```

```figures
```

```sql
SELECT price_month, SUM(prices)::BIGINT AS prices FROM {marts.FOOD} GROUP BY ALL
```

```table prices
units = {{ gone = "$" }}
```

```sql
SELECT dropped FROM {marts.FOOD}
```
"""


@pytest.fixture
def mine(dashboard: Dashboard) -> Iterator[str]:
    """A page of a team's own and one that is faulty, released; what the first says of a column that isn't there."""
    before = dashboard.publisher.pages
    dashboard.publisher.pages = {**before, "mine": MINE, "wrong": "# Wrong\n\n```chart\n```"}
    dashboard.publish(*marts.ALL)
    yield f"pages/mine.md, line {MINE.splitlines().index('```table prices') + 1}, table prices: the query prices has no"
    dashboard.publisher.pages = before
    dashboard.publish(*marts.ALL)


def test_a_page_of_one_s_own_is_released_and_rolled_back_with_the_data(
    page: Page, dashboard: Dashboard, mine: str, images: Path
) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    open_page(page, dashboard, "mine")
    expect(page.get_by_role("heading", name="What prices cost, in $")).to_be_visible()
    everything = value(dashboard, f"SELECT sum(prices)::BIGINT FROM {marts.FOOD}")
    expect(metric(page, "Prices collected")).to_have_text(f"{everything:,}")
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg").first).to_be_visible()
    expect(page.get_by_text(mine)).to_be_visible()
    expect(page.get_by_text('sql: Referenced column "dropped" not found')).to_be_visible()
    page.screenshot(path=images / "page-phone.png", animations="disabled")
    first = value(dashboard, f"SELECT min(category) FROM {marts.FOOD}")
    some = value(dashboard, f"SELECT sum(prices)::BIGINT FROM {marts.FOOD} WHERE category = '{first}'")
    assert some != everything
    pick(page, "Goods", first)
    expect(metric(page, "Prices collected")).to_have_text(f"{some:,}")
    page.goto(f"{dashboard.url}/wrong")
    expect(page.get_by_text("pages/wrong.md, line 3, chart: no query stands above it")).to_be_visible()
    open_page(page, dashboard, "collisions")  # the others are as they were
    expect(page.get_by_test_id("stException")).to_have_count(0)
    dashboard.served(publishing.rollback(dashboard.publisher.lake, "prod", 1, by="ann").number)
    try:
        page.set_viewport_size({"width": 1400, "height": 900})
        open_page(page, dashboard, "")
        expect(page).to_have_url(f"{dashboard.url}/collisions")
        expect(page.get_by_role("link", name="Food prices")).to_be_visible()
        expect(page.get_by_role("link", name="What prices cost, in $")).to_have_count(0)
    finally:
        publishing.resume(dashboard.publisher.lake, "prod")
