"""What somebody sees who opens the web UI after `make demo` and `make up`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.graph_page import GraphPage
from tests.lakehouse_instance import LakehouseInstance
from tests.running_services import RunningServices, until

pytestmark = pytest.mark.slow

MART = "marts/top_pickup_locations"
Graph = dict[str, set[str]]


@pytest.fixture
def nodes(demo_services: RunningServices) -> list[Any]:
    """Every asset as the webserver knows it."""
    query = "{assetNodes {assetKey {path} groupName description dependencyKeys {path}}}"
    found: list[Any] = demo_services.graphql(query)["assetNodes"]
    return found


def graph_of(nodes: list[Any]) -> Graph:
    """Each asset with what it depends on."""
    return {
        "/".join(node["assetKey"]["path"]): {"/".join(key["path"]) for key in node["dependencyKeys"]} for node in nodes
    }


def connected_with(start: str, graph: Graph) -> set[str]:
    """Everything that edges lead to, in either direction."""
    seen, ahead = {start}, [start]
    while ahead:
        here = ahead.pop()
        beside = graph[here] | {key for key, upstream in graph.items() if here in upstream}
        ahead += beside - seen
        seen |= beside
    return seen


def test_every_asset_is_in_one_graph(nodes: list[Any]) -> None:
    graph = graph_of(nodes)
    assert len(graph) >= 20
    dangling = {key for upstream in graph.values() for key in upstream} - set(graph)
    assert dangling == set(), "assets that others depend on and nobody makes"
    data = {key for key in graph if not key.startswith("maintenance/")}
    assert data - connected_with(MART, graph) == set()


def test_every_asset_says_what_it_holds(nodes: list[Any]) -> None:
    assert ["/".join(node["assetKey"]["path"]) for node in nodes if not node["description"]] == []


def test_the_graph_page_draws_every_asset(
    page: Page, demo_services: RunningServices, nodes: list[Any], images: Path, request: pytest.FixtureRequest
) -> None:
    graph_page = GraphPage(page, demo_services.url, sorted({node["groupName"] for node in nodes}))
    if request.config.getoption("--screenshots"):
        graph_page.screenshot(images / "asset_graph.png")
    graph_page.show_whole()
    # A node has room for a short name; of a long one it shows the beginning and the end.
    for node in nodes:
        name = node["assetKey"]["path"][-1]
        expect(page.get_by_text(re.compile(f"^{shortened(name)}$")).first).to_be_visible()


def shortened(name: str) -> str:
    """A pattern for a name as the graph shows it."""
    return re.escape(name) if len(name) < 16 else f"{re.escape(name[:5])}.*{re.escape(name[-4:])}"


def test_an_asset_page_shows_description_columns_and_row_count(
    page: Page, demo_lakehouse: LakehouseInstance, demo_services: RunningServices, images: Path
) -> None:
    page.goto(f"{demo_services.url}/assets/{MART}")
    expect(page.get_by_text("The 200 taxi zones with the most pick-ups")).to_be_visible()
    for column, meaning in {"pickup_location_id": "Taxi zone", "total_amount_usd": "US dollars"}.items():
        row = page.get_by_role("row").filter(has_text=column).filter(has_text=meaning).first
        expect(row).to_be_visible()
    rows = demo_lakehouse.value("SELECT COUNT(*) FROM marts.top_pickup_locations")
    expect(page.get_by_text("Row count").locator("xpath=../..").get_by_text(str(rows), exact=True)).to_be_visible()
    page.get_by_text("Hide navigation").click()
    page.screenshot(path=images / "asset_page.png")


@pytest.mark.proof  # a backfill is started by a click each time
def test_a_click_on_materialize_computes_the_mart_anew(
    page: Page, demo_lakehouse: LakehouseInstance, demo_services: RunningServices
) -> None:
    stamp = "SELECT MIN(computed_at) FROM marts.top_pickup_locations"
    before = demo_lakehouse.value(stamp)
    page.goto(f"{demo_services.url}/assets/{MART}")
    page.get_by_role("button", name=re.compile("Materialize$")).click()
    expect(page.get_by_text("Launched run")).to_be_visible()
    until(
        lambda: demo_lakehouse.value(stamp) > before and not demo_services.unfinished_runs(),
        180, lambda: f"The click computed nothing; unfinished runs: {demo_services.unfinished_runs()}",
    )  # fmt: skip
