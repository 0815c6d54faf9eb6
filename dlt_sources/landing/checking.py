"""Whether a file would load: the load's own reading and typing, without a load."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from dlt_sources.landing.file_reader import FileReader
from dlt_sources.landing.landed import Dataset, local_name
from dlt_sources.landing.typed_parquet import UnusableFile, link_local_file

NO_HEADERS: Mapping[str, str] = {}


def check(
    reader: FileReader,
    dataset: Dataset,
    path: Path,
    name: str,
    known_columns: Mapping[str, str],
    rows_before: int | None,
    headers: Mapping[str, str] = NO_HEADERS,
) -> int:
    """How many rows `path` would bring as the dataset's file `name`.

    `known_columns` are the raw table's and their types, `headers` what files called those that nobody declared,
    `rows_before` the rows that it has from an earlier version.

    Raises:
        UnusableFile: a load would refuse the file; the message says where and why.
        OSError: it can't be read.
    """
    if refusal := dataset.refusal(name):
        raise UnusableFile(refusal)
    with tempfile.TemporaryDirectory(prefix="upload_") as folder:
        local = Path(folder) / local_name(name)
        link_local_file(str(path), local)
        count = reader.write(
            dataset,
            local,
            Path(folder) / "typed.out",
            name,
            known_columns=known_columns,
            headers=headers,
            load_id="check",
        ).rows
    if count == 0 and rows_before:
        raise UnusableFile(dataset.refusal_of_emptied())
    return count
