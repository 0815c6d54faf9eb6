"""Rows as a Markdown table, as Dagster's pages show it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a header line; text of a cell is cut at 80 characters, NULL is shown as —."""
    head = "| " + " | ".join(_cell(column) for column in columns) + " |"
    rule = "|" + " --- |" * len(columns)
    body = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join([head, rule, *body])


def _cell(value: object) -> str:
    if value is None or value != value:  # NaN and NaT are not equal to themselves
        return "—"
    text = " ".join(str(value).split()).replace("|", "\\|")
    text = "".join(character if character.isprintable() else "·" for character in text)  # it may reach a terminal
    return text if len(text) <= 80 else text[:79] + "…"
