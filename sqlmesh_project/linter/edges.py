"""Comparisons with the range of an interval that lose rows at its first or last day.

SQLMesh's range is inclusive on both sides: `@end_ds` is the last day, `@end_ts` its last microsecond. What is flagged
was run with SQLMesh (tests/sqlmesh_project/test_edges.py): it lost rows, and what is not flagged lost none.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp
from sqlmesh.core.dialect import MacroVar
from sqlmesh.core.linter.rule import Position, Range, Rule, RuleViolation
from sqlmesh.core.model import Model, SqlModel

DAYS, INSTANTS = ("ds", "date"), ("ts", "dt", "tstz")
MIRRORED = {exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE}


class NoRowLostAtAnEdge(Rule):
    """A model keeps the rows of its first and its last day."""

    def check_model(self, model: Model) -> list[RuleViolation] | None:
        """Every comparison that loses some."""
        if not isinstance(model, SqlModel) or not isinstance(model.query, exp.Query):
            return None
        return [*self._betweens(model.query), *self._comparisons(model.query)] or None

    def _betweens(self, query: exp.Query) -> Iterator[RuleViolation]:
        for between in query.find_all(exp.Between):
            column, low = between.this, _macro(between.args["low"])
            _, unit = _macro(between.args["high"], "end")
            if unit in DAYS and self._kind(column) == "timestamp":
                start = f"@start_{'ts' if low[1] in DAYS else low[1]}" if low[0] else _text(between.args["low"])
                instead = f"{_text(column)} BETWEEN {start} AND @end_ts"
                yield self._lost(between, column, "the last day but its midnight", instead)

    def _comparisons(self, query: exp.Query) -> Iterator[RuleViolation]:
        for node in query.find_all(*MIRRORED):
            column, (side, unit), operator = node.this, _macro(node.expression), type(node)
            if not side:
                column, (side, unit), operator = node.expression, _macro(node.this), MIRRORED[type(node)]
            kind, text = self._kind(column) if side else "", _text(column)
            if side == "end" and operator is exp.LT and unit in DAYS:
                instead = f"{text} <= @end_ds" if kind == "date" else f"{text} <= @end_ts"
                yield self._lost(node, column, "the last day", instead)
            elif side == "end" and operator is exp.LTE and unit in DAYS and kind == "timestamp":
                yield self._lost(node, column, "the last day but its midnight", f"{text} <= @end_ts")
            elif side == "end" and operator is exp.LT and unit in INSTANTS and (kind == "timestamp" or unit == "ts"):
                # A text, which becomes a day where it is compared with one.
                lost = "the last day" if kind == "date" else "the last microsecond"
                yield self._lost(node, column, lost, f"{text} <= @end_{unit}")
            elif side == "start" and operator is exp.GT:
                lost = "the first day" if kind == "date" else "the first midnight"
                yield self._lost(node, column, lost, f"{text} >= @start_{unit}")

    def _lost(self, node: exp.Expression, column: exp.Expression, lost: str, instead: str) -> RuleViolation:
        line = next((one.meta["line"] for one in column.find_all(exp.Identifier) if "line" in one.meta), None)
        place = Position(line - 1, 0) if line else None
        return self.violation(
            f"{_text(node)} drops {lost} of every range, with green audits. Write {instead}",
            Range(place, place) if place else None,
        )

    def _kind(self, node: exp.Expression) -> str:
        """Whether it holds days or instants: "date", "timestamp", or nothing when that can't be told."""
        node = node.unnest()
        if isinstance(node, exp.Cast):
            return _named(node.to)
        select = node.find_ancestor(exp.Select)
        if not isinstance(node, exp.Column) or select is None:
            return ""
        sources = [select.args.get("from_"), *select.args.get("joins", [])]
        kinds = set()
        for table in (one.this for one in sources if one is not None and isinstance(one.this, exp.Table)):
            if node.table and node.table.lower() != table.alias_or_name.lower():
                continue
            source = self.context.get_model(".".join(part.sql("duckdb") for part in table.parts))
            types = (source.columns_to_types if source else None) or {}
            kinds |= {_named(kind) for name, kind in types.items() if name.lower() == node.name.lower()}
        kinds.discard("")
        return kinds.pop() if len(kinds) == 1 else ""


def _text(node: exp.Expression) -> str:
    return node.sql("duckdb", comments=False)


def _macro(node: exp.Expression, wanted: str = "") -> tuple[str, str]:
    """(start or end, unit) of `@end_ds`, in parentheses or cast; empty for anything computed from one."""
    casts = set()
    while isinstance(node, exp.Paren | exp.Cast):
        if isinstance(node, exp.Cast):
            casts.add(_named(node.to))
        node = node.this
    side, _, unit = (node.name if isinstance(node, MacroVar) else "").lower().partition("_")
    if side not in ("start", "end") or unit not in DAYS + INSTANTS or wanted not in ("", side):
        return "", ""
    if unit in INSTANTS and casts:
        unit = "ds" if "date" in casts else "dt"
    return side, unit


def _named(kind: exp.DataType) -> str:
    if kind.this is exp.DataType.Type.DATE:
        return "date"
    return "timestamp" if kind.this in exp.DataType.TEMPORAL_TYPES else ""
