"""Commands of `lakehouse` around the landing zone: upload, files, files restore, files delete."""

from __future__ import annotations

import difflib
import getpass
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn
from rich.table import Table
from typer.core import TyperGroup

from dlt_sources.datasets import dataset, dataset_names
from dlt_sources.landing.landed import printable
from lakehouse.cli.console import err, fail, out
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.landing import versions as landing
from lakehouse.landing.versions import FileEntry
from lakehouse.settings import load_settings
from lakehouse_assets.cli import GraphCommands, datasets

if TYPE_CHECKING:
    from lakehouse_assets.defs.ingestion.uploading import Candidate, Outcome, Upload

COLOURS = {"loaded": "green", "waiting": "yellow", "refused": "red", "quarantined": "red", "gone": "dim"}


class ListingGroup(TyperGroup):
    """`files NAME` means `files list NAME`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """What begins with no command of ours is for `list`."""
        if not args or (args[0] not in self.commands and args[0] != "--help"):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = GraphCommands()
files_app = GraphCommands(cls=ListingGroup, help="Landed files: size, time, rows, load state; restore and delete them.")
app.add_typer(files_app, name="files")
app.add_typer(datasets.app, name="dataset")


@app.command()
def upload(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files and folders.")],
    name: Annotated[str, typer.Option("--dataset", "-d", help="The dataset that they belong to.")],
    force: Annotated[bool, typer.Option("--force", help="Put a refused file into quarantine.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, max=32, help="Files at a time.")] = 4,
) -> None:
    """Put files into the landing zone. What a load would refuse is refused here, before it travels."""
    known_dataset(name)
    from lakehouse_assets.defs.ingestion import uploading

    given = uploading.candidates(paths)
    with uploading.open_upload(Lake(load_settings()), name, force=force, by=getpass.getuser()) as work:
        outcomes = _send(work, given, jobs)
    _tell(outcomes, name, force=force)


@files_app.command("list")
def list_files(
    name: Annotated[str, typer.Argument(metavar="[DATASET]", help="A dataset; default: every one.")] = "",
    versions: Annotated[bool, typer.Option("--versions", help="Every version that is kept.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="An array of records.")] = False,
) -> None:
    """List landed files: size, time (UTC), rows, and whether they are loaded. `files DATASET` does the same."""
    if name:
        known_dataset(name)
    listed = landing.versions if versions else landing.files
    lake = Lake(load_settings())
    with closing(connect(lake.settings)) as connection:
        entries = [
            entry for each in ([name] if name else dataset_names()) for entry in listed(lake.storage, connection, each)
        ]
    if as_json:
        json.dump([_record(entry) for entry in entries], sys.stdout, indent=2, ensure_ascii=False)
        print()
    elif entries:
        _print(entries, versions=versions)
    else:
        where = f"the dataset {name}" if name else "the landing zone"
        out.print(f"No file in {where} yet: `lakehouse upload PATH --dataset {name or 'NAME'}`.", highlight=False)


@files_app.command("restore")
def restore_file(
    key: Annotated[str, typer.Argument(help="dataset/file, as `lakehouse files` shows it.")],
    version: Annotated[str, typer.Option("--version", help="From `lakehouse files DATASET --versions`.")],
) -> None:
    """Make an earlier version of a file the current one. The next load replaces exactly its rows."""
    restored = landing.restore(Lake(load_settings()).storage, key, version)
    out.print(
        f"{restored.key.removeprefix('landing/')} is again as it was at {_time(restored.modified_at)} UTC; "
        "the next load replaces its rows.",
        highlight=False,
        markup=False,
    )


@files_app.command("delete")
def delete_file(
    key: Annotated[str, typer.Argument(help="dataset/file, as `lakehouse files` shows it.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete a landed file; it stays as a version. Its rows stay or go, as the dataset declares."""
    lake = Lake(load_settings())
    found = landing.find(lake.storage, key)
    effect = _effect_of_deletion(found.key)
    if not yes:
        typer.confirm(f"Delete {found.key}? {effect}", abort=True)
    with closing(connect(lake.settings)) as connection:
        landing.delete(lake.storage, connection, found)
    out.print(f"Deleted {found.key}. {effect}", highlight=False, markup=False)


def known_dataset(name: str) -> None:
    """Exit code 2 with the near name and the list, when there is no such dataset."""
    names = dataset_names()
    if name in names:
        return
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    fail(f"There is no dataset {name}. {hint}Datasets: {', '.join(names)}.", 2)


def _send(work: Upload, given: list[Candidate], jobs: int) -> list[Outcome]:
    """Several files at a time, with a bar over all bytes and one for each file on its way."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        total = progress.add_task(f"{len(given)} files", total=sum(file.size_bytes for file in given))

        def send(file: Candidate) -> Outcome:
            bar = progress.add_task(f"checking {escape(printable(file.name))}", total=file.size_bytes)
            left = file.size_bytes

            def moved(size: int) -> None:
                nonlocal left
                left -= size
                progress.update(bar, advance=size, description=f"sending {escape(printable(file.name))}")
                progress.advance(total, size)

            try:
                return work.send(file, moved)
            finally:
                progress.advance(total, left)  # what needed no transfer is done too
                progress.remove_task(bar)

        with ThreadPoolExecutor(jobs) as pool:
            try:
                return list(pool.map(send, given))
            except KeyboardInterrupt:
                pool.shutdown(cancel_futures=True)
                raise


def _tell(outcomes: list[Outcome], name: str, *, force: bool) -> None:
    """A line a file that is not simply done, then the sums. Exit code 1 when something did not land."""
    from lakehouse_assets.defs.ingestion.uploading import Result

    for outcome in outcomes:
        if outcome.result in (Result.refused, Result.failed, Result.quarantined):
            path = escape(printable(str(outcome.candidate.path)))
            err.print(
                f"[red]{outcome.result}[/red] {path}: {escape(outcome.reason)}",
                highlight=False,
                soft_wrap=True,
            )
    counts = {result: [one for one in outcomes if one.result is result] for result in Result}
    done = counts[Result.uploaded]
    rows = sum(one.rows or 0 for one in done)
    size = _size(sum(one.candidate.size_bytes for one in done))
    parts = [f"{len(done)} uploaded" + (f" ({size}, {rows:,} row{'' if rows == 1 else 's'})" if done else "")]
    if counts[Result.unchanged]:
        parts.append(f"{len(counts[Result.unchanged])} there already, nothing moved")
    parts += [
        f"{len(counts[result])} {text}"
        for result, text in (
            (Result.refused, "refused"),
            (Result.quarantined, "in quarantine"),
            (Result.failed, "failed"),
        )
        if counts[result]
    ]
    out.print(f"{name}: {'; '.join(parts)}.", highlight=False, soft_wrap=True)
    if counts[Result.refused] and not force:
        err.print(
            "Correct what was refused and upload it again; --force puts it into quarantine, where nobody loads it.",
            highlight=False,
            soft_wrap=True,
        )
    if done:
        out.print("While `make up` runs it is loaded within a minute; `lakehouse files` says when.", highlight=False)
    if counts[Result.refused] or counts[Result.failed] or counts[Result.quarantined]:
        raise typer.Exit(1)


def _print(entries: list[FileEntry], *, versions: bool) -> None:
    """A table, and below it what there is to say about single files: reasons are long, terminals are not."""
    shown = _short_versions([entry.version for entry in entries])
    table = Table(box=None, pad_edge=False)
    table.add_column("file", overflow="fold", min_width=16)
    if versions:
        table.add_column("version", overflow="fold")
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("at (UTC)", no_wrap=True)
    table.add_column("rows", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for entry in entries:
        table.add_row(
            escape(printable(entry.key)),
            *([shown[entry.version]] if versions else []),
            "" if entry.size_bytes is None else _size(entry.size_bytes),
            "" if entry.at is None else _time(entry.at),
            "" if entry.rows is None else f"{entry.rows:,}",
            f"[{COLOURS.get(entry.state, 'dim')}]{entry.state}[/]",
        )
    out.print(table)
    told = [(entry, f" {shown[entry.version]}" if versions else "") for entry in entries if entry.detail]
    if told:
        out.print()
    for entry, version in told:
        out.print(
            f"{printable(entry.key)}{version}: {entry.state}, {entry.detail}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )


def _short_versions(versions: list[str]) -> dict[str, str]:
    """As few characters of each as tell it from the others; `restore` takes them."""
    for length in range(8, max(map(len, versions), default=0)):
        if len({version[:length] for version in versions}) == len(set(versions)):
            return {version: version[:length] for version in versions}
    return {version: version for version in versions}


def _record(entry: FileEntry) -> dict[str, Any]:
    at = None if entry.at is None else datetime.fromtimestamp(entry.at, UTC).isoformat()
    return asdict(entry) | {"at": at}


def _effect_of_deletion(key: str) -> str:
    if key.startswith("quarantine/"):
        return "It was loaded by nobody."
    name = key.split("/")[1]
    if name in dataset_names() and dataset(name).when_deleted == "delete_rows":
        return "Its rows go with the next load."
    return "Its rows stay in the lake."


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:,.0f} {unit}" if unit == "B" else f"{size:,.1f} {unit}"
        size /= 1000
    raise AssertionError
