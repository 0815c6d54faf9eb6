"""How commands speak: answers on standard output, errors on standard error, exit codes.

0 done, 1 it failed, 2 the command line or a setting is wrong.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import duckdb
import psycopg
import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand

from lakehouse.errors import LakehouseError

DIRECTIONS = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})


class _Escapes(dict[int, str | None]):
    """For `str.translate`: what a terminal would act on, as text. Looked up once a character."""

    def __missing__(self, code: int) -> str | None:
        kind = unicodedata.category(chr(code))
        # Controls, halves of characters, and what turns the direction of the text around or breaks a line.
        acts = kind in ("Cc", "Cs", "Zl", "Zp") or unicodedata.bidirectional(chr(code)) in DIRECTIONS
        known = repr(chr(code))[1:-1] if acts and code not in (0x09, 0x0A) else chr(code)
        self[code] = known
        return known


_ESCAPES = _Escapes()


def printable(text: str) -> str:
    """The same for a terminal: nothing in it moves the cursor, colours, or hides what follows."""
    return text if text.isascii() and text.isprintable() else text.translate(_ESCAPES)


class SafeConsole(Console):
    """A console on which data and other people's errors are text and nothing else."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Its segments: what has a style got it here, not from the text."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


out = SafeConsole()
err = SafeConsole(stderr=True)


def folding_table(*columns: str, title: str | None = None, right: Collection[str] = ()) -> Table:
    """A table whose words a narrow terminal folds and never cuts; `right` names the columns of numbers."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def fail(message: object, code: int = 1) -> NoReturn:
    """Say what is wrong on standard error and end."""
    err.print(Text.assemble(("Error:", "red"), " ", printable(str(message))), highlight=False, soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def sentences(*also: type[Exception]) -> Iterator[None]:
    """What a user can act on, and `also`, as a sentence and an exit code; anything else is a fault of ours."""
    try:
        yield
    except LakehouseError as error:
        fail(error, error.exit_code)
    except also as error:
        fail(error)
    except psycopg.errors.InsufficientPrivilege as error:
        said = error.diag.message_primary
        fail(f"This login may not do that in PostgreSQL: {said}. docs/security.md says which role may.")
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName, psycopg.errors.UndefinedColumn):
        fail(
            "There is no lake yet, or it lacks what this version needs: `lakehouse bootstrap` creates what is missing."
        )
    except (duckdb.Error, psycopg.Error) as error:
        fail(str(error).splitlines()[0])


class Command(TyperCommand):
    """A command that ends in a sentence where a user can act on what went wrong."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        with sentences():
            return super().invoke(ctx)


class Commands(typer.Typer):
    """A group of such commands."""

    kind: type[Command] = Command

    def command(self, name: str | None = None, **given: Any) -> Any:
        """As Typer's."""
        return super().command(name, **{"cls": self.kind, **given})
