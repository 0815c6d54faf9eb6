"""Single files from a backup, for a lakehouse that has lost them."""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

import duckdb

from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases.frozen import CATALOG, write_catalog
from lakehouse.releases.manifest import read_manifest
from lakehouse.upkeep.backup import checksums
from lakehouse.upkeep.backup.checking import fetch, holds, is_immutable
from lakehouse.upkeep.backup.manifest import BackupError
from lakehouse.upkeep.backup.place import BackupPlace

MANIFEST = "manifest.json"


def put_back(lake: Lake, place: BackupPlace, keys: Collection[str]) -> list[str]:
    """Give a lakehouse single files back that it has lost or that were damaged. Gives those that it had not whole.

    Only immutable files: they are the same in every backup that names them. A release's frozen catalog, which knows
    where it lies, is built again.

    Raises:
        BackupError: no backup has it whole, or it is a file that may change.
    """
    catalogs = [key for key in keys if key.endswith(f"/{CATALOG}")]
    wanted = [key for key in keys if key not in catalogs]
    for key in wanted:
        if not is_immutable(key) and not key.endswith(f"/{MANIFEST}"):
            raise BackupError(
                f"{key} is no file of the lake or of a release, as `lakehouse verify` names them. "
                "`lakehouse files restore` and `upload` bring landed files back."
            )
    with closing(connect(lake.settings)) as connection:
        recorded = checksums.read(connection)
    manifests = [place.read(stamp) for stamp in reversed(place.stamps())]
    there, done = place.contents(), []
    for key in wanted:
        copies = [file for manifest in manifests if manifest.with_files for file in manifest.files if file.name == key]
        fitting = [file for file in copies if key not in recorded or recorded[key].sha256 == file.sha256]
        if not fitting or fitting[0].key not in there:
            raise BackupError(f"No backup in {place.storage.uri} holds {key} as it was.")
        if holds(lake.storage, key, fitting[0]):
            continue
        with tempfile.TemporaryDirectory(prefix="lakehouse-restore-") as aside:
            copy = fetch(place, fitting[0], Path(aside) / "file")
            lake.storage.upload(copy, key)
        done.append(key)
    for key in catalogs:
        _build_catalog(lake, key)  # over files that are whole by now
    return [*done, *catalogs]


def _build_catalog(lake: Lake, key: str) -> None:
    folder = key.rpartition("/")[0]
    manifest = read_manifest(lake.storage, folder)
    if manifest is None:
        raise BackupError(f"{key} can't be built: {folder}/{MANIFEST} is missing, put that back first.")
    try:
        write_catalog(lake, folder, manifest)
    except duckdb.Error as error:
        raise BackupError(
            f"{key} can't be built: {str(error).splitlines()[0]}\n"
            "Put the files that `lakehouse verify` names back first."
        ) from error
