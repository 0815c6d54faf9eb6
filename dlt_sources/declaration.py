"""Read a dataset's declaration, and say in a sentence what is wrong with it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from dlt_sources.landed import FORMATS, WHEN_DELETED, Dataset
from dlt_sources.tables import Column

NAME = re.compile(r"[a-z][a-z0-9_]*")
TEXTS = ("entity", "description", "pattern", "event_time", "delimiter", "when_deleted")
LISTS = ("formats", "key")


class DeclarationError(ValueError):
    """The declaration can't be used; the message names file and field, and says what is wanted."""


def parse(name: str, declared: Mapping[str, Any]) -> Dataset:
    """The dataset that a declaration describes. Raises DeclarationError."""
    try:
        return _dataset(name, declared)
    except (ValueError, TypeError) as error:
        raise DeclarationError(f"dlt_sources/datasets/{name}.toml: {error}") from error


def _dataset(name: str, declared: Mapping[str, Any]) -> Dataset:
    known = [field.name for field in fields(Dataset) if field.name != "name"]
    _refuse_unknown(declared, known, "a field")
    required = [field.name for field in fields(Dataset) if field.default is MISSING and field.name != "name"]
    if missing := [field for field in required if field not in declared]:
        raise ValueError(f"{', '.join(missing)} is missing")
    if not isinstance(declared["columns"], dict) or not declared["columns"]:
        raise ValueError("[columns] names no column")
    for field in TEXTS:
        if not isinstance(declared.get(field, ""), str):
            raise ValueError(f"{field} must be a text")
    for field in LISTS:
        value = declared.get(field, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError(f"{field} must be a list of texts")
    for identifier in (name, declared["entity"], *declared["columns"]):
        if not NAME.fullmatch(identifier):
            raise ValueError(f"{identifier!r} is no name: small letters, digits and _, a letter first")
    values = dict(declared) | {field: tuple(declared[field]) for field in LISTS if field in declared}
    values["columns"] = tuple(_column(column, hints) for column, hints in declared["columns"].items())
    dataset = Dataset(name=name, **values)
    for column in (dataset.event_time, *dataset.key):
        if column not in declared["columns"]:
            raise ValueError(f"{column} is named but is none of [columns]")
    for value in dataset.formats:
        _refuse_unknown([value], FORMATS, "a format")
    _refuse_unknown([dataset.when_deleted], WHEN_DELETED, "a value of when_deleted")
    return dataset


def _column(name: str, hints: Any) -> Column:
    if not isinstance(hints, dict):
        raise ValueError(f'column {name}: wanted is {{ type = "…", description = "…" }}')
    _refuse_unknown(
        hints, [field.name for field in fields(Column) if field.name != "name"], f"a field of column {name}"
    )
    if missing := [field for field in ("type", "description") if not isinstance(hints.get(field), str)]:
        raise ValueError(f"column {name}: {' and '.join(missing)} is missing")
    column = Column(
        name, hints["type"], hints["description"], tuple(hints.get("aliases", ())), bool(hints.get("required", False))
    )
    column.dlt_hints()  # raises for a type that nobody knows
    return column


def _refuse_unknown(given: Iterable[str], known: Iterable[str], what: str) -> None:
    known = list(known)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
            raise ValueError(f"{name} is not {what}: {hint}")
