"""The declared tables exist, empty, before any load, exactly as loads then leave them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dlt_sources import datasets
from dlt_sources.landing.tables import Column, Table, create_tables
from tests.dlt_sources.loading import Landing, Loader

SOURCES: dict[str, tuple[Callable[[], Any], Table]] = {
    name: (getattr(datasets, name), datasets.dataset(name).table) for name in datasets.dataset_names()
}
COLUMNS = (
    "SELECT column_name, replace(data_type, 'TIMESTAMP WITH TIME ZONE', 'TIMESTAMPTZ') FROM information_schema.columns"
    " WHERE table_schema = 'raw' AND table_name = '{}' ORDER BY ordinal_position"
)


@pytest.mark.slow
def test_every_declared_table_is_made_empty_with_its_columns_in_order(loader: Loader) -> None:
    for name, (source, table) in SOURCES.items():
        assert create_tables(loader.pipeline(name), source()) == [table.name]
        assert loader.rows(COLUMNS.format(table.name)) == [(column.name, column.type) for column in table.columns]
        assert loader.value(f"SELECT count(*) FROM raw.{table.name}") == 0
        assert create_tables(loader.pipeline(name), source()) == [], "a second time changes nothing"


@pytest.mark.slow
def test_a_load_into_a_declared_table_adds_no_column(loader: Loader, landing: Callable[[str], Landing]) -> None:
    source, table = SOURCES["ecommerce"]
    create_tables(loader.pipeline("ecommerce"), source())
    content = "event_id,event_type,event_timestamp,revenue\n1,purchase,2024-01-01,1.00\n"
    loader.load_files(datasets.ecommerce, [landing("ecommerce").write("events.csv", content)])
    assert loader.rows(COLUMNS.format(table.name)) == [(column.name, column.type) for column in table.columns]
    assert loader.value(f"SELECT count(*) FROM raw.{table.name}") == 1


@pytest.mark.parametrize("table", [table for _, table in SOURCES.values()], ids=SOURCES)
def test_everything_declared_is_described_and_the_event_time_is_a_column(table: Table) -> None:
    assert table.description
    assert all(column.description for column in table.columns)
    assert {table.event_time, *table.key} - {None} <= {column.name for column in table.columns}


def test_a_type_that_nobody_knows_is_named() -> None:
    with pytest.raises(ValueError, match=r"column colour: ENUM is no known type; use DECIMAL"):
        Column("colour", "ENUM", "A colour.").dlt_hints()
