"""A source that changed a type or lost a column is stopped before it writes, until somebody takes the change."""

from __future__ import annotations

import pytest

from lakehouse_assets.defs.ingestion import accepting, drift
from tests.sources.conftest import Sources, command

ROWS = """
    import dlt
    import pyarrow as pa

    rows = {rows}
    orders = dlt.resource(rows, name="orders", primary_key="id", write_disposition="merge")
    arrow = dlt.resource(pa.Table.from_pylist(rows), name="arrow", primary_key="id", write_disposition="merge")
"""
TABLES = ("orders", "arrow")


@pytest.mark.slow
def test_a_changed_type_stops_every_load_until_it_is_the_old_one_again(team: Sources) -> None:
    team.write("shop", ROWS.format(rows=[{"id": 1, "amount": 5}, {"id": 2, "amount": 6}]))
    team.load("shop")
    team.write("shop", ROWS.format(rows=[{"id": 2, "amount": "seven"}, {"id": 3, "amount": "eight"}]))
    before = team.lake.newest_snapshot()
    said = team.failure("shop")
    for table in TABLES:
        assert f"raw.shop__{table}: amount was bigint and is now text, as in 'seven'" in said
    assert (team.lake.newest_snapshot(), team.marks()) == (before, [])
    assert "seven" in team.failure("shop"), "it stays so"
    team.write("shop", ROWS.format(rows=[{"id": 2, "amount": 7}]))
    team.load("shop")
    for table in TABLES:
        assert team.rows(f"SELECT amount FROM raw.shop__{table} ORDER BY id") == [(5,), (7,)]


@pytest.mark.slow
def test_a_column_that_is_gone_stops_the_load_and_one_that_was_often_null_does_not(team: Sources) -> None:
    team.write("shop", ROWS.format(rows=[{"id": 1, "amount": 5, "note": "a"}, {"id": 2, "amount": 6, "note": None}]))
    team.load("shop")
    team.write("shop", ROWS.format(rows=[{"id": 3, "fee": 1, "note": None}]))
    said = team.failure("shop")
    for table in TABLES:
        assert f"raw.shop__{table} has lost the column amount (bigint)" in said
    assert "note" not in said
    assert team.rows("SELECT count(*) FROM raw.shop__orders") == [(2,)]
    for change in ("lost the column amount", "shop__arrow"):
        assert change in command("list").stdout
    accepted = command("accept", "shop").stdout
    assert "accepted: raw.shop__orders has lost the column amount" in accepted and "raw.shop__arrow" in accepted
    team.load("shop")
    assert "No change of shop waits to be accepted." in command("accept", "shop").stdout
    assert team.rows("SELECT id, amount, fee FROM raw.shop__arrow ORDER BY id") == [
        (1, 5, None),
        (2, 6, None),
        (3, None, 1),
    ]
    team.load("shop")


@pytest.mark.slow
def test_a_changed_type_that_is_accepted_keeps_every_value(team: Sources, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drift, "readers", lambda table, column: ["staging.stg_shop"] if column == "amount" else [])
    team.write("shop", ROWS.format(rows=[{"id": 1, "amount": 5}, {"id": 2, "amount": 6}]))
    team.load("shop")
    team.write("shop", ROWS.format(rows=[{"id": 2, "amount": "seven"}, {"id": 3, "amount": "eight"}]))
    assert "as in 'seven'; staging.stg_shop read it" in team.failure("shop")
    accepted = command("accept", "shop").stdout
    assert "raw.shop__arrow: amount was bigint and is now text" in accepted and "lakehouse model external" in accepted
    for table in TABLES:
        assert team.rows(f"SELECT amount FROM raw.shop__{table} ORDER BY id") == [("5",), ("6",)]
    for _ in range(2):
        team.load("shop")
        for table in TABLES:
            assert team.rows(f"SELECT amount FROM raw.shop__{table} ORDER BY id") == [("5",), ("seven",), ("eight",)]
            assert {name for name, *_ in team.rows(f"DESCRIBE raw.shop__{table}")} >= {"id", "amount"}
            assert not [name for name, *_ in team.rows(f"DESCRIBE raw.shop__{table}") if "__v_" in name]
    assert "No change of shop waits" in command("accept", "shop").stdout


@pytest.mark.slow
def test_a_type_in_which_a_value_would_be_lost_is_not_accepted(team: Sources) -> None:
    team.write("shop", ROWS.format(rows=[{"id": 1, "amount": 5.5}]))
    team.load("shop")
    team.write("shop", ROWS.format(rows=[{"id": 1, "amount": True}]))
    team.failure("shop")
    with pytest.raises(drift.DriftError, match="amount can't become bool: the lake has 5.5"):
        accepting.accept(team.lake, "shop", run="a test")
    assert team.rows("SELECT amount FROM raw.shop__orders") == [(5.5,)]
    assert "amount was double and is now bool" in team.failure("shop"), "it stays so"
