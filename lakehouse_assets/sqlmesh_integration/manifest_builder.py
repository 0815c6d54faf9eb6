"""Reads a SQLMesh project with SQLMesh itself and writes down what the manifest holds."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from lakehouse_assets.sqlmesh_integration.manifest import (
    AuditSpec,
    ColumnSpec,
    ExternalSpec,
    Manifest,
    ModelSpec,
    TableRef,
)
from lakehouse_assets.sqlmesh_integration.names import check_name
from lakehouse_assets.sqlmesh_integration.reasons import ModelsError, error_sentence, is_lock

if TYPE_CHECKING:
    from pathlib import Path

    from sqlmesh import Context
    from sqlmesh.core.audit import StandaloneAudit
    from sqlmesh.core.model import Model

    from lakehouse_assets.sqlmesh_integration.project_files import ProjectFiles

logger = logging.getLogger(__name__)


class ProjectError(ModelsError):
    """The project could not be read; the message says in a sentence which file and why, or what is locked."""

    is_lock = False
    """Nothing is wrong with the project: another process held a file, and it may be free by now."""


def build(project: ProjectFiles, key: str) -> Manifest:
    """The manifest of the project's files as they are now; raises ProjectError."""
    from lakehouse_assets.sqlmesh_integration import engine

    try:
        with engine.session(project) as session:
            reader = _Reader(session.loaded(), project)
            return Manifest(key=key, models=tuple(reader.models()), externals=tuple(reader.externals()))
    except engine.sqlmesh_errors() as error:
        locked = is_lock(error_sentence(error))
        then = "Reload the code location when it is free." if locked else "Fix it, then reload the code location."
        raised = ProjectError(f"{sentence(project, error)}. {then}")
        raised.is_lock = locked
        raise raised from error


def sentence(project: ProjectFiles, error: BaseException) -> str:
    """Which file of the project is wrong, and how; without the colours that parsers put into their messages."""
    told = error_sentence(error)
    told = told if is_lock(told) else " ".join(str(error).split())
    reason = re.sub(r"\x1b\[[0-9;]*m", "", told)
    reason = reason.replace(f"{project.folder}/", "")[:600]
    where = ", ".join(f"{folder.name}/" for folder in project.folders)
    return f"The SQLMesh project in {where} could not be read: {reason}"


class _Reader:
    def __init__(self, context: Context, project: ProjectFiles):
        from lakehouse_assets.sqlmesh_integration import engine

        self.context = context
        self.project = project
        self.naming = engine.environment_naming(context, project.environment)
        self.starts: dict[str, Any] = {}
        self.standalone = self._standalone_audits()

    def models(self) -> Iterator[ModelSpec]:
        seen: dict[str, str] = {}
        for fqn, model in sorted(self.context.models.items()):
            if not (model.kind.is_external or model.kind.is_embedded):
                name = table_ref(fqn).name
                if seen.setdefault(name, fqn) != fqn:
                    raise ValueError(
                        f"{seen[name]} and {fqn} are both {name}, which is how a model is named here: give one of "
                        "them another schema or name"
                    )
                yield self._spec(fqn, model)

    def externals(self) -> Iterator[ExternalSpec]:
        for fqn, model in sorted(self.context.models.items()):
            if model.kind.is_external and (audits := tuple(self._audits(fqn, model))):
                yield ExternalSpec(table_ref(fqn), audits)

    def _spec(self, fqn: str, model: Model) -> ModelSpec:
        from lakehouse_assets.sqlmesh_integration import engine

        inside, outside = self._upstream(model)
        unit = model.interval_unit
        path = engine.file_of(model)
        return ModelSpec(
            fqn=fqn,
            ref=table_ref(fqn),
            kind=model.kind.name.value,
            language="python" if model.is_python else "seed" if model.kind.is_seed else "sql",
            dialect=model.dialect or self.context.default_dialect or "",
            view_name=engine.view_name(fqn, self.naming, model.dialect or self.context.default_dialect),
            depends_on=tuple(sorted({table_ref(up) for up in inside}, key=str)),
            external=tuple(sorted({table_ref(up) for up in outside}, key=str)),
            columns=tuple(self._columns(fqn, model)),
            audits=tuple(self._audits(fqn, model)),
            description=model.description or None,
            owner=model.owner,
            tags=tuple(model.tags),
            cron=model.cron,
            cron_seconds=_longest_wait(model),
            start=unit.cron_floor(self._start(fqn)).isoformat(),
            end=engine.exclusive_end(model),
            interval_unit=unit.value,
            time_column=model.time_column.column.name if model.time_column else None,
            grains=tuple(grain.sql() for grain in model.grains),
            data_hash=model.data_hash,
            path=self._shown(path) if path else None,
            signals=tuple(name or "" for name, _ in model.signals),
            auto_restatement_cron=model.auto_restatement_cron,
            cron_tz=str(model.cron_tz) if model.cron_tz else None,
            hidden=tuple(sorted(self._hidden(model))),
            query=_rendered(model),
        )

    def _shown(self, path: Path) -> str | None:
        if path.is_relative_to(self.project.folder):
            return str(path.relative_to(self.project.folder))
        return str(path) if any(path.is_relative_to(folder) for folder in self.project.folders) else None

    def _audits(self, fqn: str, model: Model) -> Iterator[AuditSpec]:
        from lakehouse_assets.sqlmesh_integration import engine

        own = [AuditSpec(name, audit.name, given, stops) for name, audit, given, stops in engine.named_audits(model)]
        yield from own
        taken = {audit.check_name for audit in own}
        for audit in self.standalone.get(fqn, ()):
            yield replace(audit, check_name=f"{audit.check_name}_standalone") if audit.check_name in taken else audit

    def _standalone_audits(self) -> dict[str, list[AuditSpec]]:
        """By the most downstream model that each reads: its table is the last that a failure can be due to."""
        found: dict[str, list[AuditSpec]] = {}
        for name, audit in sorted(self.context.standalone_audits.items()):
            inside, _ = self._upstream(audit)
            if not inside:
                logger.warning("the standalone audit %s reads no model, so no asset carries it as a check", name)
                continue
            last = max(sorted(inside), key=lambda fqn: len(self.context.dag.upstream(fqn)))
            reads = tuple(sorted({table_ref(up) for up in inside}, key=str))
            found.setdefault(last, []).append(AuditSpec(check_name(name), name, "", blocking=False, reads=reads))
        return found

    def _upstream(self, model: Model | StandaloneAudit) -> tuple[set[str], set[str]]:
        """Tables the model reads: those of the project's models and all others, embedded models seen through."""
        inside: set[str] = set()
        outside: set[str] = set()
        for name in model.depends_on - {model.name, getattr(model, "fqn", None)}:
            parent = self.context.get_model(name)
            if parent is None or parent.kind.is_external:
                outside.add(name)
            elif parent.kind.is_embedded:
                more_inside, more_outside = self._upstream(parent)
                inside |= more_inside
                outside |= more_outside
            else:
                inside.add(parent.fqn)
        return inside, outside

    def _hidden(self, model: Model | StandaloneAudit) -> set[str]:
        from lakehouse_assets.sqlmesh_integration import engine

        seen, waiting, found = set[str](), [model], set[str]()
        while waiting:
            one = waiting.pop()
            found |= engine.hidden_by_tags(one.tags)
            new = set(one.depends_on) - seen
            seen |= new
            waiting += [parent for name in new if (parent := self.context.get_model(name))]
        return found

    def _columns(self, fqn: str, model: Model) -> Iterator[ColumnSpec]:
        for name, data_type in (model.columns_to_types or {}).items():
            yield ColumnSpec(
                name=name,
                type=data_type.sql(model.dialect) if data_type else "UNKNOWN",
                description=model.column_descriptions.get(name),
                sources=tuple(sorted(set(self._sources(fqn, name)))) if model.is_sql else (),
            )

    def _sources(self, fqn: str, column: str) -> Iterator[tuple[str, str, str]]:
        from lakehouse_assets.sqlmesh_integration import engine

        for parent_fqn, columns in engine.column_sources(self.context, fqn, column).items():
            parent = self.context.get_model(parent_fqn)
            ref = table_ref(parent_fqn)
            for parent_column in columns:
                if parent is not None and parent.kind.is_embedded:
                    yield from self._sources(parent.fqn, parent_column)
                elif parent_column != "*":
                    yield ref.schema, ref.table, parent_column

    def _start(self, fqn: str) -> Any:
        """The model's own start, else the earliest of its parents', else one tick of its cron ago."""
        from sqlmesh.utils.date import now, to_datetime

        if fqn not in self.starts:
            model = self.context.models[fqn]
            parents = [up for up in model.depends_on if up in self.context.models and up != fqn]
            parents = [up for up in parents if not self.context.models[up].kind.is_external]
            if model.start:
                self.starts[fqn] = to_datetime(model.start)
            elif parents:
                self.starts[fqn] = min(self._start(up) for up in parents)
            else:
                self.starts[fqn] = model.cron_prev(model.cron_floor(now()))
        return self.starts[fqn]


def _rendered(model: Model) -> str:
    """Its query as SQL; nothing where it has none, or one that can't be rendered before it is run."""
    query = model.render_query() if model.is_sql else None
    return query.sql(dialect=model.dialect, pretty=True) if query is not None else ""


def _longest_wait(model: Model) -> int:
    from sqlmesh.utils.date import to_datetime

    ticks = [to_datetime(model.cron_floor("2024-01-01"))]
    # Past nights and a weekend, however often it ticks by day; past the longest month, however seldom.
    while len(ticks) < 32 or ticks[-1] - ticks[0] < timedelta(days=8):
        ticks.append(to_datetime(model.cron_next(ticks[-1])))
    return max(int((later - tick).total_seconds()) for tick, later in pairwise(ticks))


@lru_cache(maxsize=10_000)
def table_ref(fqn: str) -> TableRef:
    """The parts of a full name."""
    from sqlglot import exp

    table = exp.to_table(fqn)
    return TableRef(schema=table.db, table=table.name, catalog=table.catalog or None)
