"""Small random projects whose tables are known without SQLMesh: each model comes with its rows as one plain query.

What a model gives for a time depends on its parents' rows of that time (or before it) alone, so that the right rows are
the same whenever and in whatever parts it is computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

UNITS = {"@hourly": "hour", "@daily": "day", "@weekly": "day", "@monthly": "month"}
BETWEEN = "ts BETWEEN @start_ts::TIMESTAMP AND @end_ts::TIMESTAMP"


@dataclass(frozen=True)
class RandomModel:
    name: str
    kind: str
    cron: str
    text: str
    """As SQLMesh reads it."""
    truth: str
    """All its rows (ts, v), over the truths of its parents."""

    @property
    def is_by_time(self) -> bool:
        return self.kind in ("time", "chained", "chained in batches")

    @property
    def has_readers(self) -> bool:
        return self.kind != "scd2" and self.cron in ("@hourly", "@daily")


def random_models(random: Random, count: int) -> list[RandomModel]:
    models = [_model(name, "time", cron, ["raw.t"], random) for name, cron in SOURCES.items()]
    for number in range(count):
        kind = random.choice(list(KINDS))
        is_daily = kind.startswith("chained") or random.random() < 0.7
        cron = "@daily" if is_daily else random.choice(["@weekly", "@monthly"])
        able = [model.name for model in models if model.has_readers]
        parents = random.sample(able, k=min(len(able), random.choice([1, 1, 2])))
        models.append(_model(f"a.m{number}", kind, cron, parents, random))
    return models


def _model(name: str, kind: str, cron: str, parents: list[str], random: Random) -> RandomModel:
    spelled = KINDS[kind]
    rows = " UNION ALL ".join(f"SELECT ts, v FROM {parent} WHERE TRUE" for parent in parents)
    summed = f"SELECT DATE_TRUNC('{UNITS[cron]}', ts)::TIMESTAMP AS ts, SUM(v)::BIGINT AS v FROM ({rows}) GROUP BY 1"
    query = truth = rows if kind in ("view", "embedded") else summed
    if kind in ("time", "by key, by time"):
        query = summed.replace("WHERE TRUE", f"WHERE {BETWEEN}")
    if kind == "time":
        lookback, size = random.choice(["", ", lookback 2"]), random.choice(["", ", batch_size 1", ", batch_size 2"])
        spelled = spelled.replace("ts)", f"ts{lookback}{size})")
    if kind.startswith("chained"):
        before = f"COALESCE((SELECT MAX_BY(v, ts) FROM {name} WHERE ts < @start_ts::TIMESTAMP), 0)"
        query = _chain(before, "@start_ts::TIMESTAMP", "@end_ts::TIMESTAMP", summed)
        truth = _chain("0", "TIMESTAMP '2026-10-28'", "TIMESTAMP '2027-01-01'", summed)
    # From a month's beginning: SQLMesh takes its time over one that begins in the middle.
    start = ", start '2026-10-01'" if cron == "@monthly" else ""
    head = f"name {name}, kind {spelled}, cron '{cron}'{start}, columns (ts TIMESTAMP, v BIGINT)"
    return RandomModel(name, kind, cron, f"MODEL ({head});\n{query}", truth)


def _chain(before: str, start: str, end: str, summed: str) -> str:
    """Each day's sum of all days until it; `before` is that of the day before the first."""
    return f"""
        SELECT days.ts, {before} + SUM(COALESCE(s.v, 0)) OVER (ORDER BY days.ts)::BIGINT AS v
        FROM (SELECT UNNEST(GENERATE_SERIES({start}, {end}, INTERVAL 1 DAY))::TIMESTAMP AS ts) AS days
        LEFT JOIN ({summed}) AS s ON s.ts = days.ts
    """


SOURCES = {"a.hours": "@hourly", "a.days": "@daily"}
KINDS = {
    "time": "INCREMENTAL_BY_TIME_RANGE (time_column ts)",
    "chained": "INCREMENTAL_BY_TIME_RANGE (time_column ts, batch_size 1)",
    "chained in batches": "INCREMENTAL_BY_TIME_RANGE (time_column ts, batch_size 3, lookback 1)",
    "full": "FULL",
    "view": "VIEW",
    "embedded": "EMBEDDED",
    "by key": "INCREMENTAL_BY_UNIQUE_KEY (unique_key ts)",
    "by key, by time": "INCREMENTAL_BY_UNIQUE_KEY (unique_key ts)",
    "by partition": "INCREMENTAL_BY_PARTITION, partitioned_by [ts]",
    "scd2": "SCD_TYPE_2_BY_COLUMN (unique_key ts, columns [v])",
}
