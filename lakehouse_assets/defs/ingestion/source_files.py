"""Read `dlt_sources/NAME.py` as dlt's users write it: whatever source or resource stands in it, unchanged."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import dlt
from dlt.extract import DltResource
from dlt.extract.decorators import DltSourceFactoryWrapper
from dlt.extract.hints import HintsMeta
from dlt.extract.incremental import Incremental
from dlt.extract.items import DataItemWithMeta, TableNameMeta
from dlt.extract.source import DltSource

from lakehouse.errors import LakehouseError

DECLARATION = "LAKEHOUSE"
OWNER = re.compile(r"team:[\w-]+|[^@\s]+@[^@\s]+\.[^@\s]+")


class SourceFileError(LakehouseError):
    """The file can't be used as a source; the message names it and says why."""


@dataclass(frozen=True)
class Declaration:
    """What a source says beyond dlt's own words: a dict `LAKEHOUSE` in its file, each entry with a default.

    `event_time`: the column that says when a row happened, by table. `count`: by table a function that gives how many
    rows the source itself counts, or that and the condition that they meet. `keep_rest`: of several resources those
    that could be read are loaded where one fails.
    """

    event_time: Mapping[str, str] = field(default_factory=dict)
    count: Mapping[str, Callable[[], int | tuple[int, str]]] = field(default_factory=dict)
    owner: str = "team:ingestion"
    schedule: str = ""
    keep_rest: bool = False
    asked_once: bool = False
    backfill: str = ""


@dataclass(frozen=True)
class SourceFile:
    """One source: everything that its file loads, under its name, its tables behind `NAME__`."""

    source: DltSource
    declaration: Declaration


def read(path: Path) -> SourceFile | None:
    """The source in a file; None where there is none, as in a module that others import.

    Whatever the file raises comes through. Call in `settings_of`.

    Raises:
        SourceFileError: what it holds makes no source.
    """
    name = path.stem
    module = _module(path)
    found = _found(module)
    if not found:
        return None
    resources: dict[str, DltResource] = {}
    for source in found:
        for resource_name, resource in source.resources.items():
            if resource_name in resources:
                raise SourceFileError(f"dlt_sources/{path.name}: two resources are named {resource_name}.")
            resources[resource_name] = resource
    whole = DltSource(found[0].schema.clone(with_name=name), name, list(resources.values()))
    for resource in whole.resources.values():
        _rename_tables(resource, name)
    if getattr(module, "__doc__", None) and not whole.schema.settings.get("description"):
        whole.__doc__ = module.__doc__
    return SourceFile(whole, _declared(path, module, whole))


def _module(path: Path) -> ModuleType:
    """The file, run anew: what it builds can be extracted only once."""
    spec = importlib.util.spec_from_file_location(f"dlt_sources.{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _found(module: ModuleType) -> list[DltSource]:
    """Sources that stand in the module; without any, its resources as one."""
    sources: list[DltSource] = []
    resources: list[DltResource] = []
    for name, value in list(vars(module).items()):
        if name.startswith("_"):
            continue
        if isinstance(value, DltSource):
            sources.append(value)
        elif isinstance(value, DltSourceFactoryWrapper):
            if _is_from(value._f, module) and not _wants_arguments(value._f):
                sources.append(value())
        elif isinstance(value, DltResource) and _is_whole(value, module):
            resources.append(value)
    if sources or not resources:
        return sources
    # The list of files that another resource reads is no table: files = filesystem(…), rows = files | read_csv().
    read = [one._pipe.parent.gen for one in resources if one._pipe.has_parent]
    resources = [one for one in resources if one.name != "filesystem" or not any(one._pipe.gen is gen for gen in read)]
    return [DltSource(dlt.Schema(module.__name__.rpartition(".")[2]), resources[0].section, resources)]


def _is_from(function: Any, module: ModuleType) -> bool:
    return getattr(function, "__module__", None) == module.__name__


def _is_whole(resource: DltResource, module: ModuleType) -> bool:
    """Whether it can be extracted: none that wants arguments or rows, none that is only imported, as `filesystem`."""
    if resource.is_transformer and not resource._pipe.has_parent:
        return False
    function = resource._pipe.gen
    if resource.args_bound or not callable(function):
        return True
    home = sys.modules.get(function.__module__)
    imported = home is not module and any(value is resource for value in list(vars(home).values()))
    return not imported and not _wants_arguments(function)


def _wants_arguments(function: Any) -> bool:
    return any(
        parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        for parameter in inspect.signature(function).parameters.values()
    )


def prefixed(source: str, table: str) -> str:
    """`<source>__<table>`, also where the table's name begins so by itself."""
    return table if table.startswith(f"{source}__") else f"{source}__{table}"


def _prefixed_hint(source: str, name: Any) -> Any:
    return (lambda item: prefixed(source, name(item))) if callable(name) else prefixed(source, name)


def _rename_tables(resource: DltResource, source: str) -> None:
    resource.apply_hints(table_name=_prefixed_hint(source, resource.table_name))

    def rename(item: Any, meta: Any = None) -> Any:
        """What the resource itself sends to a table by name: with the resource's hints, as dlt does it."""
        hints: Any = {}
        if isinstance(meta, TableNameMeta):
            hints = {**(resource._hints or {}), "table_name": prefixed(source, meta.table_name)}
            return DataItemWithMeta(HintsMeta(hints, create_table_variant=True), item)
        if isinstance(meta, HintsMeta) and meta.hints.get("table_name"):
            hints = {**meta.hints, "table_name": _prefixed_hint(source, meta.hints["table_name"])}
            return DataItemWithMeta(HintsMeta(hints, meta.create_table_variant), item)
        return item

    resource.add_step(rename)


def incremental_of(resource: DltResource) -> Incremental[Any] | None:
    """The resource's incremental, wherever it was given: in a hint or as an argument."""
    found: Any = resource.incremental
    found = getattr(found, "incremental", found)
    if found is None and inspect.isfunction(resource._pipe.gen):
        for parameter in inspect.signature(resource._pipe.gen).parameters.values():
            if isinstance(parameter.default, Incremental):
                return parameter.default
    return found if isinstance(found, Incremental) else None


def limit_to(resource: DltResource, start: datetime, end: datetime) -> None:
    """Let the resource load exactly the rows from `start` on and before `end`; its progress stays as it is.

    Raises:
        SourceFileError: it has no incremental on a date or time.
    """
    incremental = incremental_of(resource)
    if incremental is None:
        raise SourceFileError(f"resource {resource.name} has no incremental: a range of days can't be asked of it.")
    like = incremental.initial_value
    values: Any
    if isinstance(like, str):
        texts = (time.isoformat().replace("+00:00", "Z") for time in (start, end))
        values = [text[:10] if len(like) == len("2024-01-01") else text for text in texts]
    elif isinstance(like, date) and not isinstance(like, datetime):
        values = [start.date(), end.date()]
    elif isinstance(like, datetime) and like.tzinfo is None:
        values = [start.replace(tzinfo=None), end.replace(tzinfo=None)]
    else:
        values = [start, end]
    resource.apply_hints(incremental=Incremental(incremental.cursor_path, initial_value=values[0], end_value=values[1]))


def _declared(path: Path, module: ModuleType, source: DltSource) -> Declaration:
    given = dict(getattr(module, DECLARATION, {}))
    known = [one.name for one in fields(Declaration)]
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}."
            raise SourceFileError(f"dlt_sources/{path.name}: {DECLARATION} has no {name}: {hint}")
    if not OWNER.fullmatch(given.get("owner", "team:x")):
        raise SourceFileError(
            f"dlt_sources/{path.name}: owner must be team:name or an address, not {given['owner']!r}."
        )
    if given.get("backfill"):
        date.fromisoformat(given["backfill"])
    if given.get("schedule"):
        from dagster._utils.schedules import is_valid_cron_schedule

        if not is_valid_cron_schedule(given["schedule"]):
            raise SourceFileError(
                f"dlt_sources/{path.name}: {given['schedule']!r} is no cron schedule, as 0 6 * * * is."
            )
    named = source.schema.naming.normalize_tables_path
    for name in ("event_time", "count"):
        given[name] = {named(prefixed(source.name, table)): value for table, value in given.get(name, {}).items()}
    return Declaration(**given)
