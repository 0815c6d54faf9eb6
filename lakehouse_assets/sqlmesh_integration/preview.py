"""A few rows and a small plot of a table, as Markdown. People look before they read."""

from __future__ import annotations

import base64
import logging
import math
import re
from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from lakehouse_assets.sqlmesh_integration.markdown import table as markdown_table

if TYPE_CHECKING:
    from sqlmesh.core.model import Model

    from lakehouse_assets.sqlmesh_integration.deployed import Deployment

logger = logging.getLogger(__name__)

ROWS, COLUMNS, POINTS, BARS, TICKS = 12, 12, 400, 10, 4
COLOR = "#4f6bed"
DATES = (exp.DataType.Type.DATE, exp.DataType.Type.DATE32)
AMOUNTS = tuple(exp.DataType.REAL_TYPES)
NOT_ADDED = {"average", "avg", "mean", "median", "min", "max", "lowest", "highest", "price", "rate", "ratio", "share"}
"""Words of a column's name that say that its sum means nothing."""


def take(deployment: Deployment, name: str, measure: str | None = None) -> tuple[str | None, str | None]:
    """(rows, plot) of the model's table as it is now. Two queries; called right after it was computed.

    The plot shows the column `measure`, or the likeliest. Raises KeyError for a measure that is no column.
    """
    model = deployment.snapshots[name].model
    adapter = deployment.adapter(name)
    table = exp.to_table(deployment.written(name))
    hidden = deployment.hidden(name)
    columns = [column for column in model.columns_to_types or {} if column.lower() not in hidden][:COLUMNS]
    if not columns:
        return None, None
    query = exp.select(*(_column(column) for column in columns)).from_(table).limit(ROWS)
    if axis := _axis(model):  # the newest rows
        query = query.order_by(exp.Ordered(this=_column(axis), desc=True))
    if measure is not None and measure not in (model.columns_to_types or {}):
        raise KeyError(f"the plot of {name} should show {measure}, which is none of its columns")
    rows = [[_short(value) for value in row] for row in adapter.fetchall(query)]
    return markdown_table(columns, rows), _plot(model, adapter, table, measure or likely_measure(model), hidden)


def _plot(model: Model, adapter: Any, table: exp.Table, measure: str | None, hidden: Collection[str]) -> str | None:
    """A line over time where the table has days or months, else bars of its largest groups."""
    axis = _axis(model)
    group = axis or _category(model, hidden)
    if measure is None or group is None or {measure.lower(), group.lower()} & set(hidden):
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
    points = [(label, value) for label, value in points if math.isfinite(value)]
    if not points:
        return None
    try:
        drawn = _draw(points, title, is_line=is_line and len({label for label, _ in points}) > 1)
    except ImportError:
        logger.info("plots need the package leather")
        return None
    # A tenth of a pixel is enough, and most of the bytes are digits.
    drawn = re.sub(r"\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}", drawn)
    encoded = base64.b64encode(drawn.encode()).decode()
    return f"![{title}](data:image/svg+xml;base64,{encoded})"


def _draw(points: Sequence[tuple[Any, float]], title: str, *, is_line: bool) -> str:
    """The SVG. Raises ImportError without leather."""
    import leather

    leather.theme.title_font_family = leather.theme.tick_font_family = "sans-serif"
    leather.theme.tick_font_size = 11
    leather.theme.background_color = "#ffffff"
    chart = leather.Chart(title)
    if is_line:
        # Shares of the whole time: leather's own axis of time leaves out the first days and can't draw only a few.
        first, last = _moment(points[0][0]), _moment(points[-1][0])
        line = [((_moment(label) - first) / (last - first), value) for label, value in points]
        labels = {x: _day(label) for (label, _), (x, _) in zip(points, line, strict=True)}
        nearest = {min(labels, key=lambda x: abs(x - tick / TICKS)) for tick in range(TICKS + 1)}
        chart.add_line(line, stroke_color=COLOR)
        chart.add_x_axis(ticks=sorted(nearest), tick_formatter=lambda value, *_: labels[value])
    else:
        chart.add_bars([(value, str(label)) for label, value in reversed(points)], fill_color=COLOR)
    drawn: str = chart.to_svg(width=640, height=260)
    return drawn


def _moment(label: date) -> datetime:
    """A date as its first moment; UTC without saying so, since one with a zone can't be compared with one without."""
    if not isinstance(label, datetime):
        return datetime.combine(label, time())
    return label.astimezone(UTC).replace(tzinfo=None) if label.tzinfo else label


def _day(label: date) -> str:
    """A label of the axis, with the hour where it has one."""
    moment = _moment(label)
    return f"{moment:%Y-%m-%d}" if moment.time() == time() else f"{moment:%m-%d %H:%M}"


def _short(value: object) -> object:
    """Without fractions of a second, which nobody reads."""
    return value.isoformat(" ", "seconds") if isinstance(value, datetime) else value


def _axis(model: Model) -> str | None:
    """The column of time: the model's own, or a date that its grain names. Another date only tells of a row."""
    if model.time_column is not None:
        return str(model.time_column.column.name)
    grain = {grain.name for grain in model.grains}
    dates = [column for column, kind in (model.columns_to_types or {}).items() if kind.is_type(*DATES)]
    return next((column for column in dates if not grain or column in grain), None)


def likely_measure(model: Model) -> str | None:
    """The first amount with decimals, else the first number; no key, and nothing that makes no sense added up.

    A column that an audit wants unique numbers the rows.
    """
    keys = {grain.name for grain in model.grains} | _unique(model)
    numbers = {
        column: kind
        for column, kind in (model.columns_to_types or {}).items()
        if kind.is_type(*exp.DataType.NUMERIC_TYPES) and column not in keys and column.rpartition("_")[2] != "id"
    }
    added = [column for column in numbers if not NOT_ADDED & set(column.lower().split("_"))]
    amounts = [column for column in added if numbers[column].is_type(*AMOUNTS)]
    return next(iter([*amounts, *added, *numbers]), None)


def _unique(model: Model) -> set[str]:
    arguments = [arguments.get("columns") for name, arguments in model.audits if name == "unique_values"]
    return {column.name for columns in arguments if columns for column in columns.find_all(exp.Column)}


def _category(model: Model, hidden: Collection[str]) -> str | None:
    types = {name: kind for name, kind in (model.columns_to_types or {}).items() if name.lower() not in hidden}
    texts = [column for column, kind in types.items() if kind.is_type(*exp.DataType.TEXT_TYPES)]
    ids = [column for column in types if column.endswith("_id")]
    return next(iter([*texts, *ids]), None)


def _column(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True))
