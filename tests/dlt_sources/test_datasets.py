"""A dataset is a declaration: whatever is wrong with it is said in a sentence."""

from __future__ import annotations

import contextlib
import tomllib
from pathlib import Path

import pytest

from dlt_sources import datasets
from dlt_sources.landing import dialect
from dlt_sources.landing.declaration import DeclarationError, parse
from dlt_sources.landing.tables import Column

ORDERS = """
entity = "orders"
description = "Orders of the shop. One row per order."
pattern = "orders_*.csv"
event_time = "ordered_at"
key = ["order_id"]

[columns]
order_id = { type = "BIGINT", required = true, description = "Number of the order." }
ordered_at = { type = "TIMESTAMP", aliases = ["time"], description = "When, UTC." }
"""


def test_a_few_lines_declare_a_dataset_its_table_and_its_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "orders.toml").write_text(ORDERS)
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    datasets.dataset.cache_clear()
    assert datasets.dataset_names() == ["orders"]
    orders = datasets.dataset("orders")
    assert orders.columns[1] == Column("ordered_at", "TIMESTAMP", "When, UTC.", ("time",))
    assert orders.table.name == "orders__orders"
    assert orders.when_deleted == "keep_rows"
    source = datasets.orders()
    assert (source.name, list(source.resources)) == ("orders", ["orders__orders"])
    with pytest.raises(datasets.UnknownDatasetError):
        datasets.dataset("shop")
    datasets.dataset.cache_clear()


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("pattern =", "patern =", "patern is not a field: did you mean pattern?"),
        ('entity = "orders"\n', "", "entity is missing"),
        ("BIGINT", "INT", "column order_id: INT is no known type; use DECIMAL(p,s) or one of"),
        ("required =", "requird =", "requird is not a field of column order_id: did you mean required?"),
        ('"ordered_at"', '"moment"', "moment is named but is none of [columns]"),
        ('"orders"', '"my orders"', "'my orders' is no name"),
        ("key =", 'when_deleted = "drop"\nkey =', "drop is not a value of when_deleted: there are keep_rows,"),
        ("key =", 'formats = ["pdf"]\nkey =', "pdf is not a format: there are csv, json,"),
        ('["order_id"]', '"order_id"', "key must be a list of texts"),
        ('"orders_*.csv"', "7", "pattern must be a text"),
    ],
)
def test_what_is_wrong_with_a_declaration_is_said(before: str, after: str, sentence: str) -> None:
    with pytest.raises(DeclarationError) as raised:
        parse("orders", tomllib.loads(ORDERS.replace(before, after, 1)))
    assert str(raised.value).startswith(f"dlt_sources/datasets/orders.toml: {sentence}")


def test_a_file_that_is_no_toml_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken.toml").write_text("entity = orders")
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    with pytest.raises(DeclarationError, match=r"datasets/broken.toml: Invalid value .at line 1"):
        datasets.dataset("broken")


def test_a_file_that_can_be_no_dataset_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orders.toml").write_text(ORDERS)
    (tmp_path / "My-Orders.toml").write_text(ORDERS)
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "gone.toml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "bytes.toml").write_bytes(b'entity = "\xff"')
    monkeypatch.setattr(datasets, "FOLDER", tmp_path)
    datasets.dataset.cache_clear()
    assert datasets.dataset_names() == ["bytes", "folder", "gone", "orders"]
    broken = datasets.broken_declarations()
    assert sorted(broken) == ["My-Orders", "bytes", "folder", "gone"]
    assert broken["My-Orders"].startswith("dlt_sources/datasets/My-Orders.toml is no dataset: its name must be")
    assert "datasets/gone.toml: " in broken["gone"] and datasets.declared_entity("gone") is None
    datasets.dataset.cache_clear()


def test_whatever_a_declaration_holds_its_faults_are_told() -> None:
    declared = tomllib.loads(ORDERS)
    odd = [0, -1, 10**30, True, 1.5, "", "\n", "\0", "x", [], [1], [[]], {}, {"a": 1}, {"a": {}}, "rot13", "mbcs", "%"]
    for field in (*declared, *dialect.FIELDS, "formats", "when_deleted", "name", "dialect"):
        for value in odd:
            with contextlib.suppress(DeclarationError):
                parse("orders", declared | {field: value}).table.dlt_columns()
    for hint in ("type", "description", "required", "aliases", "other"):
        for value in odd:
            columns = declared["columns"] | {"order_id": declared["columns"]["order_id"] | {hint: value}}
            with contextlib.suppress(DeclarationError):
                parse("orders", declared | {"columns": columns}).table.dlt_columns()


def test_all_faults_are_told_at_once() -> None:
    broken = ORDERS.replace("pattern =", "patern =").replace("BIGINT", "INT").replace('["order_id"]', '["number"]')
    broken = broken.replace('aliases = ["time"]', 'aliases = ["Order ID"]')
    with pytest.raises(DeclarationError) as raised:
        parse("orders", tomllib.loads(broken))
    faults = str(raised.value).splitlines()
    for fault, line in zip(
        (
            "patern is not a field",
            "pattern is missing",
            "column order_id: INT is no known type",
            "number is named but is none of [columns]",
            "column ordered_at: Order ID is the column order_id already",
        ),
        faults,
        strict=True,
    ):
        assert fault in line


@pytest.mark.parametrize("kind", ["TINYINT", "SMALLINT", "INTEGER", "TIME", "DECIMAL(38, 10)", "DECIMAL(5,0)"])
def test_the_lakes_types_may_be_declared(kind: str) -> None:
    declared = parse("orders", tomllib.loads(ORDERS.replace("BIGINT", kind)))
    assert declared.columns[0].type == kind.replace(" ", "")
    assert declared.table.dlt_columns()["order_id"]["data_type"] in ("bigint", "time", "decimal")


def test_rows_without_a_time_need_none() -> None:
    assert parse("orders", tomllib.loads(ORDERS.replace('event_time = "ordered_at"', ""))).table.event_time is None
