"""`lakehouse query` and `lakehouse token`: the same answers here and from a service, in every format."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import pty
import re
import select
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from typer.testing import CliRunner

from lakehouse.cli.answers import Output, OutputError
from lakehouse.cli.main import app
from lakehouse.query.client import LakehouseClient, QueryError, local
from lakehouse.settings import Settings
from tests.lakehouse_instance import TOOLS

BY_ID = "SELECT id, d, fare, zone FROM marts.trips WHERE id < 8 ORDER BY id"
BY_DAY = "SELECT count(*) AS n FROM marts.trips WHERE d = $day"


@pytest.fixture(autouse=True)
def _settings(command_environment: Settings) -> None: ...


class Kept(local.LocalClient):
    """One whose workers are there for the next command."""

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def kept(released: Settings) -> Iterator[Kept]:
    client = Kept(released, workers=2)
    yield client
    client.service.close()


@pytest.fixture(params=["here", "service"])
def where(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Options that ask in this process, and a service."""
    if request.param == "service":
        return ["--url", request.getfixturevalue("service_url")]
    client = request.getfixturevalue("kept")
    monkeypatch.setattr(local, "LocalClient", lambda *_, **__: client)
    return []


def lakehouse(*arguments: str, stdin: str | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, list(arguments), input=stdin, catch_exceptions=False)


@pytest.mark.slow
def test_a_table_has_its_metadata_under_it(where: list[str]) -> None:
    done = lakehouse("query", *where, BY_ID)
    assert done.exit_code == 0, done.stderr
    assert "NULL" in done.stdout and "1.75" in done.stdout
    assert re.search(
        r"8 rows · execution [\d,]+ ms, round trip [\d,]+ ms · (cold|warm|cached) · release 2 of prod", done.stdout
    )
    cut = lakehouse("query", *where, "FROM marts.trips", "--limit", "3", "--release", "1")
    assert "the first 3 rows; --limit shows more" in cut.stdout
    assert "release 1 of prod" in cut.stdout


def test_json_and_csv_have_all_rows(where: list[str]) -> None:
    records = json.loads(lakehouse("query", *where, BY_ID, "-f", "json").stdout)
    assert records[7] == {"id": 7, "d": "2024-01-08", "fare": 1.75, "zone": None}
    lines = list(csv.reader(io.StringIO(lakehouse("query", *where, "FROM marts.trips", "-f", "csv").stdout)))
    assert len(lines) == 1002
    assert json.loads(lakehouse("query", *where, "FROM marts.trips WHERE false", "-f", "json").stdout) == []


@pytest.mark.slow
def test_arrow_and_parquet_go_into_a_file_or_a_pipe(where: list[str], tmp_path: Path) -> None:
    done = lakehouse("query", *where, "FROM marts.trips", "-f", "parquet", "-o", str(tmp_path / "trips.parquet"))
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    assert pq.read_table(tmp_path / "trips.parquet").num_rows == 1001
    piped = lakehouse("query", *where, "FROM marts.trips", "-f", "arrow")
    assert pa.ipc.open_stream(piped.stdout_bytes).read_all().num_rows == 1001
    assert [path.name for path in tmp_path.iterdir()] == ["trips.parquet"]


def test_a_binary_format_refuses_a_terminal() -> None:
    screen, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [str(TOOLS / "lakehouse"), "query", "SELECT 1", "-f", "arrow"],
            stdout=terminal, stderr=subprocess.PIPE, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "A terminal can't show arrow" in done.stderr
        assert select.select([screen], [], [], 0)[0] == []  # nothing was written to it
    finally:
        os.close(screen)
        os.close(terminal)


@pytest.mark.slow
def test_wide_rows_become_blocks_and_no_rows_are_fine(where: list[str]) -> None:
    wide = "SELECT " + ", ".join(f"{number} AS column_{number}" for number in range(60))
    done = lakehouse("query", *where, wide)
    assert done.exit_code == 0
    assert "row 1" in done.stdout
    assert [f"column_{number}" for number in range(60) if f"column_{number} " not in done.stdout] == []
    empty = lakehouse("query", *where, f"{wide} WHERE false")
    assert (empty.exit_code, "column_59" in empty.stdout, "0 rows" in empty.stdout) == (0, True, True)
    narrow = lakehouse("query", *where, f"{BY_ID} LIMIT 0")
    assert "zone" in narrow.stdout and "0 rows" in narrow.stdout


@pytest.mark.slow
def test_sql_comes_from_an_argument_a_file_or_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "query.sql"
    file.write_text("-- how many?\nSELECT count(*) AS n FROM marts.trips;\n")
    wanted = [{"n": 1001}]
    assert json.loads(lakehouse("query", "--file", str(file), "-f", "json").stdout) == wanted
    assert json.loads(lakehouse("query", "-", "-f", "json", stdin=file.read_text()).stdout) == wanted
    for wrong in ([], ["SELECT 1", "--file", str(file)]):
        done = lakehouse("query", *wrong)
        assert done.exit_code == 2
        assert "Give the SQL" in done.stderr
    assert lakehouse("query", "SELECT 1; SELECT 2").exit_code == 2


def test_an_error_has_its_place_and_leaves_no_file(where: list[str], tmp_path: Path) -> None:
    target = tmp_path / "answer.csv"
    target.write_text("as it was")
    done = lakehouse(
        "query", *where, "SELECT nothing_such\nFROM marts.trips", "-f", "csv", "-o", str(target), "--force"
    )
    assert (done.exit_code, done.stdout) == (1, "")
    assert "line 1, column 8" in done.stderr and "nothing_such" in done.stderr
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("answer.csv", "as it was")]


@pytest.mark.parametrize("form", ["csv", "json", "arrow", "parquet", "table"])
def test_an_answer_that_a_limit_cut_is_never_taken_for_the_whole(
    form: str, service_url: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAKEHOUSE_QUERY_URL", service_url)
    monkeypatch.setenv("LAKEHOUSE_QUERY_TOKEN", token)
    from lakehouse.settings import load_settings

    load_settings.cache_clear()
    done = lakehouse("query", "FROM marts.trips", "-f", form, "--limit", "500")
    assert done.exit_code == 1
    assert "limit of rows cut the answer after 100 rows" in done.stderr
    assert lakehouse("query", "FROM marts.trips", "-f", form, "--limit", "70").exit_code == 0


def test_a_service_that_is_away_is_said_in_a_sentence() -> None:
    done = lakehouse("query", "SELECT 1", "--url", "http://127.0.0.1:9", "--token", "lh_a_hidden")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "does not answer" in done.stderr and "hidden" not in done.stderr


@pytest.mark.slow
def test_days_are_split_and_combined(where: list[str]) -> None:
    days = ["--days", "2024-01-01..2024-01-10"]
    combined = ["--combine", "SELECT sum(n) AS n FROM parts"]
    done = lakehouse("query", *where, BY_DAY, *days, *combined, "-f", "json")
    assert (done.exit_code, json.loads(done.stdout)) == (0, [{"n": 1001}]), done.stderr
    table = lakehouse("query", *where, BY_DAY, *days)
    assert "10 rows" in table.stdout and "release 2 of prod" in table.stdout
    for wrong in (["--days", "soon"], combined):
        assert lakehouse("query", *where, BY_DAY, *wrong).exit_code in (1, 2)


def first_answer(client: LakehouseClient) -> Any:
    """The service reads its tokens once a second."""
    for attempt in itertools.count():
        try:
            return client.query("FROM marts.trips")
        except QueryError:
            if attempt == 100:
                raise
            time.sleep(0.1)
    raise AssertionError


def test_a_token_is_alone_on_standard_output_works_and_is_never_shown_again(service_url: str) -> None:
    made = lakehouse("token", "create", "night-report", "-e", "prod", "--rows", "10", "--mb", "5", "--days", "2")
    assert made.exit_code == 0
    token = made.stdout.removesuffix("\n")
    assert re.fullmatch(r"lh_[0-9a-f]{12}_[\w-]{43}", token)
    assert "night-report" in made.stderr and token not in made.stderr
    with LakehouseClient(service_url, token) as client:
        assert first_answer(client).rows == 10
    listed = lakehouse("token", "list")
    assert "night-report" in listed.stdout
    assert token.split("_", 2)[2] not in listed.stdout
    assert not re.search(r"[0-9a-f]{32}", listed.stdout)
    again = lakehouse("token", "create", "night-report")
    assert (again.exit_code, again.stdout) == (1, "")
    assert lakehouse("token", "revoke", "night-report").exit_code == 0
    assert lakehouse("token", "revoke", "night-report").exit_code == 1


def test_a_token_with_wrong_words_is_not_made() -> None:
    for wrong in (["a b"], ["x", "-e", "../prod"], ["x", "--days", "0"], ["x", "--days", "nan"], ["x", "--rows", "0"]):
        done = lakehouse("token", "create", *wrong)
        assert (done.exit_code, done.stdout) == (2, ""), wrong


# ------------------------------------------------------------------------- what is written, read and shown


@pytest.mark.slow
@pytest.mark.parametrize("output_format", ["table", "json", "csv", "parquet"])
def test_an_answer_replaces_a_file_only_when_told_to(output_format: str, tmp_path: Path) -> None:
    target = tmp_path / "answer"
    ask = ("query", "SELECT 1 AS n", "-f", output_format, "-o", str(target))
    assert lakehouse(*ask).exit_code == 0
    written, target_mode = target.read_bytes(), target.stat().st_mode & 0o777
    assert target_mode == 0o666 & ~_umask()
    target.write_text("mine")
    refused = lakehouse(*ask)
    assert (refused.exit_code, target.read_text()) == (2, "mine")
    assert "--force" in refused.stderr
    assert lakehouse(*ask, "--force").exit_code == 0
    if output_format != "table":  # which says how long it took
        assert target.read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["answer"]


def _umask() -> int:
    found = os.umask(0)
    os.umask(found)
    return found


def test_an_answer_is_written_to_nothing_but_a_file(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        before = sorted(tmp_path.iterdir())
        for name in ("link", "dangling", "folder", "pipe", "socket", "mine/x", "nowhere/x", "/dev/null"):
            for more in ([], ["--force"]):
                done = lakehouse("query", "SELECT 1", "-o", str(tmp_path / name), *more)
                assert done.exit_code in (1, 2), name
                assert "Error:" in done.stderr
        assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_file_that_came_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    target = tmp_path / "answer"
    with pytest.raises(OutputError, match="there already|meanwhile"), Output(target).opened() as to:
        to.write(b"x")
        target.write_text("somebody's")
    assert target.read_text() == "somebody's"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("head", [[], ["--head"]])
def test_sql_is_read_no_further_than_a_service_would(head: list[str], tmp_path: Path) -> None:
    long = tmp_path / "long.sql"
    long.write_text("SELECT 1 -- " + "x" * 100_000)
    for given in (["--file", "/dev/zero"], ["--file", str(long)], [long.read_text()]):
        done = lakehouse("query", *head, *given)
        assert (done.exit_code, "100,000 bytes" in done.stderr) == (2, True), given[-1][:20]
    done = lakehouse("query", *head, "-", stdin=long.read_text())
    assert (done.exit_code, "100,000 bytes" in done.stderr) == (2, True)


@pytest.mark.slow
def test_sql_that_is_no_text_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "latin.sql").write_bytes("SELECT 'é'".encode("latin-1"))
    (tmp_path / "marked.sql").write_bytes("\ufeffSELECT 7 AS n".encode())
    assert json.loads(lakehouse("query", "--file", str(tmp_path / "marked.sql"), "-f", "json").stdout) == [{"n": 7}]
    for given in (
        ["--file", str(tmp_path / "latin.sql")], ["SELECT '\udce9'"], ["--head", "SELECT '\udce9'"],
        ["SELECT 1", "--combine", "\udce9", "--days", "x"],
    ):  # fmt: skip
        done = lakehouse("query", *given)
        assert (done.exit_code, "no UTF-8" in done.stderr) == (2, True), (given, done.stderr)
    done = CliRunner().invoke(app, ["query", "-"], input=b"SELECT '\xe9'")
    assert (done.exit_code, "no UTF-8" in done.stderr) == (2, True)


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202etxt\r\x08[red]x[/red][/nothing]"
QUOTED = "'" + HOSTILE + "'"


@pytest.mark.slow
@pytest.mark.parametrize("head", [[], ["--head"]])
def test_data_is_text_to_a_terminal_and_nothing_else(where: list[str], head: list[str]) -> None:
    if head and where:
        pytest.skip("--head asks no service")
    name = HOSTILE.replace('"', "")
    # Wide rows become blocks, but not with --head.
    wide = ", ".join(f"{QUOTED} AS c{number}" for number in range(1 if head else 40))
    for sql in (f'SELECT {QUOTED} AS "{name}"', f"SELECT [{QUOTED}] AS x", f"SELECT {wide}"):
        done = lakehouse("query", *where, *head, sql)
        assert done.exit_code == 0, done.stderr
        assert not set(done.stdout) & set("\x1b\x07\x9b\u202e\r\x08")
        assert "\\x1b" in done.stdout
    failed = lakehouse("query", *where, *head, f'SELECT "{name}"')
    assert failed.exit_code in (1, 2)
    assert not set(failed.stderr) & set("\x1b\x07\x9b\u202e\r\x08")


@pytest.mark.slow
@pytest.mark.parametrize("output_format", ["csv", "json"])
def test_a_file_has_the_data_as_it_is_and_a_terminal_has_not(output_format: str) -> None:
    sql = f"SELECT {QUOTED} AS x"
    piped = lakehouse("query", sql, "-f", output_format).stdout_bytes.decode()
    assert "\x9b" in piped and "\u202e" in piped
    screen, terminal = pty.openpty()
    try:
        subprocess.run(
            [str(TOOLS / "lakehouse"), "query", sql, "-f", output_format], stdout=terminal, timeout=120, check=True
        )
        shown = os.read(screen, 65_536).decode()
    finally:
        os.close(screen)
        os.close(terminal)
    assert not set(shown.replace("\r\n", "\n")) & set("\x1b\x07\x9b\u202e\r\x08")
    assert "owned" in shown


@pytest.mark.slow
def test_head_reads_the_lake_and_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "creds.csv").write_text("user,password\nann,hunter2\n")
    (tmp_path / "plain").write_text("user,password\nann,hunter2\n")
    assert json.loads(lakehouse("query", "--head", "SELECT count(*) AS n FROM marts.trips", "-f", "json").stdout)
    here = str(tmp_path)
    for sql in (
        "FROM 'creds.csv'", 'FROM "creds.csv"', f"FROM '{here}/creds.csv'", "FROM './creds.csv'", "FROM '*.csv'",
        "SELECT * FROM read_csv('creds.csv')", "FROM read_csv_auto('plain')", "FROM read_text('plain')",
        "SELECT (SELECT content FROM read_text('plain'))", "FROM glob('*')", "FROM read_blob(['plain'])",
        "WITH x AS (FROM 'creds.csv') FROM x", "SELECT * FROM marts.trips, 'creds.csv'", "DESCRIBE 'creds.csv'",
        "SUMMARIZE 'creds.csv'", "EXPLAIN ANALYZE FROM 'creds.csv'", "PIVOT 'creds.csv' ON \"user\"",
        "COPY (SELECT 1) TO 'x.csv'", "COPY marts.trips FROM 'creds.csv'", f"ATTACH '{here}/x.duckdb'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO 'x.csv'", "INSTALL httpfs", "SET enable_external_access = true",
        "FROM sniff_csv('creds.csv')", "FROM system.main.read_text('plain')", "FROM parquet_metadata('creds.csv')",
        "FROM 'https://example.com/x.csv'", "FROM memory.'creds.csv'", 'FROM temp."creds.csv"', "FROM main.'creds.csv'",
        "SELECT 1 WHERE 'ann' IN (SELECT \"user\" FROM 'creds.csv')",
    ):  # fmt: skip
        done = lakehouse("query", "--head", sql)
        assert done.exit_code in (1, 2), sql
        assert "hunter2" not in done.stdout + done.stderr, sql
        assert "Error:" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["creds.csv", "plain"]


def test_a_token_is_made_only_for_what_is_published() -> None:
    done = lakehouse("token", "create", "typo", "-e", "prod", "-e", "dev_nobody")
    assert done.exit_code == 2
    assert "dev_nobody" in done.stderr and "prod" in done.stderr
    assert "typo" not in lakehouse("token", "list").stdout
