"""Rows as a Markdown table, as Dagster's pages show it, and as one of plain text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

TEXT_WIDTH, TEXT_CELL = 78, 32


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a header line; text of a cell is cut at 80 characters, NULL is shown as —."""
    head = "| " + " | ".join(_cell(column) for column in columns) + " |"
    rule = "|" + " --- |" * len(columns)
    body = ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join([head, rule, *body])


def text_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """The first columns, as many as fit a terminal of 80 characters, and the names of the others."""
    found = [[_text(value, TEXT_CELL) for value in row] for row in (columns, *rows)]
    widths = [max(map(len, cells)) for cells in zip(*found, strict=True)]
    shown = len(widths)
    while shown > 1 and sum(widths[:shown]) + 2 * (shown - 1) > TEXT_WIDTH:
        shown -= 1
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row[:shown], widths, strict=False)).rstrip() for row in found
    ]
    rest = ", ".join(columns[shown:])
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:], *([f"(and {rest})"] if rest else [])])


def read_table(text: str) -> tuple[list[str], list[list[str]]]:
    """Columns and cells of a Markdown table."""
    head, _, *rows = ([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in text.splitlines())
    return head, [[cell.replace("\\|", "|") for cell in row] for row in rows]


def _cell(value: object) -> str:
    return _text(value, 80).replace("|", "\\|")


def _text(value: object, longest: int) -> str:
    if value is None or value != value:  # NaN and NaT are not equal to themselves
        return "—"
    text = "".join(c if c.isprintable() else "·" for c in " ".join(str(value).split()))  # it may reach a terminal
    return text if len(text) <= longest else text[: longest - 1] + "…"
