"""Write the file of a new source, as dlt's users write it, after a look at a database, an API or files."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

from lakehouse_assets.defs.ingestion.new_source.parts import (
    Asking,
    Given,
    NewSourceError,
    Written,
    check_name,
    keep_secrets,
)
from lakehouse_assets.defs.ingestion.sources import file_of

KINDS = {
    "http": "apis",
    "https": "apis",
    "s3": "files",
    "gs": "files",
    "az": "files",
    "abfss": "files",
    "file": "files",
}
"""Which module knows an address that begins so; any other is a database's."""


def make(given: Given, asking: Asking) -> Written:
    """Look, ask, and write `dlt_sources/NAME.py` and its secrets. Raises NewSourceError: nothing was written."""
    check_name(given.name)
    scheme, found, _ = given.address.partition("://")
    if not found:
        raise NewSourceError(
            f"{given.address}: an address is wanted, as postgresql://…, https://… or s3://… "
            "Files on this machine: `lakehouse dataset init FILE…`."
        )
    kind = import_module(f"{__name__}.{KINDS.get(scheme.lower(), 'databases')}")  # each imports what it needs
    written: Written = kind.make(given, asking)
    with file_of(given.name).open("x") as file:  # never over a file that came meanwhile
        file.write(written.text)
    if written.secrets:
        keep_secrets(given.name, written.secrets)
    return replace(written, tables=[(raw_name(given.name, table), said) for table, said in written.tables])


def raw_name(source: str, table: str) -> str:
    """What a source's table is called in the lake's zone raw."""
    from dlt.common.normalizers.naming.snake_case import NamingConvention

    from lakehouse_assets.defs.ingestion.source_files import prefixed

    return NamingConvention().normalize_tables_path(prefixed(source, table))
