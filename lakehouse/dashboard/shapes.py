"""How a table is shown: by its columns' types and names, and the SQL that asks for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?$|DECIMAL|DOUBLE|FLOAT")
IDENTITY = re.compile(r"(^|_)(id|key|code|number|year|month|day|hour|zip|postcode)$", re.IGNORECASE)
NO_SUM = re.compile(
    r"(^|_)(avg|average|mean|median|min|max|lowest|highest|first|last|rate|ratio|share|percent|pct|price|unique|distinct)(_|$)",
    re.IGNORECASE,
)
LATITUDE = re.compile(r"lat(itude)?$", re.IGNORECASE)
LONGITUDE = re.compile(r"lon(g|gitude)?$|lng$", re.IGNORECASE)
PERIODS = ("fitting", "day", "week", "month", "year")
MEASURES = 4
CATEGORIES = 20
MOST_ROWS = 1_000
MOST_POINTS = 5_000


@dataclass(frozen=True)
class Shape:
    """What of a table is drawn."""

    table: str
    time: str = ""
    measures: tuple[str, ...] = ()
    """Numbers that may be added up."""
    averages: tuple[str, ...] = ()
    """Numbers that may not."""
    categories: tuple[str, ...] = ()
    coordinates: tuple[str, str] | None = None
    """Latitude and longitude."""
    texts: tuple[str, ...] = ()
    grain: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[str, ...]:
        """The numbers that can be drawn."""
        return (*self.measures, *self.averages)

    def drawn(self, value: str) -> str:
        """The SQL of a number over many rows: its sum, or its average where a sum says nothing; else how many rows."""
        if value in self.measures:
            return f"SUM({quoted(value)})::DOUBLE"
        return f"AVG({quoted(value)})::DOUBLE" if value in self.averages else "COUNT(*)"

    def totals(self) -> str:
        """One row: how many rows, and each measure's total."""
        sums = [f"{self.drawn(name)} AS m{number}" for number, name in enumerate(self.measures[:MEASURES])]
        return f"SELECT {', '.join(['COUNT(*) AS rows', *sums])} FROM {self.source}"

    def over_time(self, value: str) -> str:
        """A row a period, `$period`."""
        at = quoted(self.time)
        return f"""
WITH span AS (SELECT DATE_DIFF('day', MIN({at}), MAX({at})) AS days FROM {self.source}),
chosen AS (
  SELECT CASE WHEN $period <> 'fitting' THEN $period WHEN days <= 200 THEN 'day' WHEN days <= 5000 THEN 'month'
    ELSE 'year' END AS period
  FROM span
)
SELECT ANY_VALUE(period) AS period, DATE_TRUNC(period, {at})::TIMESTAMP AS begins, {self.drawn(value)} AS value
FROM {self.source}, chosen
WHERE {at} IS NOT NULL
GROUP BY DATE_TRUNC(period, {at})
ORDER BY begins"""

    def by_category(self, category: str, value: str) -> str:
        """The largest first."""
        return f"""
SELECT COALESCE({quoted(category)}::VARCHAR, '(none)') AS name, {self.drawn(value)} AS value
FROM {self.source} GROUP BY ALL ORDER BY value DESC NULLS LAST, name LIMIT {CATEGORIES}"""

    def places(self) -> str:
        """Where its rows lie."""
        assert self.coordinates
        latitude, longitude = map(quoted, self.coordinates)
        return f"""
SELECT {latitude}::DOUBLE AS latitude, {longitude}::DOUBLE AS longitude FROM {self.source}
WHERE {latitude} BETWEEN -90 AND 90 AND {longitude} BETWEEN -180 AND 180 LIMIT {MOST_POINTS}"""

    def rows(self, *, contains: bool) -> str:
        """The newest rows, or the first of its grain; with `contains` those in whose texts `$words` stand."""
        found = " OR ".join(f"CONTAINS(LOWER({quoted(name)}::VARCHAR), LOWER($words))" for name in self.texts)
        where = f" WHERE {found}" if contains and found else ""
        order = [f"{quoted(self.time)} DESC NULLS LAST"] if self.time else []
        order += [quoted(name) for name in self.grain if name != self.time]
        by = f" ORDER BY {', '.join(order)}" if order else ""
        return f"SELECT * FROM {self.source}{where}{by} LIMIT {MOST_ROWS}"

    @property
    def source(self) -> str:
        """The table in SQL."""
        return ".".join(quoted(part) for part in self.table.split(".", 1))


def quoted(name: str) -> str:
    """A name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def shape_of(table: Mapping[str, Any]) -> Shape:
    """Of a table as the service lists it."""
    columns: Sequence[Mapping[str, str]] = table["columns"]
    kinds = {column["name"]: column["type"] for column in columns}
    grain = tuple(name for name in table.get("grain") or () if name in kinds)
    times = [name for name, kind in kinds.items() if kind == "DATE" or kind.startswith("TIMESTAMP")]
    latitudes = [name for name, kind in kinds.items() if LATITUDE.search(name) and NUMBER.match(kind)]
    longitudes = [name for name, kind in kinds.items() if LONGITUDE.search(name) and NUMBER.match(kind)]
    numbers = [
        name
        for name, kind in kinds.items()
        if NUMBER.match(kind) and not kind.endswith("]") and name not in grain and not IDENTITY.search(name)
        and name not in latitudes + longitudes
    ]  # fmt: skip
    words = [name for name, kind in kinds.items() if kind in ("VARCHAR", "BOOLEAN") or kind.startswith("ENUM")]
    return Shape(
        table["name"],
        time=next((name for name in times if name in grain), times[0] if times else ""),
        # Money before counts.
        measures=tuple(
            sorted((name for name in numbers if not NO_SUM.search(name)), key=lambda name: "DECIMAL" not in kinds[name])
        ),
        averages=tuple(name for name in numbers if NO_SUM.search(name)),
        # Where nothing is text: what tells rows apart, as a number of a place.
        categories=tuple(sorted(words, key=lambda name: name not in grain))
        or tuple(name for name in grain if name not in times)
        or tuple(name for name, kind in kinds.items() if NUMBER.match(kind) and IDENTITY.search(name)),
        coordinates=(latitudes[0], longitudes[0]) if latitudes and longitudes else None,
        texts=tuple(name for name in words if kinds[name] != "BOOLEAN"),
        grain=grain,
    )
