"""What was extracted from a source that can't be asked twice: kept until it is in the lake."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from lakehouse.lake.ducklake import Lake

if TYPE_CHECKING:
    from dlt import Pipeline


def folder(lake: Lake, pipeline: str) -> Path:
    """Where it lies."""
    return lake.settings.pipelines_dir / f".{pipeline}.extracted"


def keep(lake: Lake, pipeline: Pipeline) -> None:
    """Keep the packages that were extracted and not normalized yet, with the state and schema that belong to them."""
    name = pipeline.pipeline_name
    ids = pipeline.list_extracted_load_packages()
    if not ids:
        return
    kept, half = folder(lake, name), folder(lake, name).with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(pipeline.working_dir, half / "pipeline")
    (half / "load_ids").write_text("\n".join(ids))
    half.rename(kept)


def bring_back(lake: Lake, pipeline: str) -> bool:
    """Put what is kept and not loaded yet into the pipeline's working folder, which isn't there; tells whether any is.

    Call with the pipeline's lock, once nothing of an unfinished load is left in the lake.
    """
    kept = folder(lake, pipeline)
    if not kept.exists():
        return False
    if _is_loaded(lake, (kept / "load_ids").read_text().split()):  # killed after its last commit and mark
        drop(lake, pipeline)
        return False
    shutil.copytree(kept / "pipeline", lake.settings.pipelines_dir / pipeline)
    return True


def drop(lake: Lake, pipeline: str) -> bool:
    """Keep it no more; tells whether there was any."""
    kept = folder(lake, pipeline)
    there = kept.exists()
    shutil.rmtree(kept, ignore_errors=True)
    return there


def _is_loaded(lake: Lake, load_ids: list[str]) -> bool:
    with closing(lake.connect(read_only=True)) as connection:
        try:
            found = connection.execute(
                "SELECT 1 FROM raw._dlt_loads WHERE list_contains(?, load_id)", [load_ids]
            ).fetchone()
        except duckdb.CatalogException:  # nothing was ever loaded
            return False
    return found is not None
