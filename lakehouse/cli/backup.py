"""`lakehouse backup`, `backups`, `restore`."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, TextColumn
from rich.progress import Progress as Bars

from lakehouse.cli.console import Commands, err, fail, folding_table, out, sentences
from lakehouse.lake.ducklake import Lake
from lakehouse.settings import load_settings
from lakehouse.upkeep.backup import restoring, taking
from lakehouse.upkeep.backup.checking import check as check_backup
from lakehouse.upkeep.backup.manifest import BackupError, BackupManifest, listed
from lakehouse.upkeep.backup.place import BackupPlace
from lakehouse.upkeep.backup.putting_back import put_back
from lakehouse.wording import plural

app = Commands()
PLACE = "A folder on another disk, or s3://bucket/prefix in the store of the settings."
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


@app.command()
def backup(
    to: Annotated[str, typer.Argument(metavar="TO", help=PLACE)],
    keep: Annotated[int | None, typer.Option(help="Then remove all but the newest so many backups.", min=1)] = None,
    without_files: Annotated[
        bool, typer.Option("--without-files", help="Only their checksums: the files are kept safe by other means.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Save everything: catalog, states, release log, and each file that they name. Loads and runs go on meanwhile."""
    settings = load_settings()
    with sentences(OSError), _bar("copying") as progress:
        place = BackupPlace.at(settings, to)
        taken = taking.take(
            Lake(settings), place, with_files=not without_files, run=f"backup by {getpass.getuser()}",
            report=lambda text: err.print(text, highlight=False), progress=progress,
        )  # fmt: skip
        removed, freed = place.keep(keep) if keep else ([], 0)
    manifest = taken.manifest
    if as_json:
        cost = {"files_copied": taken.files_copied, "bytes_copied": taken.bytes_copied, "removed": removed}
        typer.echo(json.dumps(_record(manifest) | cost | {"damaged": list(taken.damaged)}, indent=1))
    else:
        out.print(
            f"Backup {manifest.stamp} is in {place.storage.uri}: {plural(len(manifest.files), 'file')} and the "
            f"database, {decimal(manifest.size_bytes)}, at snapshot {manifest.snapshot}; "
            f"{decimal(taken.bytes_copied)} of it is new there.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
        for note in _notes(manifest):
            out.print(note, highlight=False, soft_wrap=True)
        if removed:
            out.print(f"{plural(len(removed), 'older backup')} removed, {decimal(freed)} freed.", highlight=False)
    _tell_lost(taken)


@app.command()
def backups(where: Annotated[str, typer.Argument(help=PLACE)], as_json: AsJson = False) -> None:
    """List the backups in a place, the newest first."""
    settings = load_settings()
    with sentences(OSError):
        place = BackupPlace.at(settings, where)
        found, damaged = [], []
        for stamp in reversed(place.stamps()):
            try:
                found.append(place.read(stamp))
            except BackupError as error:
                damaged.append(str(error))
    for sentence in damaged:
        err.print(f"[yellow]{escape(sentence)}[/yellow]", highlight=False, soft_wrap=True)
    if as_json:
        typer.echo(json.dumps([_record(manifest) for manifest in found], indent=1))
        return
    if not found:
        out.print(f"There is no backup in {place.storage.uri}.", highlight=False, soft_wrap=True)
        return
    table = folding_table(
        "backup (UTC)", "files", "size", "snapshot", "of", "notes", right=("files", "size", "snapshot")
    )
    for manifest in found:
        table.add_row(
            manifest.stamp, f"{len(manifest.files):,}", decimal(manifest.size_bytes), str(manifest.snapshot),
            manifest.storage, "\n".join(_notes(manifest)),
        )  # fmt: skip
    out.print(table)


@app.command()
def restore(
    source: Annotated[str, typer.Argument(metavar="FROM", help=PLACE)],
    at: Annotated[str, typer.Option("--at", metavar="STAMP", help="This backup; default: the newest.")] = "",
    check: Annotated[bool, typer.Option("--check", help="Only read the backup and compare every checksum.")] = False,
    file: Annotated[
        list[str] | None, typer.Option("--file", metavar="KEY", help="Put only this lost or damaged file back.")
    ] = None,
    create_bucket: Annotated[
        bool, typer.Option("--create-bucket", help="Create the bucket that LAKEHOUSE_STORAGE names, if it is missing.")
    ] = False,
) -> None:
    """Make an empty lakehouse what a backup holds. It may lie elsewhere than the one that was saved."""
    settings = load_settings()
    lake = Lake(settings)
    if file and (at or check):
        fail("--file takes the newest backup that has it: leave --at and --check out.", 2)
    with sentences(OSError), _bar("reading") as progress:
        place = BackupPlace.at(settings, source)
        if file:
            done = put_back(lake, place, file)
            out.print(f"{plural(len(done), 'file')} put back, {len(file) - len(done)} were whole.", highlight=False)
            return
        manifest = place.choose(at)
        if check:
            check_backup(place, manifest, progress)
            out.print(f"Backup {manifest.stamp} is whole: every checksum fits.", highlight=False)
            return
        report = err.print if err.is_terminal else lambda _: None
        without_roles = restoring.restore(
            lake, place, manifest, create_bucket=create_bucket, report=report, progress=progress
        )
    out.print(
        f"Restored {manifest.stamp}: {plural(len(manifest.files), 'file')}, snapshot {manifest.snapshot}. `lakehouse "
        "verify` reads it all; `lakehouse up` starts the services.",
        highlight=False, soft_wrap=True,
    )  # fmt: skip
    for note in [*_notes(manifest), *([escape(without_roles)] if without_roles else [])]:
        out.print(note, highlight=False, soft_wrap=True)


def _record(manifest: BackupManifest) -> dict[str, Any]:
    return {
        "stamp": manifest.stamp,
        "lakehouse_version": manifest.lakehouse_version,
        "postgres_version": manifest.postgres_version,
        "storage": manifest.storage,
        "snapshot": manifest.snapshot,
        "with_files": manifest.with_files,
        "files": len(manifest.files),
        "bytes": manifest.size_bytes,
        "unfinished": list(manifest.unfinished),
        "pipelines_at_work": list(manifest.pipelines_at_work),
        "missing": list(manifest.missing),
    }


def _notes(manifest: BackupManifest) -> list[str]:
    notes = []
    if not manifest.with_files:
        notes.append("Checksums only: the files themselves are kept elsewhere.")
    if manifest.unfinished:
        notes.append(f"Under way then, repaired by the next load or run: {'; '.join(manifest.unfinished)}.")
    if manifest.missing:
        notes.append(f"[yellow]Without {plural(len(manifest.missing), 'file')} that the lakehouse had lost.[/yellow]")
    return notes


def _tell_lost(taken: taking.Taken) -> None:
    """A lakehouse that is not whole is saved as far as it can be, and not silently."""
    lost = [f"{key} is missing" for key in taken.manifest.missing]
    lost += [f"{key} is damaged; the backup has an earlier, whole copy" for key in taken.damaged]
    if lost:
        fail(
            f"The backup is made, but the lakehouse is not whole:\n{listed(lost)}\n`lakehouse verify` says what to do."
        )


@contextmanager
def _bar(doing: str) -> Iterator[taking.Progress]:
    """A progress bar on a terminal, nothing elsewhere."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Bars(*columns, console=err, transient=True, disable=not err.is_terminal) as bars:
        task = bars.add_task(doing, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
