"""A few rows and a small plot of a table, as Markdown. People look before they read."""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from lakehouse_assets.sqlmesh_integration.markdown import table as markdown_table

if TYPE_CHECKING:
    from sqlmesh.core.model import Model

    from lakehouse_assets.sqlmesh_integration.deployment import Deployment

logger = logging.getLogger(__name__)

ROWS, COLUMNS, POINTS, BARS = 10, 12, 400, 10
COLOR = "#4f6bed"
DATES = (exp.DataType.Type.DATE, exp.DataType.Type.DATE32)


def take(deployment: Deployment, name: str) -> tuple[str | None, str | None]:
    """(rows, plot) of the model's table as it is now. Two queries; called right after it was computed."""
    model = deployment.snapshots[name].model
    adapter = deployment.adapter(name)
    table = exp.to_table(deployment.written(name))
    columns = list(model.columns_to_types or {})[:COLUMNS]
    if not columns:
        return None, None
    query = exp.select(*(_column(column) for column in columns)).from_(table).limit(ROWS)
    if axis := _axis(model):  # the newest rows
        query = query.order_by(exp.Ordered(this=_column(axis), desc=True))
    rows = adapter.fetchall(query)
    return markdown_table(columns, rows), _plot(model, adapter, table)


def _plot(model: Model, adapter: Any, table: exp.Table) -> str | None:
    """A line over time where the table has days or months, else bars of its largest groups."""
    measure = _measure(model)
    axis = _axis(model)
    group = axis or _category(model)
    if measure is None or group is None:
        return None
    total = exp.alias_(exp.func("SUM", exp.cast(_column(measure), "double")), "total")
    order = exp.Ordered(this=exp.column("label" if axis else "total"), desc=True, nulls_first=False)
    query = (
        exp.select(exp.alias_(_column(group), "label"), total)
        .from_(table)
        .where(_column(group).is_(exp.null()).not_())
        .group_by(_column(group))
        .order_by(order)
        .limit(POINTS if axis else BARS)
    )
    points = [(label, float(value)) for label, value in adapter.fetchall(query) if value is not None]
    return image(points[::-1], f"{measure} by {group}", is_line=axis is not None)


def image(points: Sequence[tuple[Any, float]], title: str, *, is_line: bool) -> str | None:
    """The plot as a Markdown image of a few kilobytes; None without points, or without the package `leather`."""
    if not points:
        return None
    try:
        import leather
    except ImportError:
        logger.info("plots need the package leather")
        return None
    chart = leather.Chart(title)
    if is_line and len(points) > 1:
        chart.add_line(list(points), stroke_color=COLOR)
        chart.add_x_axis(tick_formatter=lambda value, *_: f"{value:%Y-%m-%d}")
    else:
        chart.add_bars([(value, str(label)) for label, value in reversed(points)], fill_color=COLOR)
    drawn = chart.to_svg(width=640, height=260)
    encoded = base64.b64encode(drawn.encode()).decode()
    return f"![{title}](data:image/svg+xml;base64,{encoded})"


def _axis(model: Model) -> str | None:
    if model.time_column is not None:
        return str(model.time_column.column.name)
    return next((c for c, kind in (model.columns_to_types or {}).items() if kind.is_type(*DATES)), None)


def _measure(model: Model) -> str | None:
    grain = {grain.name for grain in model.grains}
    for column, kind in (model.columns_to_types or {}).items():
        is_number = kind.is_type(*exp.DataType.NUMERIC_TYPES)
        if is_number and column not in grain and not column.endswith("_id") and column != "id":
            return column
    return None


def _category(model: Model) -> str | None:
    types = model.columns_to_types or {}
    texts = [column for column, kind in types.items() if kind.is_type(*exp.DataType.TEXT_TYPES)]
    ids = [column for column in types if column.endswith("_id")]
    return next(iter([*texts, *ids]), None)


def _column(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True))
