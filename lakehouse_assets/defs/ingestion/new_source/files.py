"""Files in a bucket or folder as a new source, read by dlt's `filesystem`."""

from __future__ import annotations

from typing import Any

from lakehouse.wording import plural
from lakehouse_assets.defs.ingestion.new_source.parts import (
    NONE,
    Asking,
    Given,
    NewSourceError,
    Written,
    code,
    variable,
)

READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".jsonl": "read_jsonl", ".ndjson": "read_jsonl"}


def make(given: Given, asking: Asking) -> Written:
    """Look at the files and ask what they don't say. Raises NewSourceError."""
    folder, glob = _split(given.address)
    reader = next((name for ending, name in READERS.items() if glob.removesuffix(".gz").endswith(ending)), None)
    if reader is None:
        raise NewSourceError(f"{glob}: what ends in {', '.join(READERS)} can be read, as in {folder}/*.parquet.")
    count, columns = _look(given, folder, glob, reader)
    table = given.tables[0] if given.tables else given.name
    wanted = given.keys.get(table, "")
    if not wanted:
        choice = f"{', '.join(columns)}, or {NONE}" if columns else f"or {NONE}"
        wanted = asking.ask(f"Which columns tell rows apart? {choice}", NONE, f"--key {table}=COLUMN")
    key = [] if wanted == NONE else [one.strip() for one in wanted.split(",")]
    if columns and (missing := [one for one in key if one not in columns]):
        raise NewSourceError(f"There is no column {', '.join(missing)}. There are: {', '.join(columns)}.")
    hints: dict[str, Any] = {"primary_key": key[0] if len(key) == 1 else key} if key else {}
    hints["write_disposition"] = "merge" if key else "append"
    again = "its rows take the place of the old ones" if key else "all its rows are added again"
    words = ", ".join(f"{name}={code(value)}" for name, value in hints.items())
    text = (
        f'"""Files {glob} in {folder}"""\n\n'
        f"import dlt\nfrom dlt.sources.filesystem import filesystem, {reader}\n\n"
        f"# Files that came since the last load are read. One that is written anew is read anew: {again}.\n"
        f"files = filesystem(\n    bucket_url={code(folder)},\n    file_glob={code(glob)},\n"
        '    incremental=dlt.sources.incremental("modification_date"),\n)\n'
        f"{given.name} = (files | {reader}({'use_pyarrow=True' if reader == 'read_parquet' else ''}))"
        f".with_name({code(table)})\n{given.name}.apply_hints({words})\n"
    )
    told = f"key {', '.join(key)}" if key else "no key"
    said = f"{told}; {plural(count, 'file')} now; new ones are added"
    return Written(text, [(table, said)])


def _split(address: str) -> tuple[str, str]:
    """The folder and the pattern below it."""
    scheme, _, rest = address.partition("://")
    parts = rest.split("/")
    fixed = next((number for number, part in enumerate(parts) if any(sign in part for sign in "*?[")), len(parts) - 1)
    if fixed == 0 or (not parts[0] and fixed < 2):
        raise NewSourceError(
            f"{address}: a bucket or folder and a pattern are wanted, as s3://bucket/orders/*.parquet."
        )
    return f"{scheme}://{'/'.join(parts[:fixed])}", "/".join(parts[fixed:])


def _look(given: Given, folder: str, glob: str, reader: str) -> tuple[int, list[str]]:
    """How many files there are, and a Parquet file's columns."""
    from dlt.sources.filesystem import filesystem

    from lakehouse.settings import load_settings
    from lakehouse_assets.defs.ingestion.loading import innermost
    from lakehouse_assets.defs.ingestion.source_settings import settings_of

    with settings_of(given.name, load_settings()) as settings:
        try:
            found = list(filesystem(bucket_url=folder, file_glob=glob))
            columns: list[str] = []
            if found and reader == "read_parquet":
                import pyarrow.parquet

                with found[0].open() as file:
                    columns = pyarrow.parquet.read_schema(file).names
        except Exception as error:
            said = settings.without_secrets(innermost(error))
            keys = variable(given.name, "credentials__aws_access_key_id")
            where = f" Its key: {keys}, …__AWS_SECRET_ACCESS_KEY." if folder.startswith("s3://") else ""
            raise NewSourceError(f"{folder} can't be read: {said}.{where}") from None
    if not found:
        raise NewSourceError(f"No file in {folder} is named {glob}.")
    return len(found), columns
