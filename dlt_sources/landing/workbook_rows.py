"""The rows of a sheet of an Excel workbook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from dlt_sources.landing.dialect import Dialect
from dlt_sources.landing.text_table import Number, RowProblem

EXACT = 1 << 53


def workbook_rows(path: Path, dialect: Dialect) -> tuple[list[list[str]], Iterator[tuple[int, dict[int, Any]]]]:
    """The lines of the header, and each row with its number in the sheet; rows without a value are none.

    Raises RowProblem.
    """
    from python_calamine import CalamineError, CalamineWorkbook, WorksheetNotFound

    try:
        book = CalamineWorkbook.from_path(path)
        sheet = book.get_sheet_by_name(dialect.sheet) if dialect.sheet else book.get_sheet_by_index(0)
        lines: Iterator[tuple[int, list[Any]]] = enumerate(sheet.iter_rows(), start=1)
    except WorksheetNotFound:
        sheets = ", ".join(book.sheet_names)
        raise RowProblem(f"no sheet {dialect.sheet or 'at all'}; the workbook's sheets are: {sheets[:300]}") from None
    except (CalamineError, OSError, ValueError) as error:
        raise RowProblem(f"no readable workbook: {str(error)[:200]}") from error
    header: list[list[str]] = []
    for number, cells in lines:
        if len(header) == dialect.header_rows:
            lines = _put_back((number, cells), lines)
            break
        if number > dialect.skip_rows and any(cell != "" for cell in cells):
            header.append([_name(cell) for cell in cells])
    if len(header) < dialect.header_rows:
        raise RowProblem("the sheet is empty" if not header else f"it has no {dialect.header_rows} lines of a header")
    return header, _rows(lines, dialect.skip_rows)


def _rows(lines: Iterator[tuple[int, list[Any]]], skipped: int) -> Iterator[tuple[int, dict[int, Any]]]:
    for number, cells in lines:
        row = {index: _exact(cell) for index, cell in enumerate(cells) if cell != ""}
        if row and number > skipped:
            yield number, row


def _put_back(first: tuple[int, list[Any]], rest: Iterator[tuple[int, list[Any]]]) -> Iterator[tuple[int, list[Any]]]:
    yield first
    yield from rest


def _name(cell: Any) -> str:
    return str(_exact(cell)).strip()


def _exact(cell: Any) -> Any:
    """A number as the shortest text that is it: a workbook holds DOUBLEs, past 2^53 not every whole number."""
    if not isinstance(cell, float):
        return cell
    if cell == int(cell) and abs(cell) <= EXACT:
        return Number(int(cell))
    return Number(repr(cell) if abs(cell) < EXACT else f"{cell:.16e}")
