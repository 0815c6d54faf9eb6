"""What differs between two environments: their models, and the columns and rows of those in different tables."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import duckdb

from lakehouse.lake.differences import IGNORED, TableDifference, compare
from lakehouse.lake.ducklake import ALIAS, Lake
from lakehouse.lake.head import environment_schema
from lakehouse.writing.environments import checked_name
from lakehouse_assets.models import project, resource
from lakehouse_assets.sqlmesh_integration import environments as sqlmesh
from lakehouse_assets.sqlmesh_integration.deploy import RefusedError
from lakehouse_assets.sqlmesh_integration.environments import UnknownEnvironmentError


@dataclass(frozen=True)
class ModelDifference:
    """One model in two environments. `difference` is None where only one of them has it."""

    model: str
    only_in: str = ""
    difference: TableDifference | None = None


@dataclass(frozen=True)
class EnvironmentDifference:
    """How the environment `right` differs from `left`. Models in one shared table are not looked at."""

    left: str
    right: str
    snapshot: int
    """The lake's snapshot at which both were read."""
    models: tuple[ModelDifference, ...]
    shared: tuple[str, ...]
    """The models that both read from the same table: they can't differ."""


def diff(
    lake: Lake, left: str, right: str, model: str = "", *, sample: int = 0, ignored: Sequence[str] = IGNORED
) -> EnvironmentDifference:
    """Compare one model, or every model whose physical tables differ, at one snapshot of the lake.

    Raises:
        RefusedError: an environment or the model doesn't exist, or a view can't be read.
    """
    known = sqlmesh.environment_names(project())
    for name in (left, right):
        if checked_name(name) not in known:
            raise UnknownEnvironmentError(name, known)
    befores, afters = (resource().model_copy(update={"environment": name}).deployed() for name in (left, right))
    names = sorted({*befores, *afters})
    if model:
        names = [_named(model, names)]
    both = [name for name in names if name in befores and name in afters]
    shared = [name for name in both if befores[name].physical_table == afters[name].physical_table]
    snapshot = lake.newest_snapshot()
    found = []
    with closing(lake.connect(snapshot=snapshot)) as connection:
        for name in names:
            if name in shared:
                continue
            if name not in both:
                found.append(ModelDifference(name, only_in=left if name in befores else right))
                continue
            views, grain = (_view(name, left), _view(name, right)), afters[name].grain
            try:
                hidden = befores[name].hidden | afters[name].hidden
                difference = compare(connection, *views, grain, sample=sample, ignored=ignored, hidden=hidden)
            except duckdb.Error as error:
                raise RefusedError(f"{name} can't be compared: {str(error).splitlines()[0]}") from error
            found.append(ModelDifference(name, difference=difference))
    return EnvironmentDifference(left, right, snapshot, tuple(found), tuple(shared))


def _named(model: str, names: Sequence[str]) -> str:
    """The model as `schema.table`, that may be given as its table alone."""
    short = [name for name in names if model in (name, name.split(".")[-1])]
    if len(short) == 1:
        return short[0]
    near = difflib.get_close_matches(model, [*names, *(name.split(".")[-1] for name in names)], n=1)
    raise RefusedError(f"Neither environment has a model {model}" + (f"; did you mean {near[0]}?" if near else "."))


def _view(name: str, environment: str) -> str:
    schema, table = name.split(".")
    return f'{ALIAS}."{environment_schema(schema, environment)}"."{table}"'
