"""An ordinary dlt source loaded by a Dagster run, beside dlt alone."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, Sample, ratio, timed
from benchmarks.section import Section
from benchmarks.throwaway import throwaway

TARGET = 1.15
SIZES = 1_000, 1_000_000
SOURCE = """
import dlt

@dlt.resource(columns={{"at": {{"data_type": "timestamp"}}}})
def readings():
    for start in range(0, {rows}, 1_000):
        yield [
            {{"id": n, "at": "2024-01-01T00:00:00Z", "name": f"sensor {{n % 100}}", "value": n / 4}}
            for n in range(start, min(start + 1_000, {rows}))
        ]
"""


def measure(options: Options) -> Section:
    """Both in one process and one lake, in turns; a process's start, which both have, is measured beside them."""
    section, runs = Section(), min(options.runs, 3)
    for size in SIZES:
        rows = options.scaled(size)
        ours = Measured(f"{rows:,} rows, Dagster run")
        peer = Measured(f"{rows:,} rows, dlt alone", "dlt.pipeline(…, destination=ducklake).run(source)")
        start = Measured("a process's start", "python -c 'import lakehouse_assets.definitions, dlt.destinations'")
        with throwaway() as lakehouse, tempfile.TemporaryDirectory(prefix="lakehouse-bench-") as folder:
            begin = partial(lakehouse.command, "python", *start.command.replace("'", "").split(maxsplit=2)[1:])
            begin()  # the manifests are made once
            start.samples += [begin() for _ in range(runs)]
            inside = "benchmarks.cases.ordinary_source:inside"
            answer = lakehouse.call(inside, rows=rows, runs=runs, folder=folder)
        ours.samples, peer.samples = (Measured.of(one).samples for one in answer)
        section.comparison([ours, peer, start], peer=peer)
        of_cpu, of_clock = (ratio(_with(ours, start), _with(peer, start), what) for what in ("cpu_seconds", "seconds"))
        told = f"{rows:,} rows: at most {TARGET} times dlt alone, each with one process's start"
        section.judge(told, f"{of_cpu:.2f} times its CPU, {of_clock:.2f} by the clock", of_cpu <= TARGET)
    return section


def _with(one: Measured, start: Measured) -> Measured:
    pairs = zip(one.samples, start.samples, strict=True)
    return Measured(one.name, samples=[Sample(a.seconds + b.seconds, a.cpu_seconds + b.cpu_seconds) for a, b in pairs])


def inside(rows: int, runs: int, folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """In a child: load a new source each time, our way and dlt's, both into the same lake."""
    import dagster as dg

    from lakehouse_assets.defs.ingestion import sources

    sources.SOURCES_DIR = Path(folder)
    ours, peer = Measured("ours"), Measured("peer")
    with dg.DagsterInstance.ephemeral() as instance:
        ways = [(ours, "ours", partial(_run, instance)), (peer, "bare", _run_bare)]
        for turn in range(runs + 1):  # the first imports what both need
            for measured, name, load in ways:
                path = Path(folder) / f"{name}_{turn}.py"
                path.write_text(SOURCE.format(rows=rows if turn else 1))
                sources.sources.cache_clear()
                sources.source_named(path.stem)  # reads the file, as the code location does when it comes up
                measured.samples.append(timed(partial(load, path.stem)))
    del ours.samples[0], peer.samples[0]
    return ours.plain(), peer.plain()


def _run(instance: Any, source: str) -> None:
    import dagster as dg

    from lakehouse_assets.defs.ingestion.assets import source_assets
    from lakehouse_assets.resources import LakeResource

    dg.materialize([source_assets(source)], resources={"lake": LakeResource()}, instance=instance)


def _run_bare(source: str) -> None:
    from lakehouse.lake.ducklake import Lake
    from lakehouse.settings import load_settings
    from lakehouse.writing.pipelines import lake_pipeline
    from lakehouse_assets.defs.ingestion.source_files import read
    from lakehouse_assets.defs.ingestion.sources import file_of

    found = read(file_of(source))
    assert found is not None
    lake_pipeline(Lake(load_settings()), source).run(found.source).raise_on_failed_jobs()


CASE = Case(
    "source",
    "An ordinary source beside dlt alone",
    "A dlt resource of rows as dicts, appended, loaded by a Dagster run in process (locks and marks, drift, touched "
    "ranges, what the asset's page shows), and by `pipeline.run()` with the same settings into the same lake; each is "
    "its first. The CPU is the process's own.",
    measure,
)
