"""`lakehouse source`: what sources there are, what one holds, what it would bring."""

from __future__ import annotations

import pytest

from tests.sources.conftest import Sources, command

SHOP = '''
    import dlt

    @dlt.resource(primary_key="id", write_disposition="merge", columns={"id": {"data_type": "bigint"}})
    def orders(api_key: str = dlt.secrets.value):
        """One row per order."""
        yield [{"id": n, "amount": n / 4, "note": "[red]", "lines": [{"sku": "a"}]} for n in range(7)]
'''


def test_every_source_is_listed_with_what_is_wrong_with_it_and_shown(team: Sources) -> None:
    team.write("shop", SHOP)
    team.write("broken", "import nowhere_to_be_found")
    rows = [line.strip("│").split("│") for line in command("list").stdout.splitlines() if line.startswith("│")]
    listed = {name.strip(): (tables.strip(), problem.strip()) for name, tables, problem in rows}
    assert (listed["shop"], listed["ecommerce"]) == (("1", ""), ("1", "files"))
    assert "nowhere_to_be_found" in listed["broken"][1]

    shown = command("show", "shop").stdout
    assert "One row per order." in shown.replace("\n", "") and "BIGINT" in shown
    assert "It can't be read now: ModuleNotFoundError" in command("show", "broken").stdout
    unknown = command("show", "shoop")
    assert unknown.exit_code == 2
    assert "No source is named shoop. There are: " in unknown.stderr and "shop" in unknown.stderr


def test_a_source_is_tried_without_the_lake(team: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    team.write("shop", SHOP)
    missing = command("try", "shop")
    assert missing.exit_code == 1
    assert "SOURCES__SHOP__API_KEY" in missing.stderr

    monkeypatch.setenv("SOURCES__SHOP__API_KEY", "PLANTED-1c")
    before = team.lake.newest_snapshot()
    tried = command("try", "shop")
    assert tried.exit_code == 0, tried.output
    for shown in ("raw.shop__orders", "raw.shop__orders__lines", "[red]", "0.25"):
        assert shown in tried.stdout, tried.stdout
    assert "PLANTED" not in tried.output
    assert (team.lake.newest_snapshot(), team.marks()) == (before, [])

    team.write("a_library", "def nothing(): ...")
    for name in ("a_library", "nothing_at_all"):
        none = command("try", name)
        assert (none.exit_code, none.stdout) == (1, "")
        assert f"There is no dlt source or resource in dlt_sources/{name}.py." in none.stderr
