"""Write the staging model of a raw table and its unit test, laid out as the others."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from lakehouse.errors import LakehouseError
from lakehouse_assets.defs.ingestion.sources import RawTable, raw_tables
from lakehouse_assets.defs.transformation.external_models import Columns
from lakehouse_assets.models import project

LOAD_ID = "_dlt_load_id"
ROW_ID = "_dlt_id"
DLT_COLUMNS = {
    ROW_ID: "dlt's number of the row",
    "_dlt_parent_id": "The row of the parent table that it belongs to: its _dlt_id",
    "_dlt_list_idx": "Its place in the list there, the first being 0",
    "_dlt_root_id": "The row of the root table: its _dlt_id",
}
SAMPLES = {
    "BIGINT": "1", "INTEGER": "1", "VARCHAR": "'one'", "BOOLEAN": "true", "DOUBLE": "1.5", "DATE": "2024-01-31",
    "JSON": "'{}'",
}  # fmt: skip
"""Values that a unit test holds as they are, by type; columns of other types are left out of it."""


class NewModelError(LakehouseError):
    """No model could be written; the message says why and what to do."""


def make(table: str, columns: Columns) -> tuple[str, list[Path]]:
    """Write the model and its test; gives the model's name and the files in the project.

    `columns` are the raw tables' as the lake has them. Raises NewModelError: nothing is written.
    """
    name = table if table.startswith("raw.") else f"raw.{table}"
    if name not in columns:
        known = ", ".join(sorted(columns)) or "none: `dagster asset materialize` loads a source"
        raise NewModelError(f"The lake has no table {name}. There are: {known}.")
    raw = next((one for one in raw_tables() if one.full_name == name), None) or RawTable("raw", name[4:], "")
    model = f"stg_{raw.name}"
    folder = project().folder
    sql, test = Path("models", "staging", f"{model}.sql"), Path("tests", f"test_{model}.yaml")
    for path in (sql, test):
        if (folder / path).exists():
            raise NewModelError(f"sqlmesh_project/{path} is there already, and stays as it is.")
    kept = _kept(raw, columns[name])
    grain = [column for column in raw.key if column in kept] or [column for column in (ROW_ID,) if column in kept]
    (folder / sql).write_text(_laid_out(_sql(raw, model, kept, grain)))
    (folder / test).write_text(_test(raw, model, kept, grain))
    return f"staging.{model}", [sql, test]


def _kept(raw: RawTable, columns: Mapping[str, str]) -> dict[str, str]:
    """Columns without those that only dlt needs."""
    is_parent = any(one.name.startswith(f"{raw.name}__") for one in raw_tables())
    is_child = "_dlt_parent_id" in columns
    needless = {LOAD_ID} | ({ROW_ID} if raw.key and not is_parent and not is_child else set())
    return {column: kind for column, kind in columns.items() if column not in needless}


def _sql(raw: RawTable, model: str, columns: Mapping[str, str], grain: Sequence[str]) -> str:
    texts = {column: text for column, _, text in raw.columns if text}
    lines = []
    for column, kind in columns.items():
        text = texts.get(column) or DLT_COLUMNS.get(column, "")
        comment = f" /* {' '.join(text.replace('*/', '* /').split())} */" if text else ""
        lines.append(f"  {_quoted(column)}::{kind} AS {_quoted(column)}{comment}")
    select = ",\n".join(lines)
    names = ", ".join(map(_quoted, grain))
    unique = "unique_values" if len(grain) == 1 else "unique_combination_of_columns"
    audits, held = "number_of_rows(threshold := 0)", ""
    if grain:
        names = names if len(grain) == 1 else f"({names})"
        audits = f"not_null(columns := {names}), {unique}(columns := {names})"
        held = f"grain {names},"
    about = " ".join((raw.description or f"What {raw.source} loads into {raw.full_name}.").replace("*/", "* /").split())
    return (
        f"/* {about} */\nMODEL (name staging.{model}, kind VIEW, owner analytics, tags ({raw.source}), {held} "
        f"audits ({audits}));\n\nSELECT\n{select}\nFROM {raw.full_name.partition('.')[0]}.{_quoted(raw.name)}\n"
    )


def _laid_out(sql: str) -> str:
    """As `sqlmesh format` does."""
    from sqlmesh.core.dialect import format_model_expressions, parse

    return format_model_expressions(parse(sql, default_dialect="duckdb"), "duckdb") + "\n"


def _test(raw: RawTable, model: str, columns: Mapping[str, str], grain: Sequence[str]) -> str:
    """A row with values and one with nothing but its key come through as they are."""
    full = {column: SAMPLES[kind] for column, kind in columns.items() if kind in SAMPLES}
    bare = {
        # SQLMesh (0.236) gives a missing JSON value as the text None, which is none.
        column: value.replace("1", "2").replace("one", "two")
        if column in grain or columns[column] == "JSON"
        else "null"
        for column, value in full.items()
    }
    rows = "".join(
        f"      - {{{', '.join(f'{column}: {value}' for column, value in row.items())}}}\n" for row in (full, bare)
    )
    return (
        f"test_{model}_keeps_values_and_nulls:\n  model: staging.{model}\n  inputs:\n    {raw.full_name}:\n{rows}"
        f"  outputs:\n    partial: true\n    query:\n{rows}"
    )


def _quoted(name: str) -> str:
    """The name, in quotes where DuckDB wants them."""
    words = duckdb.sql("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category != 'unreserved'").fetchall()
    return name if re.fullmatch(r"[a-z_]\w*", name) and (name,) not in words else f'"{name}"'
