"""The pages of the site, from what is known."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from lakehouse.query.mcp.facts import changes
from lakehouse.releases.manifest import Manifest as Published
from lakehouse_assets.defs.documentation.known import Column, Known, Table
from lakehouse_assets.defs.documentation.lineage import picture
from lakehouse_assets.defs.documentation.markup import (
    code,
    facts,
    grid,
    link,
    paragraphs,
    path_of,
    plot,
    sections,
    when,
)
from lakehouse_assets.defs.ingestion.sources import Source


@dataclass(frozen=True)
class Entry:
    """What search finds: a page, or a place on it."""

    anchor: str
    title: str
    text: str


@dataclass(frozen=True)
class Page:
    """One page. `path` has no ending; `headings`: anchor and words, for its table of contents."""

    path: str
    title: str
    content: str
    headings: Sequence[tuple[str, str]] = ()
    entries: Sequence[Entry] = ()


def pages(known: Known) -> Iterator[Page]:
    """All pages of a site."""
    links = _links(known)
    yield _home(known)
    yield _tables(known)
    yield Page("lineage", "Lineage", picture(known.lineage, known.lineage.above, links))
    yield _checks(known)
    yield _environments(known)
    yield _releases(known)
    for release, before in zip(known.releases, [*known.releases[1:], None], strict=False):
        yield _release(release, before, known)
    yield from _sources(known)
    for table in known.tables.values():
        yield _table_page(known, table, links)


def _links(known: Known) -> dict[str, str]:
    links = {name: f"~/{path_of(name)}.html" for name in known.tables}
    links |= {f"source.{source.name}": f"~/sources/{source.name}.html" for source in known.sources}
    return links | {f"file.{name}": f"{links[name]}#published" for name, one in known.tables.items() if one.published}


# --------------------------------------------------------------------------------------------- a table


def _table_page(known: Known, table: Table, links: dict[str, str]) -> Page:
    around = known.lineage.around(table.name)
    drawn = (
        f'<p class="hint">A column\'s button above shows what it is made of, and what is made of it.</p>'
        f"{picture(known.lineage, around, links, table.name)}"
    )
    run = f"<details><summary>Macros expanded</summary>{code(table.query)}</details>" if table.query else ""
    language = "python" if table.path.endswith(".py") else "sql"
    content, headings = sections([
        ("columns", "Columns", _columns(known, table)),
        ("lineage", "Lineage", drawn),
        ("checks", "Checks", _checks_of(table) if table.checks else ""),
        ("rows", "Rows over time", plot(table.rows, f"Rows of {table.name}")),
        ("published", "What readers get", _published(known, table)),
        ("sample", "Sample", _sample(table)),
        ("written", f"As written: {table.path}", code(table.written, language) if table.written else ""),
        ("run", "As run", run),
    ])  # fmt: skip
    rows = f"{table.rows[-1][1]:,}" if table.rows else ""
    readers = sorted(known.lineage.below.get(table.name, set()) & known.tables.keys())
    read_by = [*map(link, readers), *(["readers of the releases"] if table.published else [])]
    about = facts([
        ("What", f"{escape(table.kind)} of {escape(table.group)}"),
        ("Source", _source_link(table.source) if table.source else ""),
        ("One row per", ", ".join(f"<code>{escape(one)}</code>" for one in table.grain)),
        ("Owner", escape(table.owner)), ("Computed or loaded", escape(table.cron)),
        ("Last", when(table.updated_at)), ("Rows", rows), ("Read by", ", ".join(read_by)),
    ])  # fmt: skip
    entries = [Entry("", table.name, f"{table.description} {table.owner} {table.kind}")]
    entries += [
        Entry(f"#col-{c.name}", f"{table.name} · {c.name}", f"{c.meaning} {c.unit} {c.name.replace('_', ' ')}")
        for c in table.columns
    ]
    entries += [Entry(f"#check-{c.name}", f"{table.name} · check {c.name}", c.call) for c in table.checks]
    return Page(path_of(table.name), table.name, f"{paragraphs(table.description)}{about}{content}", headings, entries)


def _columns(known: Known, table: Table) -> str:
    def name(column: Column) -> str:
        marks = (" <small>key</small>" if column.is_key else "") + (
            " <small>hidden</small>" if column.is_hidden else ""
        )
        return f"<button>{escape(column.name)}</button>{marks}"

    def made_of(column: Column) -> str:
        return ", ".join(
            link(of, f"#col-{name}", f"{of}.{name}") if of in known.tables else escape(f"{of}: {name}")
            for of, name in known.lineage.sources((table.name, column.name))
        )

    def tests(column: Column) -> str:
        named = [one for one in table.checks if column.name.lower() in re.findall(r"\w+", one.call.lower())]
        return ", ".join(f'<a href="#check-{escape(one.name)}">{escape(one.name)}</a>' for one in named)

    with_units = any(c.unit for c in table.columns)
    rows = [
        [name(c), f"<code>{escape(c.type)}</code>", escape(c.meaning), *([escape(c.unit)] if with_units else []),
         tests(c), made_of(c)] for c in table.columns
    ]  # fmt: skip
    head = ["column", "type", "meaning", *(["unit"] if with_units else []), "tests", "from"]
    return grid(head, rows, f"Columns of {table.name}", [f"col-{c.name}" for c in table.columns]) if rows else ""


def _result(result: str) -> str:
    return f'<strong class="failed">{escape(result)}</strong>' if result == "failed" else escape(result)


def _checks_of(table: Table) -> str:
    rows = [
        [f"<code>{escape(one.call)}</code>", "stops a release" if one.blocking else "warns", _result(one.result),
         when(one.at)] for one in table.checks
    ]  # fmt: skip
    head = ["check", "if it fails", "last result", "at"]
    return grid(head, rows, f"Checks of {table.name}", [f"check-{one.name}" for one in table.checks])


def _published(known: Known, table: Table) -> str:
    one = table.published
    if one is None or known.release is None:
        return ""
    files = [[f"<code>{escape(file.path)}</code>", f"{file.rows:,}", f"{file.size_bytes:,}"] for file in one.files[:20]]
    more = f"<p>…and {len(one.files) - 20:,} more files.</p>" if len(one.files) > 20 else ""
    about = facts([
        ("Release", _release_link(known.release)),
        ("As of", when(one.as_of)), ("Rows", f"{one.rows:,}"), ("Bytes", f"{one.size_bytes:,}"),
        ("Stored by", escape(", ".join(one.partitioned_by))),
        ("Ask", f'<code>lakehouse query "FROM {escape(one.name)}"</code>'),
    ])  # fmt: skip
    return f"{about}<details><summary>Files</summary>{grid(['file', 'rows', 'bytes'], files, 'Files')}{more}</details>"


def _sample(table: Table) -> str:
    if not table.sample:
        return ""
    hidden = [column.name for column in table.columns if column.is_hidden]
    note = f"<p>Not shown: {escape(', '.join(hidden))}.</p>" if hidden else ""
    return grid(table.sampled, [list(map(escape, row)) for row in table.sample], "Sample") + note


# -------------------------------------------------------------------------------------------- overviews


def _home(known: Known) -> Page:
    served = [table for table in known.tables.values() if table.published]
    failed = [table for table in known.tables.values() if any(one.result == "failed" for one in table.checks)]
    release = known.release
    number = (
        f'<a href="~/releases/{release.number}.html">{release.number}</a>, {when(release.cut_at)}' if release else ""
    )
    about = facts([
        ("Environment", escape(known.environment)), ("Release", number), ("Tables", f"{len(known.tables):,}"),
        ("Released", f"{len(served):,}"), ("Sources", f"{len(known.sources):,}"),
        ("Failed checks", ", ".join(link(one.name, "#checks") for one in failed)),
    ])  # fmt: skip
    rows = [[link(one.name), escape(_first(one.description)), escape(one.owner)] for one in served]
    content, headings = sections(
        [("released", "What readers get", grid(["table", "what it is", "owner"], rows, "Released tables"))]
    )
    return Page("index", f"The lake: {known.environment}", about + content, headings)


def _release_link(release: Published) -> str:
    return f'<a href="~/releases/{release.number}.html">{release.number}</a>'


def _first(text: str) -> str:
    """Its first sentence."""
    return text.split("\n\n")[0].split(". ")[0].strip().rstrip(".")


def _tables(known: Known) -> Page:
    groups: dict[str, list[Table]] = {}
    for table in known.tables.values():
        groups.setdefault(table.group, []).append(table)
    content, headings = sections(
        (f"group-{group}", group, grid(
            ["table", "kind", "what it is", "rows"],
            [[link(one.name), escape(one.kind), escape(_first(one.description)),
              f"{one.rows[-1][1]:,}" if one.rows else ""] for one in tables],
            f"Tables of {group}",
        ))
        for group, tables in sorted(groups.items())
    )  # fmt: skip
    return Page("tables", "Tables", content, headings)


def _checks(known: Known) -> Page:
    order = {"failed": 0, "passed": 2}
    found = [(order.get(one.result, 1), table.name, one) for table in known.tables.values() for one in table.checks]
    rows = [
        [link(name, f"#check-{one.name}", one.name), link(name), _result(one.result), when(one.at)]
        for _, name, one in sorted(found, key=lambda item: item[:2])
    ]
    return Page("checks", "Checks", grid(["check", "of", "last result", "at"], rows, "Checks"))


def _environments(known: Known) -> Page:
    rows = [[f"<strong>{escape(name)}</strong>" if name == known.environment else escape(name), escape(told)]
            for name, told in known.environments.items()]  # fmt: skip
    ids = [f"environment-{name}" for name in known.environments]
    content = grid(["environment", "readers get"], rows, "Environments", ids)
    entries = [Entry(f"#environment-{name}", f"environment {name}", told) for name, told in known.environments.items()]
    return Page("environments", "Environments", content, entries=entries)


def _sources(known: Known) -> Iterator[Page]:
    rows = [
        [_source_link(one.name), "files" if one.from_files else "API or database",
         escape(_first(one.description)), ", ".join(link(table.full_name) for table in one.tables)]
        for one in known.sources
    ]  # fmt: skip
    yield Page("sources", "Sources", grid(["source", "kind", "what it is", "loads"], rows, "Sources"))
    yield from map(_source, known.sources)


def _source_link(name: str) -> str:
    return f'<a href="~/sources/{escape(name)}.html">{escape(name)}</a>'


def _source(source: Source) -> Page:
    rows = [
        [escape(name), link(table.full_name, f"#col-{column}", f"{table.full_name}.{column}")]
        for table in source.tables
        for column, names in table.fields.items()
        for name in names
    ]
    content, headings = sections([
        ("tables", "Raw tables", grid(["table", "what it is"], [
            [link(table.full_name), escape(_first(table.description))] for table in source.tables], "Raw tables")),
        ("fields", "Fields", grid(["the source's field", "becomes"], rows, "Fields") if rows else ""),
    ])  # fmt: skip
    kind = "files of the landing zone" if source.from_files else "asked by dlt"
    about = facts([
        ("What", kind), ("Owner", escape(source.owner)), ("Loaded", escape(source.schedule)),
        ("Problem", escape(source.problem)),
    ])  # fmt: skip
    entry = Entry("", f"source {source.name}", source.description)
    return Page(
        f"sources/{source.name}",
        f"Source {source.name}",
        paragraphs(source.description) + about + content,
        headings,
        [entry],
    )


def _releases(known: Known) -> Page:
    rows = [
        [_release_link(one), when(one.cut_at), escape(one.author),
         escape(one.code_version), escape("; ".join(one.changed[:3]))] for one in known.releases
    ]  # fmt: skip
    return Page("releases", "Releases", grid(["release", "cut", "by", "code", "changed"], rows, "Releases"))


def _release(release: Published, before: Published | None, known: Known) -> Page:
    about = facts([
        ("Environment", escape(release.environment)), ("Cut", when(release.cut_at)), ("By", escape(release.author)),
        ("Run", escape(release.run)), ("Code", escape(release.code_version)), ("Snapshot", str(release.snapshot)),
    ])  # fmt: skip
    words = [f"<li>{escape(one)}</li>" for one in release.changed]
    differs = [f"<li>{escape(one)}</li>" for one in _differences(before, release)] if before else []
    since = f"Compared with release {before.number}" if before else ""
    held = [f"<li>{escape(', '.join(one['tables']))}: {escape('; '.join(one['reasons']))}</li>" for one in release.held]
    rows = [
        [link(t.name) if t.name in known.tables else escape(t.name), f"{t.rows:,}", f"{t.size_bytes:,}", when(t.as_of)]
        for t in release.tables
    ]
    content, headings = sections([
        ("changed", "What changed", f"<ul>{''.join(words)}</ul>" if words else ""),
        ("since", since, f"<ul>{''.join(differs)}</ul>" if differs else ""),
        ("held", "Left as they were", f"<ul>{''.join(held)}</ul>" if held else ""),
        ("tables", "Tables", grid(["table", "rows", "bytes", "as of"], rows, "Tables of the release")),
    ])  # fmt: skip
    entry = Entry("", f"release {release.number}", " ".join(release.changed))
    return Page(f"releases/{release.number}", f"Release {release.number}", about + content, headings, [entry])


def _differences(before: Published, after: Published) -> Iterator[str]:
    told = changes(before, after)
    for name in told["new_tables"]:
        yield f"{name}: new"
    for name in told["tables_no_longer_served"]:
        yield f"{name}: no longer released"
    for name, differs in told["changed_tables"].items():
        for kind, value in differs.items():
            yield f"{name}: {_difference(kind, value)}"


def _difference(kind: str, value: object) -> str:
    if kind == "rows" and isinstance(value, dict):
        return f"{value['before']:,} → {value['after']:,} rows"
    if kind == "types" and isinstance(value, dict):
        return ", ".join(f"{column} {old} → {new}" for column, (old, new) in value.items())
    if kind == "checks" and isinstance(value, dict):
        old, new = value["before"], value["after"]
        return "checks " + ", ".join(f"{n} {old.get(n, 'none')} → {new.get(n, 'none')}"
                                     for n in sorted(old.keys() | new.keys()) if old.get(n) != new.get(n))  # fmt: skip
    return (
        f"{kind.replace('_', ' ')}: {', '.join(map(str, value))}" if isinstance(value, list) else kind.replace("_", " ")
    )
