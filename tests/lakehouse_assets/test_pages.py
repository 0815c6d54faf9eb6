"""Pages are read as they are, and checked against the columns of the checked-out models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from lakehouse.dashboard.page_files import LONGEST
from lakehouse_assets.defs.releases import pages
from lakehouse_assets.sqlmesh_integration.manifest import ColumnSpec, Manifest
from tests.lakehouse_assets.test_describing import model

DAYS = model(
    "marts.days",
    tags=("published",),
    columns=(ColumnSpec("day", "DATE"), ColumnSpec("shop", "TEXT"), ColumnSpec("sold", "DECIMAL(18, 2)")),
)
FILTERS = """```filter period
options = ["day", "week"]
```
```sql shops
SELECT DISTINCT shop FROM marts.days
```
```filter shop
options = "shops"
all = "All"
```
```filter most
min = 1
max = 9
```
```filter days
dates = "shops"
```
```sql
SELECT DATE_TRUNC($period, day) AS begins, SUM(sold) AS sold
FROM marts.days
WHERE ($shop IS NULL OR shop = $shop) AND day BETWEEN $days_from AND $days_to
GROUP BY ALL
LIMIT $most
```
```chart
x = "begins"
y = "sold"
```
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a project with a published model of known types, one of unknown ones, one that is not published."""
    unknown = replace(DAYS, ref=replace(DAYS.ref, table="loose"), columns=(ColumnSpec("sold", "UNKNOWN"),))
    manifest = Manifest("key", (DAYS, unknown, replace(DAYS, ref=replace(DAYS.ref, table="hidden"), tags=())))
    monkeypatch.setattr(pages, "project", lambda: SimpleNamespace(folder=tmp_path, manifest=lambda: manifest))
    (tmp_path / "pages").mkdir()
    return tmp_path / "pages"


@pytest.mark.parametrize(("text", "faults"), [
    (FILTERS, []),
    ("```sql\nSELECT SUM(sold) AS s FROM marts.loose\n```\n```chart\ny = \"gone\"\n```", []),  # can't be said
    ("```sql\nSELECT table_name FROM information_schema.tables\n```", []),
    (FILTERS.replace("SUM(sold)", "SUM(amount)"),
     ["line 18, sql: Referenced column \"amount\" not found in FROM clause!"]),
    (FILTERS.replace('y = "sold"', 'y = "sum"'), ["line 25, chart: its query has no column sum: name one of begins"]),
    ("\n```sql all\nSELECT *\nFROM marts.hidden\n```\n```table all\n```",
     ["line 4, sql all: There is no table marts.hidden. Did you mean marts.days?"]),
    ("```sql\nSELECT * FROM read_csv('/etc/passwd')\n```", ["line 2, sql: "]),
    ("```sql\nDROP TABLE marts.days\n```", ["line 1, sql: "]),
    ("```chart\n```", ["line 1, chart: no query stands above it"]),
])  # fmt: skip
def test_what_a_page_names_is_there(folder: Path, text: str, faults: list[str]) -> None:
    (folder / "sales.md").write_text(text)
    found = pages.faults()
    assert len(found) == len(faults)
    for fault, wanted in zip(found, faults, strict=True):
        assert fault.startswith(f"pages/sales.md, {wanted}")


def test_any_file_is_read_and_none_stops_a_deploy(folder: Path) -> None:
    (folder / "odd.md").write_bytes(b"\xff\x00 text")
    (folder / "Long name.md").write_text("a" * (LONGEST + 10))
    assert pages.checked_out() == {"odd": "\ufffd\ufffd text", "Long name": "a" * (LONGEST + 1)}
    assert [fault.split(", ")[2][:12] for fault in pages.faults()] == ["file: Long n", "text: it is "]
