"""JSON Lines, and JSON arrays of any size: an object is a row, and numbers stay as they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from dlt_sources.landing.text_table import Number, RowProblem

CHUNK = 1 << 20
MOST_CHARACTERS = 1 << 24
"""Of one object."""
_BLANKS = re.compile(r"[ \t\r\n]*")


def json_rows(path: Path, encoding: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each object of a file, with the line that it begins on. Raises RowProblem."""
    with path.open("rb") as start:
        has_mark = start.read(3) == b"\xef\xbb\xbf"
    with path.open(encoding="utf-8-sig" if has_mark else encoding, newline="\n") as file:
        text = _Text(file)
        try:
            yield from _objects(text)
        except UnicodeError as error:
            raise RowProblem(f"behind line {text.line}: bytes that are no text in {encoding}") from error
        except RecursionError:
            raise RowProblem(f"line {text.line}: an object that is nested too deep") from None


def _objects(text: _Text) -> Iterator[tuple[int, dict[str, Any]]]:
    if not (sign := text.sign()):
        raise RowProblem("the file is empty")
    is_array, is_first = sign == "[", True
    text.at += is_array
    while sign := text.sign():
        if is_array and sign == "]":
            text.at += 1
            if text.sign():
                raise RowProblem(f"line {text.line}: there is text behind the end of the array")
            return
        if is_array and not is_first and sign == ",":
            text.at += 1
            sign = text.sign()
        elif is_array and not is_first:
            raise RowProblem(f"line {text.line}: no comma between two objects")
        if sign != "{":
            raise RowProblem(f"line {text.line}: wanted is an object for each row, not {text.shown()!r}")
        line = text.line
        yield line, text.object()
        is_first = False
    if is_array:
        raise RowProblem(f"line {text.line}: the array has no end: the file is cut short")


class _Text:
    """A file's text, of which no more than a chunk and an object is in memory."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at, self.line = file, "", 0, 1
        self.decoder = json.JSONDecoder(
            object_pairs_hook=_object, parse_float=Number, parse_int=Number, parse_constant=_refuse_constant
        )

    def sign(self) -> str:
        """The next character that is no blank; "" at the end."""
        while True:
            found = _BLANKS.match(self.text, self.at)
            end = found.end() if found else self.at
            self.line += self.text.count("\n", self.at, end)
            self.at = end
            if end < len(self.text):
                return self.text[end]
            self.text, self.at = self.file.read(CHUNK), 0
            if not self.text:
                return ""

    def object(self) -> dict[str, Any]:
        """The object that begins here."""
        while True:
            try:
                row, end = self.decoder.raw_decode(self.text, self.at)
            except json.JSONDecodeError as error:
                rest = self.text[self.at :]
                more = self.file.read(CHUNK) if len(rest) < MOST_CHARACTERS else ""
                if not more:
                    line = self.line + self.text.count("\n", self.at, error.pos)
                    raise RowProblem(f"line {line}: no readable JSON: {error.msg}") from error
                self.text, self.at = rest + more, 0
                continue
            except RowProblem as problem:
                raise RowProblem(f"line {self.line}: {problem}") from None
            self.line += self.text.count("\n", self.at, end)
            self.at = end
            return dict(row)

    def shown(self) -> str:
        """What stands here, for a sentence."""
        return self.text[self.at : self.at + 20]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise RowProblem(f"{twice[:80]!r} is there twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise RowProblem(f"{name} is no JSON")
