"""The documentation site: every link leads somewhere, nothing comes from elsewhere, nothing hidden is shown."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lakehouse.releases.manifest import Manifest as Published
from lakehouse.releases.manifest import PublishedFile, PublishedTable
from lakehouse_assets.defs.documentation.known import RAW, Check, Column, Known, Table, hide
from lakehouse_assets.defs.documentation.lineage import Lineage, picture
from lakehouse_assets.defs.documentation.pages import pages
from lakehouse_assets.defs.documentation.site import build_site
from lakehouse_assets.defs.ingestion.sources import RawTable, Source
from lakehouse_assets.sqlmesh_integration.manifest import Manifest
from tests.lakehouse_assets.test_describing import model

ROWS = tuple((f"2026-11-{day:02d}T00:00:00", 10 * day) for day in range(1, 6))
COLUMNS = (("day", "DATE", "The day"), ("owner_mail", "TEXT", ""))
DAYS = PublishedTable(
    "marts.days", "c", "x", COLUMNS, (PublishedFile("f.parquet", 5, 9),), as_of="2026-11-28T04:00:00Z"
)  # fmt: skip


def release(number: int, *tables: PublishedTable) -> Published:
    return Published("prod", number, 9, "v1", "run 1", "ann", "2026-11-28T04:00:00Z", ("marts.days <new>",), tables)


def known() -> Known:
    """A source's field through a raw table into a mart that is released."""
    columns = [("day", "DATE", ""), ("mail", "TEXT", "")]
    raw = RawTable("crm", "crm__orders", "Orders.", columns, fields={"day": ["Day"]})
    lineage = Lineage()
    lineage.add("raw.crm__orders", {"day": [("source.crm", "Day")]}, ["source.crm"])
    lineage.add("marts.days", {"day": [("raw.crm__orders", "day")], "owner_mail": [("raw.crm__orders", "mail")]})
    lineage.add("file.marts.days", {"day": [("marts.days", "day")]})
    mail = Column("owner_mail", "TEXT", "", is_hidden=True)
    checks = (Check("not_null", "not_null(columns := (day))", True, "failed", "2026-11-28T04:00:00Z"),)
    days = Table(
        "marts.days", "full", "crm", "Sales <script>alert(1)</script>. One row per day.", "ann", ("day",),
        (Column.of("day", "DATE", "When it was bought [UTC]", is_key=True), mail), checks, path="models/days.sql",
        written="SELECT a < b", query="SELECT 1", rows=ROWS, published=DAYS, sampled=("day",),
        sample=(("2026-11-01",),),
    )  # fmt: skip
    orders = Table("raw.crm__orders", RAW, "crm", "Orders.", source="crm", columns=(Column("day", "DATE", ""),
                   Column("mail", "TEXT", "")))  # fmt: skip
    found = [release(2, DAYS), release(1)]
    return Known(
        "prod", found[0], {"raw.crm__orders": orders, "marts.days": days}, lineage, [Source("crm", [raw])], found,
        {"prod": "release 2"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs") / "site"
    assert build_site(known(), folder) == len(list(folder.rglob("*.html"))) - 1  # and one for what is not found
    return folder


class Found(HTMLParser):
    """The addresses that a page names, and its anchors."""

    def __init__(self, path: Path):
        super().__init__()
        self.addresses: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values["id"]} if "id" in values else set()
        self.addresses += [values[name] for name in ("href", "src") if name in values]
        self.loaded += [values[name] for name in ("href", "src") if name in values and tag in ("link", "script", "img")]


def test_every_link_leads_to_a_page_and_a_place_on_it(site: Path) -> None:
    seen = {path.resolve(): Found(path) for path in site.rglob("*.html") if path.name != "404.html"}
    assert len(seen) > 10
    for path, page in seen.items():
        for address in page.addresses:
            if address.startswith(("http", "javascript:", "data:")):
                continue
            name, _, anchor = address.partition("#")
            target = (path.parent / name).resolve() if name else path
            assert target.exists(), f"{path.name} links to {address}"
            if target in seen and anchor:
                assert anchor in seen[target].ids, f"{path.name} links to {address}"


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        assert not [one for one in Found(path).loaded if one.startswith(("http", "//"))], path.name
    styles = "".join(path.read_text() for path in site.rglob("*.css"))
    assert not re.findall(r"url\((?!\"?data:)[^)]*http|@import", styles)


def test_what_others_wrote_is_text_and_what_is_hidden_is_not_sampled(site: Path) -> None:
    page = (site / "tables" / "marts.days.html").read_text()
    assert "<b>SELECT </b>a &lt; b" in page
    assert "<td>When it was bought</td><td>UTC</td>" in page and '<th scope="col">unit</th>' in page
    assert '<th scope="col">unit</th>' not in (site / "tables" / "raw.crm__orders.html").read_text(), "it has none"
    assert "<script>alert(1)" not in page and "&lt;script&gt;alert(1)" in page
    assert "Not shown: owner_mail." in page and '<th scope="col">owner_mail</th>' not in page
    assert "marts.days: new" in (site / "releases" / "2.html").read_text()
    assert "10 on 2026-11-01, 50 on 2026-11-05" in page and "readers of the releases" in page


def test_search_knows_names_columns_and_meanings(site: Path) -> None:
    text = (site / "search" / "search_index.js").read_text()
    index = json.loads(text.removeprefix("var __index = "))["docs"]
    found = {entry["location"]: entry for entry in index}
    assert "When it was bought" in found["tables/marts.days.html#col-day"]["text"]
    assert "tables/raw.crm__orders.html" in found and "sources/crm.html" in found


def test_a_column_is_hidden_by_its_tag_and_where_it_is_computed_from_such_a_one() -> None:
    lineage = Lineage()
    lineage.add("marts.mails", {"address": [("staging.people", "Mail")], "n": [("staging.people", "id")]})
    tables = {
        name: Table(name, "full", "crm", "", columns=tuple(Column(one, "TEXT", "") for one in columns))
        for name, columns in {"staging.people": ("Mail", "id"), "marts.mails": ("address", "n")}.items()
    }
    people = model("staging.people", hidden=("mail",))
    hidden = hide(tables, Manifest("key", (people, model("marts.mails"))), lineage)
    assert [(t.name, c.name) for t in hidden.values() for c in t.columns if c.is_hidden] == [
        ("staging.people", "Mail"), ("marts.mails", "address")
    ]  # fmt: skip


def test_a_lake_with_nothing_released_has_a_site_too() -> None:
    assert {page.path for page in pages(Known("prod", None, {}, Lineage()))} >= {"index", "lineage", "releases"}


def test_a_circle_in_the_lineage_is_drawn() -> None:
    lineage = Lineage()
    lineage.add("a.a", {}, ["b.b"])
    lineage.add("b.b", {}, ["a.a"])
    assert picture(lineage, lineage.around("a.a"), {}).count("<rect") == 2


def test_dbts_files_name_parents_and_columns(site: Path) -> None:
    manifest, catalog = (json.loads((site / "dbt" / f"{name}.json").read_text()) for name in ("manifest", "catalog"))
    assert manifest["parent_map"]["model.lakehouse.marts__days"] == ["source.lakehouse.crm.raw__crm__orders"]
    assert manifest["nodes"]["model.lakehouse.marts__days"]["columns"]["day"]["description"] == "When it was bought"
    assert catalog["sources"]["source.lakehouse.crm.raw__crm__orders"]["columns"]["mail"]["type"] == "TEXT"


def test_what_pages_share_is_in_files_of_its_own(site: Path) -> None:
    """Or 500 models take a third more room; and search is there once."""
    page = (site / "tables" / "marts.days.html").read_text()
    assert "xmlns" not in page and '"translations"' not in page and "var palette" not in page
    shared = {name: (site / "assets" / name).read_text() for name in ("icons.css", "config.js", "palette.js")}
    assert shared["icons.css"].count("svg.icon-") > 5 and "translations" in shared["config.js"]
    assert shared["palette.js"].startswith("var palette")
    assert [path.name for path in (site / "search").iterdir()] == ["search_index.js"]
