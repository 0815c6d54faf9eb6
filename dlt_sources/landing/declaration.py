"""Read a dataset's declaration, and say in a sentence what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from dlt_sources.landing import dialect
from dlt_sources.landing.landed import FORMATS, WHEN_DELETED, Dataset
from dlt_sources.landing.naming import column_name
from dlt_sources.landing.tables import Column

NAME = re.compile(r"[a-z][a-z0-9_]*")
TEXTS = ("entity", "description", "pattern", "event_time", "when_deleted")
LISTS = ("formats", "key", "null_texts")


class DeclarationError(ValueError):
    """The declaration can't be used; the message names file and field, and says what is wanted."""


def parse(name: str, declared: Mapping[str, Any]) -> Dataset:
    """The dataset that a declaration describes. Raises DeclarationError, which tells all its faults at once."""
    where = f"dlt_sources/datasets/{name}.toml"
    if faults := list(_faults(name, declared)):
        raise DeclarationError("\n  ".join([f"{where}: {faults[0]}", *faults[1:]]))
    values = dict(declared) | {field: tuple(declared[field]) for field in LISTS if field in declared}
    values["columns"] = tuple(_column(column, hints) for column, hints in declared["columns"].items())
    values["dialect"] = dialect.Dialect(**{field: values.pop(field) for field in dialect.FIELDS if field in values})
    return Dataset(name=name, **values)


def _faults(name: str, declared: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each."""
    known = [field.name for field in fields(Dataset) if field.name not in ("name", "dialect")] + [*dialect.FIELDS]
    yield from _unknown(declared, known, "a field")
    required = [field.name for field in fields(Dataset) if field.default is MISSING and field.name != "name"]
    if missing := [field for field in required if field not in declared]:
        yield f"{', '.join(missing)} is missing"
    columns = declared.get("columns", {})
    if not isinstance(columns, dict) or (not columns and "columns" in declared):
        yield "[columns] names no column"
        columns = {}
    for field in TEXTS:
        if not isinstance(declared.get(field, ""), str):
            yield f"{field} must be a text"
    for field in LISTS:
        value = declared.get(field, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            yield f"{field} must be a list of texts"
        elif field == "formats":
            yield from _unknown(value, FORMATS, "a format")
    yield from dialect.faults(declared)
    yield from _unknown([str(declared.get("when_deleted", WHEN_DELETED[0]))], WHEN_DELETED, "a value of when_deleted")
    for identifier in (name, declared.get("entity", "entity"), *columns):
        if not NAME.fullmatch(str(identifier)):
            yield f"{identifier!r} is no name: small letters, digits and _, a letter first"
    for column, hints in columns.items():
        yield from _faults_of_column(column, hints)
    key = declared.get("key", [])
    for column in (declared.get("event_time"), *(key if isinstance(key, list) else ())):
        if isinstance(column, str) and columns and column not in columns:
            yield f"{column} is named but is none of [columns]"
    yield from _faults_of_names(columns)


def _faults_of_column(name: str, hints: Any) -> Iterator[str]:
    if not isinstance(hints, dict):
        yield f'column {name}: wanted is {{ type = "…", description = "…" }}'
        return
    yield from _unknown(
        hints, [field.name for field in fields(Column) if field.name != "name"], f"a field of column {name}"
    )
    if missing := [field for field in ("type", "description") if not isinstance(hints.get(field), str)]:
        yield f"column {name}: {' and '.join(missing)} is missing"
    aliases = hints.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) and alias.strip() for alias in aliases):
        yield f"column {name}: aliases must be a list of texts"
    if not isinstance(hints.get("required", False), bool):
        yield f"column {name}: required must be true or false"
    if isinstance(hints.get("type"), str):
        try:
            Column(name, hints["type"], "").dlt_hints()
        except ValueError as error:
            yield str(error)


def _faults_of_names(columns: Mapping[str, Any]) -> Iterator[str]:
    """One header can't be two columns."""
    taken: dict[str, str] = {}
    for column, hints in columns.items():
        aliases = hints.get("aliases", []) if isinstance(hints, dict) else []
        for name in (column, *(aliases if isinstance(aliases, list) else ())):
            if isinstance(name, str) and name.strip() and taken.setdefault(column_name(name), column) != column:
                yield f"column {column}: {name} is the column {taken[column_name(name)]} already"


def _column(name: str, hints: Mapping[str, Any]) -> Column:
    kind = hints["type"].replace(" ", "")
    return Column(name, kind, hints["description"], tuple(hints.get("aliases", ())), hints.get("required"))


def _unknown(given: Iterable[str], known: Iterable[str], what: str) -> Iterator[str]:
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
            yield f"{name} is not {what}: {hint}"
