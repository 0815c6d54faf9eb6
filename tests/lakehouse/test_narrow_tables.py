"""What commands print in a terminal of 80 columns: words are folded, nothing of them is lost."""

from __future__ import annotations

import io
from contextlib import closing

from rich.console import Console, RenderableType

from lakehouse.cli import releases as cli
from lakehouse.cli.console import folding_table
from lakehouse.cli.status import render_status
from lakehouse.lake.ducklake import Lake
from lakehouse.lake.postgres import connect
from lakehouse.releases import log

CODE = "25d50cc7e0ec-dirty"
AUTHOR = "sensor ecommerce_landing_sensor"
CHANGED = [f"marts.a_mart_with_a_long_name_{number} is new" for number in range(9)]


def printed(*shown: RenderableType) -> str:
    text = io.StringIO()
    Console(file=text, width=80).print(*shown)
    return text.getvalue()


def waiting_releases(lake: Lake) -> None:
    """One that readers get, three behind it that are not published yet."""
    with closing(connect(lake.settings)) as connection:
        for number in range(4):
            release = log.write(
                connection, "prod", lake.newest_snapshot(), [], code_version=CODE, run=f"run 4bd285d{number}",
                author=AUTHOR, changed=CHANGED,
            )  # fmt: skip
            if number == 0:
                log.published(connection, release)


def test_status_with_releases_that_wait(lake: Lake) -> None:
    waiting_releases(lake)
    lines = printed(render_status(lake)).splitlines()
    assert [line for line in lines if len(line.rstrip()) > 80 or "…" in line] == []
    (row,) = [number for number, line in enumerate(lines) if line.startswith("│ prod")]
    columns = [[part.strip() for part in line.split("│")] for line in lines[row : row + 8] if line.count("│") == 6]
    assert "".join(part[4] for part in columns).startswith(CODE)
    assert " ".join(part[2] for part in columns).startswith("release 1; 4 and 2 before it not published yet")
    assert "".join(part[5] for part in columns).replace(" ", "") == AUTHOR.replace(" ", "")


def test_releases_name_their_code_and_what_changed(lake: Lake) -> None:
    waiting_releases(lake)
    with closing(connect(lake.settings)) as connection:
        found, pointers = log.history(connection, "prod"), {"prod": log.pointer(connection, "prod")}
    text = io.StringIO()
    cli._print(Console(file=text, width=80), found, pointers)
    assert "…" not in text.getvalue()
    columns = [[part.strip() for part in line.split("│")] for line in text.getvalue().splitlines()]
    rows = [parts for parts in columns if len(parts) == 8]
    assert "".join(parts[4] for parts in rows) == CODE * 4
    assert " ".join(parts[6] for parts in rows).count("9 tables are new") == 4


def test_a_long_word_is_folded() -> None:
    table = folding_table("a", "b", right=("b",))
    table.add_row("x" * 100, "1")
    assert printed(table).count("x") == 100
