"""A DuckDB that is locked down reads one folder, whichever of its cursors is asked."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from lakehouse.lake.connections import lock_down


def test_it_and_its_cursors_read_one_folder_and_nothing_can_change_that(tmp_path: Path) -> None:
    for name in ("in'side", "outside"):
        (tmp_path / name).mkdir()
        duckdb.sql("SELECT 42 AS answer").write_parquet(str(tmp_path / name / "a.parquet"))
    frame = duckdb.sql("SELECT 'a Python object'").arrow()  # what DuckDB finds by its name in our own variables
    with duckdb.connect() as connection:
        lock_down(connection, f"{tmp_path}/in'side/")
        for session in (connection, connection.cursor()):
            inside = str(tmp_path / "in'side" / "a.parquet").replace("'", "''")
            assert session.execute(f"FROM '{inside}'").fetchall() == [(42,)]
            for refused in (f"FROM '{tmp_path}/outside/a.parquet'", "FROM frame", "SET enable_external_access = true"):
                with pytest.raises(duckdb.Error):
                    session.execute(refused)
    assert frame is not None
