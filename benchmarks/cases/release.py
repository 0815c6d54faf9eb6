"""Publishing a release beside DuckDB's own COPY: bytes of a small change, seconds and memory of a big table."""

from __future__ import annotations

import resource
import shutil
from contextlib import closing
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, in_turns, ratio, timed
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

ROWS, BIG_ROWS, PARTITIONS = 10_000_000, 300_000_000, 100
SHARE, MEMORY_BYTES = 0.03, 1e9
THIS = "benchmarks.cases.release"


def measure(options: Options) -> Section:
    """A table of 100 days with one that changes; then a table of 5 GB, in a process of its own."""
    rows, big = options.scaled(ROWS, least=10_000), options.scaled(BIG_ROWS, least=100_000)
    with throwaway() as lakehouse:
        lakehouse.call(f"{THIS}:fill", rows=rows, name="days", days=PARTITIONS)
        small = lakehouse.call(f"{THIS}:small", rows=rows, runs=options.runs)
        lakehouse.call(f"{THIS}:fill", rows=big, name="big", days=0)
        whole = lakehouse.call(f"{THIS}:big")
    section = Section()
    ours, peer = Measured.of(small["ours"]), Measured.of(small["peer"])
    section.say(
        f"{rows:,} rows in {PARTITIONS} days: {small['full_bytes'] / 1e6:,.0f} MB in {small['files']} files, "
        f"catalog and manifest {small['beside_bytes'] / 1e6:,.2f} MB. One day changed: {small['written']} file, "
        f"{small['changed_bytes'] / 1e6:,.2f} MB, catalog and manifest included."
    )
    section.comparison([ours, peer], peer=peer)
    section.say(
        f"{big:,} rows, {whole['size_bytes'] / 1e9:.1f} GB of Parquet, in a process of its own with "
        f"LAKEHOUSE_MEMORY_LIMIT at its default: {whole['seconds']:.0f} s, peak {whole['peak_bytes'] / 1e9:.2f} GB."
    )
    share = small["changed_bytes"] / (small["full_bytes"] + small["beside_bytes"])
    section.judge(
        f"one of {PARTITIONS} partitions changed: under {SHARE:.0%} of a full release's bytes", f"{share:.1%}",
        share < SHARE,
    )  # fmt: skip
    section.judge(
        "peak memory while a table of 5 GB is published under 1 GB", f"{whole['peak_bytes'] / 1e9:.2f} GB",
        whole["peak_bytes"] < MEMORY_BYTES,
    )  # fmt: skip
    section.say(f"The whole release beside a bare COPY of the same rows: {ratio(ours, peer):.2f} times.")
    return section


def fill(rows: int, name: str, days: int) -> None:
    """In a child: a table of the lake, of noise, so that it does not compress away."""
    from lakehouse.lake.ducklake import Lake
    from lakehouse.settings import load_settings

    day = f"DATE '2024-01-01' + (i % {days})::INT AS day" if days else "i AS id"
    with closing(Lake(load_settings()).connect()) as connection:
        connection.execute("SET preserve_insertion_order = false")
        connection.execute(
            f"CREATE TABLE marts.{name} AS SELECT {day}, random() AS a, random() AS b FROM range({rows}) t(i)"
        )


def small(rows: int, runs: int) -> dict[str, Any]:
    """In a child: full releases beside COPY, then one with a changed day."""
    from lakehouse.lake.ducklake import Lake
    from lakehouse.settings import load_settings

    lake = Lake(load_settings())
    ours = Measured("release: files, catalog, pointer", "publish_table(…) and complete(…)")
    peer = Measured("bare COPY … (PARTITION_BY day)", "COPY (FROM marts.days) TO … (FORMAT parquet, PARTITION_BY day)")
    target = f"{lake.settings.data_dir}/copy"
    environments = iter(range(1000))

    def bare() -> None:
        shutil.rmtree(target, ignore_errors=True)
        with closing(lake.connect()) as connection:
            connection.execute("SET preserve_insertion_order = false")
            connection.execute(
                f"COPY (FROM marts.days) TO '{target}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (day), "
                "WRITE_PARTITION_COLUMNS true)"
            )

    in_turns(
        runs,
        # A new environment and a new content each time: nothing to share.
        (ours, lambda: timed(lambda: _publish(lake, f"dev_{(n := next(environments))}", f"content {n}"))),
        (peer, lambda: timed(bare)),
    )
    full, beside = _publish(lake, "prod", "1"), _beside(lake, "prod")
    with closing(lake.connect()) as connection:
        connection.execute("INSERT INTO marts.days VALUES (DATE '2024-01-07', 1, 1)")
    before = _bytes(lake, "prod")
    changed = _publish(lake, "prod", "2")
    return {
        "ours": ours.plain(), "peer": peer.plain(), "files": full.files_written, "full_bytes": full.bytes_written,
        "beside_bytes": beside, "written": changed.files_written, "changed_bytes": _bytes(lake, "prod") - before,
    }  # fmt: skip


def big() -> dict[str, Any]:
    """In a child that does nothing else: its peak memory is publishing's."""
    from lakehouse.lake.ducklake import Lake
    from lakehouse.settings import load_settings

    lake, done = Lake(load_settings()), []
    sample = timed(lambda: done.append(_publish(lake, "prod", "3", "marts.big")))
    return {
        "seconds": sample.seconds, "size_bytes": done[0].table.size_bytes,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }  # fmt: skip


def _publish(lake: Any, environment: str, content: str, name: str = "marts.days") -> Any:
    from lakehouse.lake.postgres import connect
    from lakehouse.releases import log, publishing
    from lakehouse.releases.tables import publish_table
    from lakehouse.writing.graph import ServedTable

    table = ServedTable(name, name, name, content, partitioned_by=("day",) if name == "marts.days" else ())
    with closing(connect(lake.settings)) as connection:
        release = log.write(
            connection, environment, lake.newest_snapshot(), [table],
            code_version="bench", run="bench", author="bench", changed=["bench"],
        )  # fmt: skip
        before = publishing.last_manifest(lake, connection, environment)
        done = publish_table(lake, release, table, before)
        publishing.complete(lake, connection, release, (done.table,))
    return done


def _bytes(lake: Any, environment: str) -> int:
    return sum(found.size_bytes for found in lake.storage.list(f"published/{environment}/"))


def _beside(lake: Any, environment: str) -> int:
    return sum(found.size_bytes for found in lake.storage.list(f"published/{environment}/releases/"))


CASE = Case(
    "release",
    "Publishing a release",
    "A served table of 100 days from the lake into a release: Parquet files, frozen catalog, pointer; again after one "
    "day changed; and a table of 5 GB for its memory. Beside DuckDB's own partitioned COPY of the same rows.",
    measure,
)
