"""A file in dlt_sources is a source: its tables are assets, its load is exact, its troubles are its own."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import closing

import dagster as dg
import psycopg
import pytest
from typer.testing import CliRunner

from lakehouse.cli import loads
from lakehouse_assets.defs.ingestion import sources
from lakehouse_assets.defs.jobs import source_schedules
from lakehouse_assets.resources import LakeResource
from tests.sources.conftest import Sources

DESCRIBE = sources._describe
SHOP = '''
    """The shop's own API."""
    import dlt

    @dlt.source
    def shop():
        @dlt.resource(primary_key="id", write_disposition="merge", columns={"id": {"data_type": "bigint"}})
        def orders():
            """One row per order."""
            yield [{"id": n, "amount": n * 3, "lines": [{"sku": "a"}, {"sku": "b"}]} for n in range(3)]

        @dlt.resource
        def visits():
            yield dlt.mark.with_table_name({"page": "home"}, "clicks")
            yield {"visitor": 1}

        @dlt.transformer(data_from=orders)
        def shipments(orders):
            for order in orders:
                yield {"of": order["id"]}

        return orders, visits, shipments
'''


@pytest.mark.slow
def test_a_hand_written_source_shows_its_tables_before_and_after_its_first_load(team: Sources) -> None:
    team.write("shop", SHOP)
    assert team.keys("shop") == {"shop__orders", "shop__visits", "shop__shipments"}
    spec = team.assets("shop").specs_by_key[dg.AssetKey(["raw", "shop__orders"])]
    assert (spec.description, spec.group_name) == ("One row per order.", "shop")
    done = team.load("shop")
    assert team.rows("SELECT count(*), sum(amount) FROM raw.shop__orders") == [(3, 9)]
    assert team.rows("SELECT count(*) FROM raw.shop__orders__lines") == [(6,)]
    assert team.rows("SELECT page FROM raw.shop__clicks") == [("home",)]
    assert {"shop__orders__lines", "shop__clicks"} <= team.keys("shop"), "what the lake has, without importing dlt"
    told = {m.asset_key.path[-1]: m.metadata for m in done.asset_materializations_for_node("shop")}
    assert told["shop__orders"]["rows_inserted"].value == 3
    assert told["shop__orders__lines"]["dagster/row_count"].value == 6
    assert len(told["shop__orders"]["load_ids"].value) == 1
    columns = {c.name: c.type for c in told["shop__orders"]["dagster/column_schema"].value.columns}
    assert columns["amount"] == "BIGINT"
    team.load("shop")
    assert team.rows("SELECT count(*) FROM raw.shop__orders") == [(3,)]
    assert team.rows("SELECT count(*) FROM raw.shop__visits") == [(2,)], "appended"
    team.load("shop", full_refresh=True)
    assert team.rows("SELECT count(*) FROM raw.shop__visits") == [(1,)], "what the source has now and no more"
    assert team.rows("SELECT count(*) FROM raw.shop__orders__lines") == [(6,)]


@pytest.mark.slow
def test_a_part_of_a_source_brings_what_it_can_not_be_loaded_without(team: Sources) -> None:
    team.write("shop", SHOP)
    team.load("shop", "shop__shipments")
    tables = {
        name for (name,) in team.rows("SELECT table_name FROM information_schema.tables WHERE table_schema='raw'")
    }
    assert "shop__shipments" in tables
    assert not {"shop__orders", "shop__visits"} & tables


@pytest.mark.slow
def test_a_file_that_ends_or_kills_the_process_that_reads_it_is_named(
    team: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_describe", DESCRIBE)
    team.write("leaving", "import os; os._exit(3)")
    team.write("fine", "import dlt\nnumbers = dlt.resource([{'n': 1}], name='numbers')\n")
    assert "ended its process with 3" in team.source("leaving").problem
    assert team.keys("fine") == {"fine__numbers"}


def test_a_broken_file_and_a_missing_secret_stop_only_their_own_source(
    team: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.write("broken", "import nowhere_to_be_found")
    team.write(
        "secret",
        """
        import dlt

        @dlt.resource
        def rows(api_key: str = dlt.secrets.value):
            raise ValueError(f"{api_key} was refused")
            yield
        """,
    )
    team.write("fine", "import dlt\nnumbers = dlt.resource([{'n': 1}], name='numbers')\n")
    team.write("a_library", "def nothing(): ...")
    assert "nowhere_to_be_found" in team.source("broken").problem
    assert "nowhere_to_be_found" in team.failure("broken")
    missing = team.failure("secret")
    assert "SOURCES__SECRET__API_KEY" in missing and "[sources.secret]" in missing
    monkeypatch.setenv("SOURCES__SECRET__API_KEY", "PLANTED-7f3a")
    refused = team.failure("secret")
    assert "*** was refused" in refused and "rows" in refused and "PLANTED" not in refused
    team.load("fine")
    assert team.rows("SELECT n FROM raw.fine__numbers") == [(1,)]
    assert team.marks() == []
    with pytest.raises(KeyError):
        team.source("a_library")


@pytest.fixture
def shop_database(server_url: str, database_url: str) -> str:
    """A PostgreSQL database with two tables and a view."""
    name = database_url.split("?")[0].rpartition("/")[2] + "_shop"
    with closing(psycopg.connect(server_url, autocommit=True)) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    url = server_url.replace("/lakehouse?", f"/{name}?")
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(
            """
            CREATE TABLE customers (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text, tags text[], meta jsonb);
            CREATE TABLE orders (id bigint PRIMARY KEY, amount numeric(12, 2), at timestamptz, raw bytea);
            INSERT INTO customers (name, tags, meta) SELECT 'c' || n, ARRAY['a', 'b'], '{"x": 1}' FROM
                generate_series(1, 20) n;
            INSERT INTO orders SELECT n, n / 4.0, '2024-01-01'::timestamptz + n * interval '1 hour', '\\x01'
                FROM generate_series(1, 100) n
            """
        )
    return url.replace("postgresql://", "postgresql+psycopg2://")


@pytest.mark.slow
def test_a_database_by_sql_database(team: Sources, shop_database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__CRM__CREDENTIALS", shop_database)
    team.write(
        "crm",
        """
        import dlt
        from dlt.sources.sql_database import sql_database

        crm = sql_database()
        crm.orders.apply_hints(incremental=dlt.sources.incremental("id"), primary_key="id", write_disposition="merge")
        LAKEHOUSE = {"event_time": {"orders": "at"}, "owner": "team:crm"}
        """,
    )
    assert team.keys("crm") >= {"crm__customers", "crm__orders"}
    team.load("crm")
    assert team.rows("SELECT count(*), sum(amount) FROM raw.crm__orders") == [(100, 1262.5)]
    assert team.rows("SELECT count(DISTINCT name) FROM raw.crm__customers") == [(20,)]
    with closing(psycopg.connect(shop_database.replace("+psycopg2", ""), autocommit=True)) as connection:
        connection.execute("INSERT INTO orders VALUES (101, 1, '2024-03-01')")
    team.load("crm", "crm__orders")
    assert team.rows("SELECT count(*) FROM raw.crm__orders") == [(101,)]
    assert team.rows("SELECT count(*) FROM raw.crm__customers") == [(20,)], "it was not asked for"
    monkeypatch.setenv("SOURCES__CRM__CREDENTIALS", "postgresql://postgres:PLANTED-77@127.0.0.1:1/nothing")
    refused = team.failure("crm")
    assert "PLANTED" not in refused
    assert team.rows("SELECT count(*) FROM raw.crm__orders") == [(101,)]


@pytest.fixture
def json_api() -> Iterator[str]:
    """An API of two pages of posts with their tags."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != "Bearer sesame-1":
                self.send_response(401)
                self.end_headers()
                return
            page = int(self.path.rpartition("page=")[2] or 1) if "page=" in self.path else 1
            posts = [{"id": page * 10 + n, "tags": [{"t": "x"}]} for n in range(2)]
            body = json.dumps({"data": posts, "next": f"{url}/posts?page=2" if page == 1 else None}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield url
    server.shutdown()
    server.server_close()


API = """
    import dlt
    from dlt.sources.rest_api import rest_api_source

    api = rest_api_source({{
        "client": {{"base_url": "{url}", "auth": {{"type": "bearer", "token": dlt.secrets["sources.{name}.token"]}},
                   "paginator": {{"type": "json_link", "next_url_path": "next"}}}},
        "resources": [{{"name": "posts", "primary_key": "id", "write_disposition": "merge",
                       "endpoint": {{"path": "posts", "data_selector": "data"}}}}],
    }})
"""


@pytest.mark.slow
def test_two_apis_by_rest_api_are_two_files(team: Sources, json_api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("blog", "forum"):
        monkeypatch.setenv(f"SOURCES__{name.upper()}__TOKEN", "sesame-1")
        team.write(name, API.format(url=json_api, name=name))
        assert team.keys(name) == {f"{name}__posts"}
        team.load(name)
        assert team.rows(f"SELECT count(*) FROM raw.{name}__posts") == [(4,)]
        assert team.rows(f"SELECT count(*) FROM raw.{name}__posts__tags") == [(4,)]
    monkeypatch.setenv("SOURCES__FORUM__TOKEN", "PLANTED-wrong")
    refused = team.failure("forum")
    assert "401" in refused and "posts" in refused and "PLANTED" not in refused


@pytest.mark.slow
def test_files_by_filesystem(team: Sources) -> None:
    folder = team.folder.parent / "in"
    folder.mkdir()
    (folder / "people.csv").write_text("id,name\n1,Ann\n2,Bob\n")
    team.write(
        "hr",
        f"""
        from dlt.sources.filesystem import filesystem, read_csv

        people = (filesystem(bucket_url="{folder.as_uri()}", file_glob="*.csv") | read_csv()).with_name("people")
        people.apply_hints(write_disposition="replace")
        """,
    )
    assert team.keys("hr") == {"hr__people"}
    team.load("hr")
    assert team.rows("SELECT id, name FROM raw.hr__people ORDER BY id") == [(1, "Ann"), (2, "Bob")]


@pytest.mark.slow
def test_of_several_resources_one_fails_and_the_rest_is_loaded_by_choice(team: Sources) -> None:
    text = """
        import dlt

        good = dlt.resource([{"n": 1}], name="good")

        @dlt.resource
        def bad():
            yield {"n": 1}
            raise ValueError("page 2 is gone")
    """
    team.write("half", text)
    said = team.failure("half")
    assert "bad" in said and "page 2 is gone" in said
    assert team.rows("SELECT count(*) FROM information_schema.tables WHERE table_name = 'half__good'") == [(0,)]
    team.write(
        "half",
        text
        + """
        LAKEHOUSE = {"keep_rest": True}
    """,
    )
    assert "page 2 is gone" in team.failure("half")
    assert team.rows("SELECT n FROM raw.half__good") == [(1,)]


@pytest.mark.slow
def test_days_of_a_source_are_asked_for_as_partitions_and_its_progress_stays(team: Sources) -> None:
    team.write(
        "log",
        """
        import dlt

        @dlt.resource(primary_key="id", write_disposition="merge")
        def events(at=dlt.sources.incremental("at", initial_value="2024-01-01T00:00:00Z")):
            print("ASKED", at.last_value, at.end_value)
            yield [{"id": n, "at": f"2024-01-{n:02d}T12:00:00Z"} for n in range(1, 11)]

        LAKEHOUSE = {"backfill": "2024-01-01", "event_time": {"events": "at"}}
        """,
    )
    done = dg.materialize(
        [team.assets("log")],
        resources={"lake": LakeResource()},
        tags={
            "dagster/asset_partition_range_start": "2024-01-03",
            "dagster/asset_partition_range_end": "2024-01-05",
        },
    )
    assert done.success
    assert team.rows("SELECT id FROM raw.log__events ORDER BY id") == [(3,), (4,), (5,)]
    team.load("log")
    assert team.rows("SELECT count(*) FROM raw.log__events") == [(10,)], "from the beginning: no progress was noted"


QUEUE = """
    import dlt

    LAKEHOUSE = {{"asked_once": True}}
    messages = dlt.resource([{{"n": {n}}}], name="messages")
"""


def test_what_was_taken_from_a_queue_and_can_not_be_loaded_is_given_up_by_command(team: Sources) -> None:
    for n in ("1", "'one'"):
        team.write("queue", QUEUE.format(n=n))
        team.load("queue", raise_on_error=False)
    team.write("queue", QUEUE.format(n=2))
    assert "messages" in team.failure("queue"), "what was taken stays, and is what is loaded next"
    said = CliRunner().invoke(loads.app, ["load", "abandon", "queue", "--extracted"], env={"COLUMNS": "200"}).output
    assert "What was extracted and not loaded is given up." in said
    team.load("queue")
    assert team.rows("SELECT n FROM raw.queue__messages ORDER BY n") == [(1,), (2,)]


def test_a_source_has_the_schedule_that_its_file_names(team: Sources) -> None:
    for name, schedule in (("early", "0 6 * * *"), ("wrong", "every day")):
        team.write(name, f"import dlt\nLAKEHOUSE = {{'schedule': '{schedule}'}}\nrows = dlt.resource([1], name='rows')")
    (found,) = source_schedules([team.assets("early")])
    assert (found.name, found.cron_schedule, found.execution_timezone) == ("early_schedule", "0 6 * * *", "UTC")
    assert "is no cron schedule" in team.source("wrong").problem
