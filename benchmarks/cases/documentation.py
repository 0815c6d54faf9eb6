"""The documentation site of a large lake."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.case import Case, Options
from benchmarks.section import Section
from lakehouse.releases.manifest import Manifest, PublishedFile, PublishedTable
from lakehouse_assets.defs.documentation.known import RAW, Check, Column, Known, Table
from lakehouse_assets.defs.documentation.lineage import Lineage
from lakehouse_assets.defs.documentation.site import build_site
from lakehouse_assets.defs.ingestion.sources import RawTable, Source

MODELS, RAW_TABLES, COLUMNS, RELEASES = 500, 100, 12, 20
AT = "2026-11-28T04:00:00Z"
WORDS = "What was bought on the day, taxes included [USD]"
SQL = """MODEL (
  name {0},
  kind FULL,
  audits (unique_combination_of_columns(columns := (column_0)), not_null(columns := (column_0)))
);

SELECT
{1}
FROM {2} AS above
WHERE above.column_0 >= @start_ds AND above.column_1 <> 'nobody'
GROUP BY above.column_0
"""


def large(models: int = MODELS, raw: int = RAW_TABLES) -> Known:
    """A lake of so many models, each over two others: sources, raw tables, staging, marts; a fifth is released."""
    names = [f"{('staging', 'marts')[n % 5 == 0]}.model_{n}" for n in range(models)]
    raws = [f"raw.source_{n // 5}__table_{n}" for n in range(raw)]
    columns = tuple(
        Column.of(f"column_{n}", ("DATE", "VARCHAR", "DECIMAL(12, 2)")[n % 3], WORDS) for n in range(COLUMNS)
    )
    lineage, tables, released = Lineage(), {}, []
    sources = []
    triples, fields = [(c.name, c.type, WORDS) for c in columns], {c.name: [f"Field {c.name}"] for c in columns}
    for n in range(0, raw, 5):
        source = f"source_{n // 5}"
        found = [RawTable(source, name.partition(".")[2], WORDS, triples, fields=fields) for name in raws[n : n + 5]]
        sources.append(Source(source, found))
    for n, name in enumerate(raws):
        origin = f"source.source_{n // 5}"
        lineage.add(name, {c.name: [(origin, f"Field {c.name}")] for c in columns}, [origin])
        tables[name] = Table(name, RAW, f"source_{n // 5}", WORDS, columns=columns, source=f"source_{n // 5}")
    rows = tuple((f"2026-{1 + n // 28:02d}-{1 + n % 28:02d}T00:00:00", 1000 * n) for n in range(RELEASES))
    for n, name in enumerate(names):
        above = [names[n // 2 - 20], names[n - 97]] if n > 100 else [raws[n % raw], raws[(n + 7) % raw]]
        lineage.add(name, {c.name: [(one, c.name) for one in above] for c in columns}, above)
        checks = tuple(
            Check(one, f"{one}(columns := (column_0))", True, "passed", AT) for one in ("unique", "not_null")
        )
        shown = ",\n".join(f"  SUM(above.{c.name}) FILTER (WHERE above.column_1 = 'x') AS {c.name}" for c in columns)
        text = SQL.format(name, shown, above[0])
        table = Table(name, "full", name.split(".")[0], WORDS, "ann", ("column_0",), columns, checks, "@daily",
                      path=f"models/{name}.sql", written=text, query=text.partition("\n\n")[2], rows=rows,
                      updated_at=AT)  # fmt: skip
        if name.startswith("marts."):
            lineage.add(f"file.{name}", {c.name: [(name, c.name)] for c in columns})
            files = (PublishedFile(f"{name}/1.parquet", 1000, 12345),)
            served = PublishedTable(name, WORDS, "ann", tuple(triples), files, as_of=AT)
            released.append(served)
            sample = (tuple("2026-01-01" for _ in columns),) * 5
            table = replace(table, published=served, sample=sample, sampled=tuple(c.name for c in columns))
        tables[name] = table
    releases = [Manifest("prod", RELEASES - n, 9, "v1", "run 1", "ann", AT, ("as before",), tuple(released))
                for n in range(RELEASES)]  # fmt: skip
    return Known("prod", releases[0], tables, lineage, sources, releases, {"prod": f"release {RELEASES}"})


def measure(options: Options) -> Section:
    """Build it, and weigh it."""
    section = Section()
    known = large(options.scaled(MODELS, 200), options.scaled(RAW_TABLES, 20))
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        began, began_cpu = time.monotonic(), time.process_time()
        count = build_site(known, site)
        seconds, cpu = time.monotonic() - began, time.process_time() - began_cpu
        sizes: dict[str, list[int]] = {}
        for path in site.rglob("*"):
            if path.is_file():
                kind = path.relative_to(site).parts[0] if path.parent != site else "overviews"
                sizes.setdefault(kind, []).append(path.stat().st_size)
    size = sum(map(sum, sizes.values())) / 1e6
    found = f"{count} pages, {seconds:.1f} s ({cpu:.1f} s of a processor), {size:.1f} MB"
    section.judge("under 10 s and 20 MB for 500 models", found, seconds < 10 and size < 20)
    section.table(["", "files", "MB"], [[kind, f"{len(all_of):,}", f"{sum(all_of) / 1e6:.1f}"]
                                        for kind, all_of in sorted(sizes.items())])  # fmt: skip
    return section


CASE = Case(
    "documentation",
    "The documentation site of 500 models",
    f"500 models of {COLUMNS} columns over 100 raw tables, {RELEASES} releases, built into a folder by `build_site`, "
    "with no lake.",
    measure,
)
