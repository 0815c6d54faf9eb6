"""The same as dbt's artifacts `manifest.json` (v12) and `catalog.json` (v1), for tools that read those."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lakehouse_assets.defs.documentation.known import Column, Known, Table

SCHEMAS = "https://schemas.getdbt.com/dbt"
PROJECT = "lakehouse"


def write(known: Known, folder: Path) -> None:
    """Both files into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (("manifest", _manifest(known)), ("catalog", _catalog(known))):
        (folder / f"{name}.json").write_text(json.dumps(content, separators=(",", ":")))


def unique_id(table: Table) -> str:
    """As dbt names it: `source.lakehouse.crm.raw__orders`, `model.lakehouse.marts__days`."""
    name = table.name.replace(".", "__")
    return f"source.{PROJECT}.{table.source}.{name}" if table.is_raw else f"model.{PROJECT}.{name}"


def _metadata(kind: str, version: int) -> dict[str, Any]:
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    schema = f"{SCHEMAS}/{kind}/v{version}.json"
    return {"dbt_schema_version": schema, "dbt_version": "1.10.0", "generated_at": now, "env": {}}


def _manifest(known: Known) -> dict[str, Any]:
    ids = {table.name: unique_id(table) for table in known.tables.values()}
    parents = {
        ids[name]: sorted(ids[up] for up in known.lineage.above.get(name, ()) if up in ids) for name in known.tables
    }
    children: dict[str, list[str]] = {one: [] for one in parents}
    for child, above in parents.items():
        for parent in above:
            children[parent].append(child)
    models = {ids[t.name]: _model(t, parents[ids[t.name]]) for t in known.tables.values() if not t.is_raw}
    raw = {ids[t.name]: _source(t) for t in known.tables.values() if t.is_raw}
    empty = ("macros", "docs", "exposures", "metrics", "groups", "selectors", "disabled", "group_map", "saved_queries",
             "semantic_models", "unit_tests")  # fmt: skip
    about = _metadata("manifest", 12) | {"project_name": PROJECT, "adapter_type": "duckdb"}
    return {
        "metadata": about, "nodes": models, "sources": raw, "parent_map": parents, "child_map": children,
        **{name: {} for name in empty},
    }  # fmt: skip


def _unit(column: Column) -> dict[str, Any]:
    return {"meta": {"unit": column.unit}} if column.unit else {}


def _common(table: Table) -> dict[str, Any]:
    schema, _, name = table.name.rpartition(".")
    columns = {
        c.name: {"name": c.name, "description": c.meaning, "data_type": c.type, **_unit(c)} for c in table.columns
    }
    return {
        "database": "lakehouse", "schema": schema, "name": table.name.replace(".", "__"), "package_name": PROJECT,
        "path": table.path, "original_file_path": table.path, "unique_id": unique_id(table),
        "fqn": [PROJECT, schema, name], "description": table.description, "columns": columns,
        "meta": {"owner": table.owner, "grain": list(table.grain)}, "tags": list(table.tags),
    }  # fmt: skip


def _model(table: Table, above: list[str]) -> dict[str, Any]:
    schema, _, name = table.name.rpartition(".")
    return _common(table) | {
        "resource_type": "model", "alias": name, "relation_name": f'"lakehouse"."{schema}"."{name}"',
        "checksum": {"name": "none", "checksum": ""}, "raw_code": table.written, "compiled_code": table.query,
        "compiled": bool(table.query), "language": "python" if table.path.endswith(".py") else "sql", "refs": [],
        "sources": [], "depends_on": {"nodes": above, "macros": []},
        "config": {"materialized": "view" if table.kind == "view" else "table", "tags": list(table.tags)},
    }  # fmt: skip


def _source(table: Table) -> dict[str, Any]:
    schema, _, name = table.name.rpartition(".")
    return _common(table) | {
        "resource_type": "source", "source_name": table.source, "source_description": "", "loader": "dlt",
        "identifier": name, "relation_name": f'"lakehouse"."{schema}"."{name}"',
    }  # fmt: skip


def _catalog(known: Known) -> dict[str, Any]:
    found: dict[str, dict[str, Any]] = {"nodes": {}, "sources": {}}
    for table in known.tables.values():
        schema, _, name = table.name.rpartition(".")
        columns = {c.name: {"type": c.type, "index": n, "name": c.name} for n, c in enumerate(table.columns, 1)}
        kind = "VIEW" if table.kind == "view" else "BASE TABLE"
        about = {"type": kind, "schema": schema, "name": name, "database": "lakehouse", "owner": table.owner}
        rows = {"id": "rows", "label": "Rows", "value": table.rows[-1][1], "include": True} if table.rows else None
        found["sources" if table.is_raw else "nodes"][unique_id(table)] = {
            "metadata": about, "columns": columns, "unique_id": unique_id(table),
            "stats": {"rows": rows} if rows else {},
        }  # fmt: skip
    return {"metadata": _metadata("catalog", 1), **found, "errors": None}
