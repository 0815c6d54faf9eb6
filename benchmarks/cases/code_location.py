"""Loading the code location beside `import dagster`."""

from __future__ import annotations

from benchmarks.case import Case, Options
from benchmarks.measurement import Measured, Sample, in_turns, ratio
from benchmarks.section import Section
from benchmarks.throwaway import Throwaway, throwaway

TARGET = 2.0
LOAD = "import lakehouse_assets.definitions"


def measure(options: Options) -> Section:
    """Three ways in turns: Dagster alone, ours with the manifests there, ours with the manifests taken away."""
    with throwaway() as lakehouse:
        bare = Measured("import dagster", "python -c 'import dagster'")
        fresh = Measured("our code location, manifests fresh", f"python -c '{LOAD}'")
        naive = Measured("our code location, no manifest", f"rm -r $LAKEHOUSE_DATA_DIR/cache; python -c '{LOAD}'")
        imported(lakehouse, LOAD)  # fills the caches; Python's own files too
        in_turns(
            max(options.runs, 3),
            (bare, lambda: imported(lakehouse, "import dagster")),
            (fresh, lambda: imported(lakehouse, LOAD)),
        )
        in_turns(min(options.runs, 2), (naive, lambda: _without_manifests(lakehouse)))
        imported(lakehouse, LOAD)
    section = Section()
    section.comparison([bare, fresh], peer=bare)
    section.comparison([naive])
    found, of_cpu = ratio(fresh, bare), ratio(fresh, bare, "cpu_seconds")
    section.judge(
        f"at most {TARGET:.0f} times `import dagster`",
        f"{found:.2f} times, {of_cpu:.2f} times its CPU",
        max(found, of_cpu) <= TARGET,
    )
    return section


def imported(lakehouse: Throwaway, code: str) -> Sample:
    """What a Python with this one line costs."""
    return lakehouse.command("python", "-c", code)


def _without_manifests(lakehouse: Throwaway) -> Sample:
    for manifest in lakehouse.settings.cache_dir.rglob("*.json"):
        manifest.unlink()
    return imported(lakehouse, LOAD)


CASE = Case(
    "code-location",
    "Loading the code location",
    "A whole Python process that loads the definitions, beside one that imports Dagster and does nothing.",
    measure,
)
