"""`lakehouse source add` looks at what is there and writes one file that loads; secrets never go into it."""

from __future__ import annotations

import http.server
import json
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import psycopg
import pyarrow as pa
import pyarrow.parquet
import pytest
from click.testing import Result
from dlt.common.configuration.container import Container
from dlt.common.configuration.providers import SecretsTomlProvider
from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext
from typer.testing import CliRunner

from lakehouse_assets.cli.sources import app
from lakehouse_assets.defs.ingestion.new_source import parts
from tests.sources.conftest import Sources

Add = Callable[..., Result]


@pytest.fixture
def secrets(team: Sources, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A test's own `.dlt/secrets.toml`, which dlt finds."""
    path = team.folder.parent / ".dlt" / "secrets.toml"
    monkeypatch.setattr(parts, "secrets_file", lambda: path)
    providers = Container()[PluggableRunContext].providers.providers
    before = list(providers)
    yield path
    providers[:] = before


def read_secrets(path: Path) -> dict[str, Any]:
    """What the file holds, which dlt reads from now on."""
    Container()[PluggableRunContext].providers.providers.insert(0, SecretsTomlProvider(str(path.parent)))
    found: dict[str, Any] = tomllib.loads(path.read_text())["sources"]
    return found


@pytest.fixture
def add(team: Sources, secrets: Path) -> Add:
    """The command, answered by `typed`."""

    def run(*arguments: str, typed: str = "") -> Result:
        return CliRunner().invoke(app, ["source", "add", *arguments], input=typed)

    return run


@pytest.fixture
def shop(server_url: str, database_url: str) -> Iterator[tuple[str, psycopg.Connection]]:
    """A PostgreSQL database with types of every kind, a table without a key and a view."""
    name = database_url.split("?")[0].rpartition("/")[2] + "_shop"
    with closing(psycopg.connect(server_url, autocommit=True)) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = server_url.replace("/lakehouse?", f"/{name}?")
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(
            """
            CREATE TYPE mood AS ENUM ('sad', 'happy');
            CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(12, 2), mood mood, raw bytea, meta jsonb,
                updated_at timestamptz NOT NULL);
            CREATE TABLE events (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), happened_at timestamp);
            CREATE TABLE "Order Lines" (order_id bigint, line int, tags text[], updated_at timestamptz,
                PRIMARY KEY (order_id, line));
            CREATE TABLE notes (note text);
            CREATE VIEW totals AS SELECT sum(amount) AS total FROM orders;
            INSERT INTO orders SELECT n, n / 4.0, 'sad', '\\x01', '{"x": 1}', now() - interval '1 h'
                FROM generate_series(1, 10) n;
            INSERT INTO events (happened_at) VALUES ('2024-01-01'), (NULL);
            INSERT INTO "Order Lines" VALUES (1, 1, '{a,b}', NULL), (1, 2, '{}', '2024-01-01');
            INSERT INTO notes VALUES ('a'), ('a')
            """
        )
        yield url, connection


@pytest.mark.slow
def test_a_database_is_looked_at_and_its_file_loads_what_changed(
    team: Sources, add: Add, secrets: Path, shop: tuple[str, psycopg.Connection]
) -> None:
    url, database = shop
    done = add("crm", url, typed="all\n\n")  # all tables; events has no column that says when a row was changed
    assert done.exit_code == 0, done.output
    assert "events: which column" in done.output and "orders: which" not in done.output
    text = (team.folder / "crm.py").read_text()
    assert 'table_names=["Order Lines", "events", "notes", "orders"]' in text
    assert 'crm.resources["Order Lines"].apply_hints(\n    primary_key=["order_id", "line"]' in text
    assert url not in text and 'incremental("updated_at")' in text
    assert secrets.stat().st_mode & 0o777 == 0o600
    assert read_secrets(secrets)["crm"]["credentials"].startswith("postgresql://")
    assert "lakehouse source try crm" in done.output
    tried = CliRunner().invoke(app, ["source", "try", "crm"])
    assert tried.exit_code == 0 and "raw.crm__orders" in tried.output, tried.output
    assert "raw.crm__order_lines" in done.output and "crm__order_lines" in team.keys("crm")
    team.load("crm")
    database.execute("INSERT INTO orders VALUES (11, 1, 'happy', '\\x02', '{}', now())")
    database.execute("UPDATE orders SET amount = 100, updated_at = now() WHERE id = 1")
    team.load("crm")
    assert team.rows("SELECT count(*), max(amount) FROM raw.crm__orders") == [(11, 100)]
    for table, rows in (("events", 2), ("order_lines", 2), ("notes", 2)):
        assert team.rows(f"SELECT count(*) FROM raw.crm__{table}") == [(rows,)], table


def test_scripts_are_asked_nothing_and_what_is_there_is_not_written_over(
    team: Sources, add: Add, secrets: Path, shop: tuple[str, psycopg.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCES__CRM__CREDENTIALS", shop[0])
    options = ("--table", "events", "--table", "totals", "--cursor", "events=happened_at", "--yes")
    done = add("crm", "postgresql://", *options)
    assert done.exit_code == 0, done.output
    assert not secrets.exists(), "the environment has it"
    team.load("crm")
    assert team.rows("SELECT count(*) FROM raw.crm__events") == [(2,)], "a cursor may be empty"
    assert team.rows("SELECT total FROM raw.crm__totals") == [(13.75,)]
    before = (team.folder / "crm.py").read_text()
    assert add("crm", "postgresql://", "--yes").exit_code == 1
    assert (team.folder / "crm.py").read_text() == before


def test_what_can_not_be_is_a_sentence_and_writes_nothing(
    team: Sources, add: Add, secrets: Path, shop: tuple[str, psycopg.Connection]
) -> None:
    for arguments, said in (
        (("Crm", shop[0]), "small letters"),
        (("crm", "nothing"), "an address is wanted"),
        (("crm", shop[0], "--table", "order"), "There is no order. There are: Order Lines, events"),
        (("crm", shop[0], "--key", "notes=text"), "notes has no column text. It has: note."),
        (("crm", shop[0], "--key", "notes"), "TABLE=VALUE"),
        (("crm", shop[0], "--schema", "sales"), "There is no schema sales"),
        (("crm", "postgresql://ann:PLANTED-5@127.0.0.1:1/shop"), "can't be read"),
        (("crm", "nosuchsql://host/shop"), "nosuchsql"),
        (("crm", "http://127.0.0.1:1/posts"), "can't be reached"),
        (("crm", f"file://{team.folder}/*.parquet"), "No file"),
        (("crm", f"file://{team.folder}/*.exe"), ".parquet"),
    ):
        done = add(*arguments, "--yes")
        output = " ".join(done.output.split())
        assert done.exit_code and said in output and "PLANTED" not in output, (arguments, done.output, done.exception)
    assert list(team.folder.iterdir()) == [] and not secrets.exists()


class Api(http.server.BaseHTTPRequestHandler):
    """25 posts in pages of 10 by `page`, 7 users by `offset`, both for a bearer; events by a cursor."""

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        asked = dict(parse_qsl(address.query))
        if self.headers.get("Authorization") != "Bearer PLANTED-tok3n":
            self.answer({"error": "who are you?"}, 401)
        elif address.path == "/v1/posts":
            page = int(asked.get("page", 1))
            posts = [{"id": n, "title": f"post {n}", "updated_at": "2024-01-01T00:00:00Z"} for n in range(1, 26)]
            self.answer({"data": posts[page * 10 - 10 : page * 10], "meta": {"count": 25}})
        elif address.path == "/v1/users":
            offset = int(asked.get("offset", 0))
            users = [{"login": f"u{n}"} for n in range(7)]
            self.answer(users[offset : offset + int(asked.get("limit", 3))])
        elif address.path == "/v1/events":
            start = int(asked.get("cursor", "0").strip("x"))
            rows = [{"uuid": f"e{n}"} for n in range(start, min(start + 4, 10))]
            self.answer({"result": {"events": rows}, "next_cursor": f"x{start + 4}" if start < 6 else None})
        else:
            self.answer({}, 404)

    def answer(self, body: Any, status: int = 200) -> None:
        """As JSON."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def api() -> Iterator[str]:
    """Its address."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_an_api_says_how_it_pages_by_being_asked(team: Sources, add: Add, secrets: Path, api: str) -> None:
    done = add("blog", f"{api}/posts", typed="bearer\nPLANTED-tok3n\n")
    assert done.exit_code == 0, done.output
    text = (team.folder / "blog.py").read_text()
    assert 'dlt.secrets["sources.blog.token"]' in text and "PLANTED" not in text + done.output
    assert '"page_param": "page"' in text and '"data_selector": "data"' in text and '"primary_key": "id"' in text
    assert read_secrets(secrets)["blog"] == {"token": "PLANTED-tok3n"}
    for _ in range(2):
        team.load("blog")
        assert team.rows("SELECT count(*), min(id), max(id) FROM raw.blog__posts") == [(25, 1, 25)]


@pytest.mark.slow
def test_several_paths_page_each_in_its_way(team: Sources, add: Add, api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__FORUM__TOKEN", "PLANTED-tok3n")
    paths = ("--table", "posts", "--table", "users", "--table", "events")
    done = add("forum", api, *paths, "--auth", "bearer", "--key", "users=login", "--yes")
    assert done.exit_code == 0, done.output
    team.load("forum")
    for table, rows in (("posts", 25), ("users", 7), ("events", 10)):
        assert team.rows(f"SELECT count(*) FROM raw.forum__{table}") == [(rows,)], table
    refused = add("other", f"{api}/posts", "--yes")
    assert "SOURCES__OTHER__TOKEN" in " ".join(refused.output.split())


@pytest.mark.slow
def test_a_description_tells_paths_login_and_what_asks_for_changes(
    team: Sources, add: Add, api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}}}}
    since = {"name": "since", "in": "query"}
    description = {
        "openapi": "3.0.0",
        "servers": [{"url": api}],
        "paths": {
            "/posts": {"get": {"parameters": [{"name": "page", "in": "query"}, since], "responses": rows}},
            "/posts/{id}": {"get": {"responses": rows}},
            "/version": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {}}}}}}},
        },
        "components": {
            "schemas": {"Page": {"properties": {"data": {"type": "array"}}}},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
    path = tmp_path / "openapi.json"
    path.write_text(json.dumps(description))
    monkeypatch.setenv("SOURCES__BLOG__TOKEN", "PLANTED-tok3n")
    done = add("blog", api, "--openapi", str(path), "--yes")
    assert done.exit_code == 0, done.output
    text = (team.folder / "blog.py").read_text()
    assert '"since": "{incremental.start_value}"' in text and '"cursor_path": "updated_at"' in text
    team.load("blog")
    assert team.rows("SELECT count(*) FROM raw.blog__posts") == [(25,)]


@pytest.mark.slow
def test_files_are_read_once_each(team: Sources, add: Add, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "orders"
    folder.mkdir(parents=True)
    pyarrow.parquet.write_table(pa.table({"id": [1, 2], "amount": [1.5, 2.5]}), folder / "a.parquet")
    done = add("orders", f"file://{folder}/*.parquet", typed="id\n")
    assert done.exit_code == 0 and "id, amount" in done.output, done.output
    team.load("orders")
    assert team.keys("orders") == {"orders__orders"}, "the list of files is none of its tables"
    pyarrow.parquet.write_table(pa.table({"id": [2, 3], "amount": [9.5, 3.5]}), folder / "b.parquet")
    team.load("orders")
    assert team.rows("SELECT id, amount FROM raw.orders__orders ORDER BY id") == [(1, 1.5), (2, 9.5), (3, 3.5)]


NUMBERS = "import dlt\nnumbers = dlt.resource([{'n': 1}], name='numbers')\n"


@pytest.mark.slow
def test_a_dropped_source_leaves_its_tables_until_they_are_dropped_too(team: Sources) -> None:
    for name in ("one", "two"):
        team.write(name, NUMBERS)
        team.load(name)

    def command(*arguments: str, typed: str = "") -> str:
        done = CliRunner().invoke(app, ["source", *arguments], input=typed)
        return " ".join(done.output.split())

    command("drop", "one", typed="n\n")
    assert (team.folder / "one.py").exists()
    assert "The tables stay: one__numbers" in command("drop", "one", typed="y\n")
    assert not (team.folder / "one.py").exists()
    assert "its file is gone" in command("list")
    assert team.rows("SELECT n FROM raw.one__numbers") == [(1,)]
    assert "Dropped: raw.one__numbers" in command("drop", "one", "--with-tables", "--yes")
    assert "its file is gone" not in command("list")
    states = team.rows("SELECT DISTINCT pipeline_name FROM raw._dlt_pipeline_state")
    assert states == [("two",)] and team.rows("SELECT n FROM raw.two__numbers") == [(1,)]
    assert "no dlt_sources/one.py" in command("drop", "one", "--with-tables")
    team.write("one", NUMBERS)
    team.load("one")
    assert team.rows("SELECT n FROM raw.one__numbers") == [(1,)]
