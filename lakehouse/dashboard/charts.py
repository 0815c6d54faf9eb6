"""How answers are drawn, on every page alike: numbers, axes with their years, gaps as gaps, charts by types."""

from __future__ import annotations

import datetime
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import altair as alt
import pandas as pd

from lakehouse.dashboard.shapes import IDENTITY, NUMBER, Shape, shape_of
from lakehouse.query.client.result import Column

SIGNS = "$£€¥₹"
"""Stand before a number; other units behind it."""
MOST_PERIODS = 10_000
FEW = 100
"""Points that are drawn beside their line."""
DAYS = {"YS": 365, "QS": 91, "MS": 30, "h": 1 / 24, "min": 1 / 1440}
"""Of a period, about. Of weeks 7, of days 1."""
FORMATS = {"YS": "%Y", "QS": "%b %Y", "MS": "%b %Y", "h": "%-d %b %Y %H:%M", "min": "%-d %b %Y %H:%M"}
"""Of the moments on an axis: each says its year."""
DAY = "%-d %b %Y"
LABEL_PIXELS = 180
HEIGHT = 340
MOST_COLORS = 40
PHONE_PIXELS = 290
"""As wide as a legend may be."""


class DrawingError(ValueError):
    """These columns can't be drawn so; half a sentence with what to do."""


def titled(name: str) -> str:
    """What a column is called: a name of SQL as words, anything else as it is written."""
    return name.replace("_", " ").capitalize() if name.islower() and " " not in name else name


def number(value: Any, unit: str = "", digits: int | None = None) -> str:
    """A value as it is written everywhere: `1,234`, `0.25`, `£1,234`, `12 km`; what is no number as it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NaT:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return str(value)
    size = abs(float(value))
    if digits is None:
        digits = 0 if size >= 1_000 or size.is_integer() else 2
        if digits and size < 1:
            return _with_unit(f"{value:.3g}", unit)
    return _with_unit(f"{value:,.{digits}f}", unit)


def _with_unit(text: str, unit: str) -> str:
    if unit and unit in SIGNS:
        return f"-{unit}{text[1:]}" if text.startswith("-") else f"{unit}{text}"
    return f"{text} {unit}".strip()


def digits_of(values: pd.Series) -> int:
    """Behind the point, the same for a whole column: none where all are whole."""
    known = pd.to_numeric(values, errors="coerce").dropna()
    if (known == known.round()).all():
        return 0
    return 2 if known.abs().max() >= 1 else 4


def table(rows: pd.DataFrame, columns: Sequence[Column], units: Mapping[str, str] | None = None) -> Any:
    """The rows as they are shown: numbers written as everywhere, sorted as numbers. An id has no thousands."""
    units = units or {}
    shown: dict[str, Any] = {}
    for name, (_, kind) in zip(rows.columns, columns, strict=True):
        if NUMBER.match(kind) and not kind.endswith("]"):
            if IDENTITY.search(name):
                shown[name] = lambda value: number(value).replace(",", "")
            else:
                shown[name] = lambda value, unit=units.get(name, ""), digits=digits_of(rows[name]): number(
                    value, unit, digits
                )
    return rows.style.format(shown, na_rep="")


# ------------------------------------------------------------------------------------------------ time


def period_of(times: pd.Series) -> str:
    """The longest of year, quarter, month, week, day, hour and minute that all moments begin one of; else nothing."""
    known = pd.DatetimeIndex(times.dropna().unique())
    if not len(known):
        return ""
    if (known == known.normalize()).all():
        if (known.day == 1).all():
            months = set(known.month)
            return "YS" if months == {1} else "QS" if months <= {1, 4, 7, 10} else "MS"
        days = set(known.strftime("%a").str.upper())
        return f"W-{days.pop()}" if len(days) == 1 else "D"
    if (known.second == 0).all() and (known.microsecond == 0).all():
        return "h" if (known.minute == 0).all() else "min"
    return ""


def with_gaps(rows: pd.DataFrame, at: str, period: str) -> pd.DataFrame:
    """A row for each period: one without rows is a gap in a line, not a line across it.

    Where most periods are empty the moments are no series, and stay as they are.
    """
    if rows.empty or not period:
        return rows
    first, last = rows[at].min(), rows[at].max()
    if (last - first).days / _days(period) > MOST_PERIODS:
        return rows
    every = pd.date_range(first, last, freq=period)
    if len(every) > 2 * len(rows) or rows[at].duplicated().any():
        return rows
    return rows.set_index(at).reindex(every).rename_axis(at).reset_index()


def _days(period: str) -> float:
    return 7 if period.startswith("W-") else DAYS.get(period, 1)


def time_axis(times: pd.Series, period: str) -> alt.Axis:
    """With the year at each moment, and no moment twice."""
    more: dict[str, Any] = {}
    unit = {"YS": "year", "MS": "month", "D": "day"}.get(period)
    if unit and times.nunique() and (times.max() - times.min()).days / _days(period) <= 12:
        more["tickCount"] = {"interval": unit, "step": 1}
    return alt.Axis(format=FORMATS.get(period, DAY), labelOverlap=True, title=None, **more)


def _moments(values: pd.Series) -> pd.Series:
    """As they are written, whatever zone a browser is in."""
    return pd.to_datetime(values, errors="coerce", utc=True).dt.tz_localize(None)


# ------------------------------------------------------------------------------------------------ charts


def chart(rows: pd.DataFrame, columns: Sequence[Column], options: Mapping[str, Any]) -> Any:
    """What is asked for, and the rest by the columns' types. None where they are nothing to draw: a table shows them.

    `options` are a page's of a chart, and `titles`: what columns are called.

    Raises:
        DrawingError: these columns can't be drawn so.
    """
    names = list(rows.columns)
    titles = {name: titled(name) for name in names} | options.get("titles", {})
    kinds = {name: kind for name, (_, kind) in zip(names, columns, strict=True)}
    shape = shape_of({"name": "", "columns": [{"name": name, "type": kind} for name, kind in kinds.items()]})
    if options.get("kind", "map" if shape.coordinates and not {"x", "y"} & options.keys() else "") == "map":
        if shape.coordinates is None:
            raise DrawingError("a map needs columns latitude and longitude; name them so in the SELECT")
        return _map(rows, shape, options)
    x = options.get("x") or shape.time or next(iter(shape.categories), names[0])
    given = options.get("y") or [
        next((name for name in _first(names, shape.values) if name != x and NUMBER.match(kinds[name])), "")
    ]
    values = [given] if isinstance(given, str) else list(given)
    if values == [""]:
        if options:
            raise DrawingError("nothing in it is a number to draw; name one as y")
        return None
    for name in values:
        if not NUMBER.match(kinds[name]) or kinds[name].endswith("]"):
            raise DrawingError(f"{name} is no number ({kinds[name]}); name one as y")
    color = options.get("color", "")
    if not color and len(values) == 1 and rows[x].duplicated().any():
        color = next((name for name in shape.categories if name not in (x, *values)), "")
    if color and len(values) > 1:
        raise DrawingError("several y have each their color; name one y, or no color")
    is_time = kinds[x] == "DATE" or kinds[x].startswith("TIMESTAMP")
    is_number = bool(NUMBER.match(kinds[x])) and not IDENTITY.search(x)
    kind = options.get("kind") or ("line" if is_time else "scatter" if is_number else "bar")
    unit = options.get("unit", "")
    series = [
        pd.DataFrame({"x": rows[x], "y": pd.to_numeric(rows[y], errors="coerce"),
                      "series": rows[color].astype(str) if color else titles[y]})
        for y in values
    ]  # fmt: skip
    told = pd.concat(series, ignore_index=True)
    told["y"] = told["y"].astype(float)
    title = f"{titles[values[0]]}{f', {unit}' if unit else ''}" if len(values) == 1 else unit or None
    several = bool(color) or len(values) > 1
    period = ""
    if is_time:
        told["x"] = _moments(told["x"])
        period = period_of(told["x"])
        if kind == "line" or (kind == "area" and not several):
            parts = [with_gaps(part, "x", period).assign(series=name) for name, part in told.groupby("series")]
            told = pd.concat(parts, ignore_index=True) if parts else told
        told["at"] = told["x"].dt.strftime(FORMATS.get(period, DAY))
        told["ends"] = told["x"] + (_after(told["x"], period) - told["x"]) * 0.85
        # Without a zone a browser would take them for its own zone's: some days have no midnight there.
        told["x"], told["ends"] = told["x"].dt.tz_localize("UTC"), told["ends"].dt.tz_localize("UTC")
    axis_y = alt.Y("y:Q", title=title, scale=alt.Scale(zero=kind in ("bar", "area")))
    axis_x: Any
    if is_time:
        axis_x = alt.X("x:T", axis=time_axis(told["x"], period), scale=alt.Scale(type="utc"))
    elif is_number and kind != "bar":
        told["x"] = pd.to_numeric(told["x"], errors="coerce").astype(float)
        axis_x = alt.X("x:Q", title=titles[x], scale=alt.Scale(zero=False))
    else:
        told["x"] = told["x"].astype(str)
        axis_x = alt.X("x:N", title=titles[x], sort=None, axis=alt.Axis(labelLimit=LABEL_PIXELS))
    digits = digits_of(told["y"])
    if not is_time:
        told["at"] = told["x"].map(number)
    shown = [
        alt.Tooltip("at:N", title=titles[x]),
        alt.Tooltip("y:Q", title=title or "Value", format=f",.{digits}f"),
        *([alt.Tooltip("series:N", title=titles[color] if color else "")] if several else []),
    ]
    drawn = alt.Chart(told, title=options.get("title", ""), height=HEIGHT)
    encoded: dict[str, Any] = {"tooltip": shown}
    if several:
        encoded["color"], more = _legend(told["series"])
        drawn = drawn.properties(height=HEIGHT + more)
    if kind == "bar" and is_time:
        return drawn.mark_bar(orient="vertical").encode(axis_x, axis_y, x2="ends:T", **encoded)
    if kind == "bar":  # they lie, so that their names can be read
        lying = alt.Y("x:N", title=None, sort=None, axis=alt.Axis(labelLimit=LABEL_PIXELS))
        return drawn.properties(height=alt.Step(22)).mark_bar().encode(alt.X("y:Q", title=title), lying, **encoded)
    if kind == "area":
        return drawn.mark_area(opacity=0.8).encode(axis_x, axis_y, **encoded)
    if kind == "scatter":
        return drawn.mark_circle(opacity=0.6).encode(axis_x, axis_y, **encoded)
    point = {"size": 30 if len(told) < FEW else 6}
    return drawn.mark_line(point=point).encode(axis_x, axis_y, **encoded)


def _first(names: Sequence[str], some: Sequence[str]) -> list[str]:
    """All names in their order, these before the others."""
    return sorted(names, key=lambda name: name not in some)


def _legend(series: pd.Series) -> tuple[alt.Color, int]:
    """Colors with a legend below that fits a phone, and its height."""
    names = list(series.drop_duplicates())[:MOST_COLORS]
    columns = max(PHONE_PIXELS // (32 + 7 * min(max(map(len, names), default=1), 20)), 1)
    legend = alt.Legend(orient="bottom", columns=columns, labelLimit=140, symbolLimit=MOST_COLORS, title=None)
    return alt.Color("series:N", sort=names, legend=legend), 60 + 18 * math.ceil(len(names) / columns)


def _after(times: pd.Series, period: str) -> pd.Series:
    """The end of each period; of moments without one the next moment, about."""
    if period:
        return times + pd.tseries.frequencies.to_offset(period)
    steps = times.drop_duplicates().sort_values().diff().dropna()
    return times + (steps.min() if len(steps) else datetime.timedelta(days=1))


def _map(rows: pd.DataFrame, shape: Shape, options: Mapping[str, Any]) -> Any:
    assert shape.coordinates
    latitude, longitude = shape.coordinates
    color = options.get("color")
    told = pd.DataFrame({
        "latitude": pd.to_numeric(rows[latitude], errors="coerce").astype(float),
        "longitude": pd.to_numeric(rows[longitude], errors="coerce").astype(float),
        "series": rows[color].astype(str) if color else "",
    })  # fmt: skip
    encoded = {"color": _legend(told["series"])[0]} if color else {}
    tooltip = [alt.Tooltip(name, format=".5f") for name in ("latitude:Q", "longitude:Q")]
    drawn = alt.Chart(told, title=options.get("title", "Where"), height=2 * HEIGHT)
    return drawn.mark_circle(size=12, opacity=0.4).encode(
        alt.X("longitude:Q", title=None, scale=alt.Scale(zero=False)),
        alt.Y("latitude:Q", title=None, scale=alt.Scale(zero=False)),
        tooltip=[*tooltip, *(["series:N"] if color else [])], **encoded,
    )  # fmt: skip
