"""A difference between environments for people: Rich tables in a terminal, Markdown on a Dagster page, JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lakehouse.cli.tables import plain
from lakehouse.lake.differences import TableDifference
from lakehouse_assets.defs.environments.diffing import EnvironmentDifference, ModelDifference
from lakehouse_assets.sqlmesh_integration import markdown

Rows = Sequence[Sequence[object]]


def as_json(found: EnvironmentDifference) -> str:
    """The whole difference as one object."""
    return json.dumps(asdict(found), default=plain, ensure_ascii=False, indent=2)


def as_rich(found: EnvironmentDifference) -> Iterator[RenderableType]:
    """The models as one table, then what differs in each."""
    if found.models:
        overview = Table(*overview_columns(found))
        for column in overview.columns[1:]:
            column.justify = "right"
        overview.columns[0].overflow = "fold"
        for row in overview_rows(found):
            overview.add_row(*(escape(str(value)) for value in row))
        yield overview
    yield Text(_closing(found), style="dim")
    for model in found.models:
        for title, columns, rows in details(found, model):
            yield ""
            yield Text(title, style="bold")
            if columns:
                table = Table(*(escape(column) for column in columns))
                for column in table.columns:
                    column.overflow = "fold"
                for row in rows:
                    table.add_row(*("[dim]NULL[/dim]" if value is None else escape(str(value)) for value in row))
                yield table


def as_markdown(found: EnvironmentDifference) -> str:
    """The same for a Dagster page."""
    parts = [f"**`{found.left}` → `{found.right}`**"]
    if found.models:
        parts.append(markdown.table(overview_columns(found), overview_rows(found)))
    parts.append(_closing(found))
    for model in found.models:
        for title, columns, rows in details(found, model):
            parts.append(f"**{title}**")
            if columns:
                parts.append(markdown.table(columns, rows))
    return "\n\n".join(parts)


def overview_columns(found: EnvironmentDifference) -> list[str]:
    return ["model", "matched", "changed", f"only {found.left}", f"only {found.right}", "columns"]


def overview_rows(found: EnvironmentDifference) -> Rows:
    rows: list[list[object]] = []
    for model in found.models:
        one = model.difference
        if one is None:
            rows.append([model.model, *["—"] * 4, f"model only in {model.only_in}"])
            continue
        counts = [one.matched, one.changed, one.only_left, one.only_right]
        rows.append([model.model, *("—" if count is None else f"{count:,}" for count in counts), _schema(one)])
    return rows


def _schema(one: TableDifference) -> str:
    counts = {"+": one.columns_added, "-": one.columns_removed, "~": one.columns_retyped}
    return " ".join(f"{sign}{len(names)}" for sign, names in counts.items() if names) or "same"


def _closing(found: EnvironmentDifference) -> str:
    shared = len(found.shared)
    one_table = "1 model comes from the same table" if shared == 1 else f"{shared} models come from the same tables"
    ignored = sorted({name for model in found.models if model.difference for name in model.difference.ignored})
    without = f"; not compared: {', '.join(ignored)}" if ignored else ""
    return f"{one_table} in both{without}; at snapshot {found.snapshot} of the lake"


def details(
    found: EnvironmentDifference, model: ModelDifference
) -> Iterator[tuple[str, Sequence[str], Rows]]:  # fmt: skip
    one = model.difference
    if one is None:
        return
    if one.note:
        yield f"{model.model}: {one.note}", (), ()
    if schema := list(_schema_rows(one)):
        yield f"{model.model}: columns", ("column", found.left, found.right), schema
    below = [[name, f"{percent:.2f} %"] for name, percent in one.column_match_percent.items() if percent < 100]
    if below:
        equal = len(one.column_match_percent) - len(below)
        also = f"; the other {equal} match in every row" if equal else ""
        yield f"{model.model}: of the rows in both, by {', '.join(one.key)}{also}", ("column", "match"), below
    if one.changed_sample:
        rows = [
            [", ".join(f"{value}" for value in row.key.values()), name, before, after]
            for row in one.changed_sample
            for name, (before, after) in row.columns.items()
        ]
        yield f"{model.model}: changed", (", ".join(one.key), "column", found.left, found.right), rows
    for where, records in ((found.left, one.only_left_sample), (found.right, one.only_right_sample)):
        if records:
            yield f"{model.model}: only in {where}", list(records[0]), [_values(record) for record in records]


def _schema_rows(one: TableDifference) -> Iterator[Sequence[object]]:
    yield from ([name, "—", kind] for name, kind in one.columns_added.items())
    yield from ([name, kind, "—"] for name, kind in one.columns_removed.items())
    yield from ([name, before, after] for name, (before, after) in one.columns_retyped.items())


def _values(record: Mapping[str, Any]) -> list[object]:
    return list(record.values())
