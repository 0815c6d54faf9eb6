"""A release in a folder, made without a lake: what the guard, the catalog and the formats are tried on in process."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import duckdb

from lakehouse.lake.extensions import extension_directory
from lakehouse.query.engine.calls import RELEASE, Call, Config
from lakehouse.query.engine.sessions import Releases

SERVED = ["marts.days", "marts.own"]


def open_release(folder: Path, *more: str) -> tuple[Releases, Call]:
    """Two tables, one with columns that are named as DuckLake's made-up ones; and what `more` statements make."""
    config = Config(str(extension_directory(folder / "cache")), 1, 512 << 20)
    place = folder / "published" / "prod"
    place.mkdir(parents=True)
    with closing(duckdb.connect(config={"extension_directory": config.extension_directory})) as connection:
        connection.execute("LOAD ducklake")
        connection.execute(f"ATTACH 'ducklake:{place}/catalog.ducklake' AS frozen (DATA_PATH '{place}/data/')")
        connection.execute("CREATE SCHEMA frozen.marts")
        connection.execute(
            "CREATE TABLE frozen.marts.days AS "
            "SELECT DATE '2024-01-01' + (i % 100)::INT AS day, i FROM range(5000) t(i)"
        )
        connection.execute(
            "CREATE TABLE frozen.marts.own AS SELECT 'mine' AS filename, 7 AS file_row_number, 3 AS snapshot_id, "
            "4 AS file_index, 5 AS rowid"
        )
        connection.execute("COMMENT ON TABLE frozen.marts.days IS 'Numbers by day.'")
        connection.execute("COMMENT ON COLUMN frozen.marts.days.i IS 'A number.'")
        for statement in more:
            connection.execute(statement)
    attach = f"ATTACH 'ducklake:{place}/catalog.ducklake' AS {RELEASE} (READ_ONLY)"
    return Releases(config), Call("1", "", attach, f"{place}/", SERVED, "", 0, 0, {}, {})
