"""A pull request's preview as Markdown for its comment: GitHub, GitLab and Forgejo render it, Mermaid included."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from lakehouse.cli.tables import plain
from lakehouse.wording import duration, plural
from lakehouse_assets.defs.environments.diff_display import details, overview_columns, overview_rows
from lakehouse_assets.defs.environments.diffing import ModelDifference
from lakehouse_assets.defs.environments.pull_requests import TARGET, Computed, Preview
from lakehouse_assets.sqlmesh_integration import markdown

LONGEST = 60_000
"""Characters: GitHub takes 65,536 in a comment."""
FENCED = 4_000
"""Of one sample, or of what is wrong."""
ARROWS = 80
"""A picture with more is not read."""


def marker(environment: str) -> str:
    """The comment's first line, invisible: by it the next preview finds the comment that it replaces."""
    return f"<!-- lakehouse ci preview {environment} -->"


def as_json(found: Preview) -> str:
    """The whole preview as one object, with `ok`."""
    record = {"ok": not found.problem, **asdict(found)}
    return json.dumps(record, default=plain, ensure_ascii=False, indent=2)


def as_markdown(found: Preview) -> str:
    """The comment; what goes over LONGEST characters is left out."""
    text = marker(found.environment)
    for part in _parts(found):
        if len(text) + len(part) > LONGEST:
            more = f"`lakehouse diff {TARGET} {found.environment}`"
            return f"{text}\n\n…and more than a comment holds: {more} has it all.\n"
        text += f"\n\n{part}"
    return f"{text}\n"


def headline(found: Preview) -> str:
    """What is the matter, in one line."""
    if found.problem:
        return f"{found.environment} can't be merged"
    models = [change for change in found.changes if change.change not in ("modified indirectly", "metadata")]
    touched = sum(change.change == "modified indirectly" for change in found.changes)
    if not found.changes:
        return f"No model differs from {TARGET}"
    if not models and not touched:
        return f"{plural(len(found.changes), 'model')} changed in description, audits or schedule only"
    return f"{plural(len(models), 'model')} changed, {touched} more touched"


def _parts(found: Preview) -> Iterator[str]:
    yield f"## {'❌' if found.problem else '✅'} {headline(found)}"
    if found.problem:
        yield _fenced(found.problem)
    if found.changes:
        yield "### Models"
        rows = [
            [f"`{c.name}`", c.change, c.category or "—", "; ".join(_columns(c)) or "—"] for c in found.changes
        ]  # fmt: skip
        yield _table(["model", "change", "effect", "columns"], rows)
        if any(change.is_breaking for change in found.changes):
            yield "Breaking is what does more than add columns, and what reads that."
    if found.checks:
        yield "### Checks"
        yield "\n".join(
            f"- `{one.model}`: {sign} `{audit}`"
            for one in found.checks
            for sign, audits in (("added", one.added), ("removed", one.removed))
            for audit in audits
        )
    if found.pages:
        yield "### Pages of the dashboard"
        yield "\n".join(f"- `{name}` {change}" for _, name, change in (page.split(" ", 2) for page in found.pages))
    if found.difference is None:
        if found.to_compute:
            yield "### To compute"
            yield f"Rows, bytes and time are those of {TARGET}'s tables."
            yield _costs(found.to_compute)
        return
    if found.computed:
        yield "### Computed"
        yield f"In tables that only `{found.environment}` uses; a merge computes none of it again."
        yield _costs(found.computed)
    yield "### What readers notice"
    noticed = [f"- `{m.model}`: {_noticed(m)}" for m in found.difference.models if m.model in found.released]
    yield "\n".join(noticed) or "Nothing: no released table is touched."
    if found.difference.models:
        yield f"### Data, compared with {TARGET}"
        yield _table(overview_columns(found.difference), overview_rows(found.difference))
        for model in found.difference.models:
            told = list(details(found.difference, model))
            if told:
                texts = [_fenced(f"{title}\n\n{markdown.text_table(c, r)}" if c else title) for title, c, r in told]
                yield _folded(f"<code>{model.model}</code>", "\n\n".join(texts))
    if picture := mermaid(found):
        yield _folded("Where the columns that differ come from", f"```mermaid\n{picture}\n```")
    tests = plural(found.unit_tests, "unit test")
    yield f"<sub>{tests} passed. To look closer: `lakehouse diff {TARGET} {found.environment}`.</sub>"


def _costs(tables: Sequence[Computed]) -> str:
    rows = [
        [
            f"`{one.model}`", _day(one.start), _day(one.end), f"{one.intervals:,}" if one.intervals else "as a whole",
            _known(one.rows), _known(one.size_bytes), "—" if one.seconds is None else duration(one.seconds),
        ]
        for one in tables
    ]  # fmt: skip
    if len(tables) > 1:
        sums = [sum(getattr(one, name) or 0 for one in tables) for name in ("rows", "size_bytes", "seconds")]
        rows.append(["**in all**", "", "", "", f"{sums[0]:,}", f"{sums[1]:,}", duration(sums[2])])
    return _table(["model", "from", "until", "intervals", "rows", "bytes", "takes"], rows)


def _known(count: int | None) -> str:
    return "—" if count is None else f"{count:,}"


def _columns(change: object) -> Iterator[str]:
    for label in ("added", "dropped", "retyped"):
        if names := getattr(change, f"columns_{label}"):
            yield f"{label}: {', '.join(names)}"
    if why := getattr(change, "loses_data", ""):
        yield why


def _noticed(model: ModelDifference) -> str:
    one = model.difference
    if one is None:
        return "**gone**: what names it fails" if model.only_in == TARGET else "new"
    facts = []
    if one.columns_removed:
        facts.append(f"**columns gone**: {', '.join(one.columns_removed)}")
    if one.columns_retyped:
        facts.append(f"**other types**: {', '.join(one.columns_retyped)}")
    if one.columns_added:
        facts.append(f"new columns: {', '.join(one.columns_added)}")
    if one.changed:
        below = [name for name, percent in one.column_match_percent.items() if percent < 100]
        facts.append(f"other values in {one.changed:,} of {one.rows_left:,} rows ({', '.join(below)})")
    if one.only_left:
        facts.append(f"{plural(one.only_left, 'row')} gone")
    if one.only_right:
        facts.append(f"{plural(one.only_right, 'row')} new")
    return "; ".join(facts) or "the same columns and rows"


def mermaid(found: Preview) -> str:
    """A flowchart from the raw columns to those that differ, a box a table; empty where none is computed from another.

    Released tables say so.
    """
    nodes: dict[tuple[str, str], str] = {}
    arrows: list[str] = []
    left_out = 0

    def node(table: str, column: str) -> str:
        return nodes.setdefault((table, column), f"c{len(nodes)}")

    for table, columns in found.lineage.items():
        for column, sources in columns.items():
            if len(arrows) + len(sources) > ARROWS:
                left_out += len(sources)
                continue
            target = node(table, column) if sources else ""
            for source in sources:
                upstream, _, name = source.rpartition(".")
                arrows.append(f"  {node(upstream, name)} --> {target}")
    if not arrows:
        return ""
    differing = {m.model for m in found.difference.models} if found.difference else set()
    lines = ["flowchart LR"]
    for number, table in enumerate(dict.fromkeys(table for table, _ in nodes)):
        label = f"{table}, released" if table in found.released else table
        lines.append(f'  subgraph t{number}["{_label(label)}"]')
        lines += [f'    {key}["{_label(column)}"]' for (of, column), key in nodes.items() if of == table]
        lines.append("  end")
        if table in differing:
            lines.append(f"  style t{number} stroke:#d97706,stroke-width:3px")
    lines += arrows
    if left_out:
        lines.append(f'  more["and {plural(left_out, "arrow")} more"]')
    return "\n".join(lines)


def _label(text: str) -> str:
    return re.sub(r"[^\w.,()\- ]", lambda found: f"#{ord(found[0])};", text)


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    return "\n".join(
        ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
        + ["| " + " | ".join(str(value).replace("|", "\\|") for value in row) + " |" for row in rows]
    )


def _fenced(text: str) -> str:
    """Data as nothing but text: no value of a row mentions anybody, loads a picture or ends the fence."""
    shown = text if len(text) <= FENCED else f"{text[:FENCED]}…"
    return "```text\n" + shown.replace("```", "'''") + "\n```"


def _folded(title: str, text: str) -> str:
    return f"<details><summary>{title}</summary>\n\n{text}\n\n</details>"


def _day(moment: object) -> str:
    return f"{moment:%Y-%m-%d}" if moment else "—"
