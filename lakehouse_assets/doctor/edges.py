"""Models that lose rows at the edge of the range they compute, found in their SQL without loading the project.

SQLMesh's range is inclusive on both sides: `@end_ds` is the last day, `@end_ts` its last microsecond. What is flagged
was run with SQLMesh (tests/lakehouse_assets/test_doctor_edges.py): it lost rows, and what is not flagged lost none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlmesh.core.dialect import MacroVar, Model, parse

from lakehouse.settings import PROJECT_ROOT
from lakehouse.upkeep.doctor.examination import Examination
from lakehouse.upkeep.doctor.findings import Finding, Seen, warning, wrong

PROJECT = "sqlmesh_project"
DAYS, INSTANTS = ("ds", "date"), ("ts", "dt", "tstz")
Types = dict[str, dict[str, str]]
"""`schema.table` -> column -> "date" or "timestamp"."""
MIRRORED = {exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE}


@dataclass(frozen=True)
class Edge:
    """A comparison that loses rows."""

    text: str
    lost: str
    instead: str
    line: int | None


def edges(_: Examination) -> Seen:
    """No model drops rows at the first or the last day."""
    folder = PROJECT_ROOT / PROJECT
    files = sorted((folder / "models").rglob("*.sql"))
    trees: dict[Path, list[exp.Expr]] = {}
    findings: list[Finding] = []
    for file in files:
        try:
            trees[file] = parse(file.read_text(), default_dialect="duckdb")
        except (SqlglotError, OSError, UnicodeDecodeError) as error:
            findings.append(
                warning(
                    f"{file.name} can't be read: {str(error).splitlines()[0]}",
                    where=str(file.relative_to(PROJECT_ROOT)),
                    why="The code location can't show it, and it can't be deployed.",
                    do="lakehouse lint-models",
                )
            )
    types = {**_external_types(folder), **{name: found for tree in trees.values() for name, found in _types(tree)}}
    for file, tree in trees.items():
        for edge in lossy(tree, types):
            findings.append(
                wrong(
                    f"{file.stem} drops {edge.lost}: {edge.text}",
                    where=str(file.relative_to(PROJECT_ROOT)) + (f", line {edge.line}" if edge.line else ""),
                    why="SQLMesh's range is inclusive: @end_ds is the last day itself, @end_ts its last "
                    "microsecond. The "
                    "rows are missing in every range that is computed, with green audits.",
                    do=f"Write {edge.instead}; then lakehouse deploy, which computes it again.",
                )
            )
    return Seen(f"{len(files)} SQL models keep the rows at the edges of their range", tuple(findings))


def lossy(tree: list[exp.Expr], types: Types) -> Iterator[Edge]:
    """The comparisons of a model's SQL that lose rows."""
    for statement in tree:
        if isinstance(statement, Model):
            continue
        for between in statement.find_all(exp.Between):
            kind = _kind(between.this, types)
            low, high = _macro(between.args["low"]), _macro(between.args["high"])
            if high and high[0] == "end" and high[1] in DAYS and kind == "timestamp":
                start = f"@start_{_instant(low)}" if low else between.args["low"].sql("duckdb")
                yield _edge(
                    between,
                    between.this,
                    "the last day but its midnight",
                    f"{_text(between.this)} BETWEEN {start} AND @end_ts",
                )
        for node in statement.find_all(*MIRRORED):
            column, macro, operator = node.this, _macro(node.expression), type(node)
            if macro is None and (macro := _macro(node.this)):
                column, operator = node.expression, MIRRORED[type(node)]
            if macro:
                yield from _compared(node, column, macro, operator, _kind(column, types))


def _compared(node: exp.Expr, column: exp.Expr, macro: tuple[str, str], operator: type, kind: str) -> Iterator[Edge]:
    side, unit = macro
    text = _text(column)
    if side == "end" and operator is exp.LT and unit in DAYS:
        instead = f"{text} <= @end_ds" if kind == "date" else f"{text} <= @end_ts"
        yield _edge(node, column, "the last day", instead)
    elif side == "end" and operator is exp.LTE and unit in DAYS and kind == "timestamp":
        yield _edge(node, column, "the last day but its midnight", f"{text} <= @end_ts")
    elif side == "end" and operator is exp.LT and unit in INSTANTS and (kind == "timestamp" or unit == "ts"):
        # A text, which becomes a day where it is compared with one.
        lost = "the last day" if kind == "date" else "the last microsecond"
        yield _edge(node, column, lost, f"{text} <= @end_{unit}")
    elif side == "start" and operator is exp.GT:
        lost = "the first day" if kind == "date" else "the first midnight"
        yield _edge(node, column, lost, f"{text} >= @start_{unit}")


def _edge(node: exp.Expr, column: exp.Expr, lost: str, instead: str) -> Edge:
    named = next(iter(column.find_all(exp.Identifier)), None)
    line = named.meta.get("line") if named is not None else None
    return Edge(_text(node), lost, instead, line)


def _text(node: exp.Expr) -> str:
    return node.sql("duckdb", comments=False)


def _instant(macro: tuple[str, str]) -> str:
    return "ts" if macro[1] in DAYS else macro[1]


def _macro(node: exp.Expr) -> tuple[str, str] | None:
    """(start or end, unit) of `@end_ds`, in parentheses or cast; None for anything computed from one."""
    casts = set()
    while isinstance(node, exp.Paren | exp.Cast):
        if isinstance(node, exp.Cast):
            casts.add(_named(node.to))
        node = node.this
    side, _, unit = (node.name if isinstance(node, MacroVar) else "").lower().partition("_")
    if side not in ("start", "end") or unit not in DAYS + INSTANTS:
        return None
    if unit in INSTANTS and casts:
        unit = "ds" if "date" in casts else "dt"
    return side, unit


def _kind(node: exp.Expr, types: Types) -> str:
    """Whether it holds days or instants: "date", "timestamp", or nothing when that can't be told."""
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.Cast):
        return _named(node.to)
    if not isinstance(node, exp.Column):
        return ""
    select = node.find_ancestor(exp.Select)
    if select is None:
        return ""
    sources = [select.args.get("from_"), *select.args.get("joins", [])]
    tables = [one.this for one in sources if one is not None and isinstance(one.this, exp.Table)]
    known = {
        types.get(f"{table.db}.{table.name}".lower(), {}).get(node.name.lower(), "")
        for table in tables
        if not node.table or node.table.lower() == table.alias_or_name.lower()
    }
    known.discard("")
    return known.pop() if len(known) == 1 else ""


def _named(kind: exp.DataType) -> str:
    if kind.this is exp.DataType.Type.DATE:
        return "date"
    return "timestamp" if kind.this in exp.DataType.TEMPORAL_TYPES else ""


def _types(tree: list[exp.Expr]) -> Iterator[tuple[str, dict[str, str]]]:
    """The columns of a model whose last SELECT casts them, or that its MODEL block declares."""
    model = next((one for one in tree if isinstance(one, Model)), None)
    if model is None:
        return
    properties = {one.name.lower(): one.args.get("value") for one in model.expressions}
    name = properties.get("name")
    if not isinstance(name, exp.Table):
        return
    found: dict[str, str] = {}
    query = next((one for one in reversed(tree) if isinstance(one, exp.Query)), None)
    for projection in query.selects if query is not None else []:
        inner = projection.this if isinstance(projection, exp.Alias) else projection
        if isinstance(inner, exp.Cast):
            found[projection.alias_or_name.lower()] = _named(inner.to)
    declared = properties.get("columns")
    if isinstance(declared, exp.Schema):
        found |= {
            one.name.lower(): _named(one.kind) for one in declared.expressions if isinstance(one.kind, exp.DataType)
        }
    yield f"{name.db}.{name.name}".lower(), found


def _external_types(folder: Path) -> Types:
    """What external_models.yaml says of the raw tables."""
    file = folder / "external_models.yaml"
    if not file.exists():
        return {}
    try:
        entries = yaml.safe_load(file.read_text()) or []
    except yaml.YAMLError:
        return {}
    found: Types = {}
    for entry in entries:
        table = exp.to_table(str(entry.get("name", "")), dialect="duckdb")
        columns = entry.get("columns") or {}
        found[f"{table.db}.{table.name}".lower()] = {
            str(name).lower(): _named(exp.DataType.build(str(kind), dialect="duckdb")) for name, kind in columns.items()
        }
    return found
